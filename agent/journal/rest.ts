/** A wait that can be cut short. */
export class Rest {
  stop: () => void = () => undefined;

  of(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.stop(), ms);
      this.stop = () => {
        clearTimeout(timer);
        this.stop = () => undefined;
        resolve();
      };
    });
  }
}
