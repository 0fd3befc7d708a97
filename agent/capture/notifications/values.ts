/**
 * What collections held when they were last looked at, as far as memory goes: with that the next look tells which elements a client wrote, and not
 * only that the key is another. The keys used last are kept.
 */
export class LastValues {
  private readonly dumps = new Map<string, Buffer>();
  bytes = 0;

  constructor(private readonly bytesMax: number) {}

  /** What DUMP said then. */
  get(db: number, key: string): Buffer | undefined {
    return this.dumps.get(nameOf(db, key));
  }

  /** @param dump copied. @returns false where it is too large */
  set(db: number, key: string, dump: Buffer): boolean {
    const name = nameOf(db, key);
    this.drop(name);
    if (dump.length > this.bytesMax / LARGEST) return false;
    // A copy: what comes from a socket shares its memory with all that came with it.
    const copy = Buffer.allocUnsafeSlow(dump.length);
    dump.copy(copy);
    this.dumps.set(name, copy);
    this.bytes += copy.length + name.length + ENTRY_BYTES;
    for (const oldest of this.bytes > this.bytesMax ? this.dumps.keys() : []) {
      this.drop(oldest);
      if (this.bytes <= this.bytesMax) break;
    }
    return true;
  }

  delete(db: number, key: string): void {
    this.drop(nameOf(db, key));
  }

  clear(): void {
    this.dumps.clear();
    this.bytes = 0;
  }

  private drop(name: string): void {
    const dump = this.dumps.get(name);
    if (dump === undefined) return;
    this.dumps.delete(name);
    this.bytes -= dump.length + name.length + ENTRY_BYTES;
  }
}

/** No value takes more than this part of the memory. */
const LARGEST = 4;
/** Of a map's entry and a buffer's object. */
const ENTRY_BYTES = 150;

function nameOf(db: number, key: string): string {
  return `${db}:${key}`;
}
