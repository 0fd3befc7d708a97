/**
 * Pieces of a stream that wait, where there is a command of some names in them, until something has been asked that says what such a command means. That is
 * one round trip, for such pieces and those that come meanwhile.
 */
import { asError } from '../as-error';

const CRLF = '\r\n';

export interface HeldPiecesHost {
  /** @returns whether what has come before is to be taken; else it stays */
  ask(): Promise<boolean>;
  take(chunk: Buffer): void;
  fail(error: Error): void;
}

export class HeldPieces {
  private readonly names: readonly Buffer[];
  /** A name that has its line ends is cut where so many bytes of it, at most, are in one piece. */
  private readonly cut: number;
  private held: Buffer[] = [];
  private asking = false;
  /** The last bytes of the piece before: a command may be cut anywhere. */
  private tail = Buffer.alloc(0);

  constructor(
    names: readonly string[],
    private readonly host: HeldPiecesHost,
  ) {
    this.names = names.map((name) => Buffer.from(name));
    this.cut = Math.max(...this.names.map((name) => name.length)) + 2 * CRLF.length - 1;
  }

  /** @param chunk the caller's again when it returns */
  receive(chunk: Buffer): void {
    const isDoubtful = this.isDoubtful(chunk);
    if (this.held.length === 0 && !isDoubtful) return this.host.take(chunk);
    this.held.push(Buffer.from(chunk));
    if (!this.asking) void this.ask();
  }

  private isDoubtful(chunk: Buffer): boolean {
    const { cut, names } = this;
    const joint = Buffer.concat([this.tail, chunk.subarray(0, cut)]);
    this.tail = chunk.length >= cut ? Buffer.from(chunk.subarray(chunk.length - cut)) : joint.subarray(-cut);
    return names.some((name) => hasName(chunk, name) || hasName(joint, name));
  }

  private async ask(): Promise<void> {
    this.asking = true;
    try {
      while (this.held.length > 0) {
        const { length } = this.held;
        if (!(await this.host.ask())) return;
        for (const chunk of this.held.splice(0, length)) this.host.take(chunk);
      }
    } catch (error) {
      this.host.fail(asError(error));
    } finally {
      this.asking = false;
    }
  }
}

/**
 * Whether the name stands between two arguments, or before its key. It is looked for by itself: a search stops at each first byte of what it looks for,
 * and line ends are everywhere.
 */
function hasName(chunk: Buffer, name: Buffer): boolean {
  for (let at = chunk.indexOf(name); at >= 0; at = chunk.indexOf(name, at + 1)) {
    const end = at + name.length;
    if (chunk.toString('latin1', at - 2, at) === CRLF && chunk.toString('latin1', end, end + 2) === CRLF) return true;
  }
  return false;
}
