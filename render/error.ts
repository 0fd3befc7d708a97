/** A failure that a person can act on: the message says what, where, and what to do. */
export class RenderError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'RenderError';
  }
}
