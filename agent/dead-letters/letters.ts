/**
 * Dead letters: what Redis refused for good and the rule could not settle, kept on disk until somebody retries or drops it. A key has one letter for each command and code, however often it
 * comes; there are no values in it, for to retry means to ask for the key's present state. Commands without keys are kept with their bytes.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import * as z from 'zod';
import { Code, findCommand } from '../merge/commands';
import { type Letter, type StoredLetter, storedLetterSchema } from './letter';

export interface Refused {
  readonly db: number;
  readonly command: string;
  /** Latin-1. */
  readonly key: string | undefined;
  readonly code: string;
  /** The command in RESP; a view that is good until `add` returns. */
  readonly bytes?: Buffer;
}

const LETTERS_MAX = 1000;
const NAME_BYTES_MAX = 1024;
/** Of one command; a longer one can't be run again. */
const COMMAND_BYTES_MAX = 64 * 1024;
/** Of all commands. */
const BYTES_MAX = 4 * 1024 * 1024;
const WRITE_MS = 100;

const fileSchema = z.object({ version: z.literal(1), letters: z.array(storedLetterSchema) });

export class DeadLetters {
  private readonly letters = new Map<string, StoredLetter>();
  private bytes = 0;
  private timer: NodeJS.Timeout | null = null;
  private writing: Promise<void> = Promise.resolve();
  /** Not kept, because there were too many, since this agent began. */
  lost = 0;

  /** @throws where there is a file that can't be read: what it holds must not be overwritten */
  constructor(
    private readonly file: string,
    private readonly onError: (error: unknown) => void,
  ) {
    let text: string;
    try {
      text = fs.readFileSync(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    const parsed = fileSchema.safeParse(readJson(text));
    if (!parsed.success) throw new Error(`${file} holds no dead letters of this version: move it away, and look at it`);
    for (const letter of parsed.data.letters) this.put(letter);
  }

  get size(): number {
    return this.letters.size;
  }

  add(refused: Refused): void {
    const { db, command, code, key } = refused;
    const name = key?.slice(0, NAME_BYTES_MAX) ?? null;
    const what = key ?? refused.bytes ?? '';
    const id = createHash('sha256').update(`${db} ${command} ${code} `).update(what).digest('hex').slice(0, 12);
    const known = this.take(id);
    if (known === undefined) this.makeRoom();
    const remedy = this.remedyOf(refused);
    this.putBack({
      ...{ id, timeMs: Date.now(), count: (known?.count ?? 0) + 1, db, command, key: name, code, remedy },
      ...(remedy === 'command' ? { bytes: refused.bytes!.toString('base64') } : {}),
    });
  }

  /** One that was taken out stays after all, as the newest. */
  putBack(letter: StoredLetter): void {
    this.put(letter);
    this.save();
  }

  private remedyOf({ key, bytes }: Refused): Letter['remedy'] {
    if (key !== undefined) return key.length > NAME_BYTES_MAX ? 'none' : 'state';
    if (bytes === undefined || bytes.length > COMMAND_BYTES_MAX || this.bytes + bytes.length > BYTES_MAX) return 'none';
    return isOfDatabases(bytes) ? 'none' : 'command';
  }

  private put(letter: StoredLetter): void {
    this.letters.set(letter.id, letter);
    this.bytes += bytesOf(letter);
  }

  private makeRoom(): void {
    const [oldest] = this.letters.values();
    if (this.letters.size < LETTERS_MAX || oldest === undefined) return;
    this.take(oldest.id);
    this.lost++;
  }

  /** Oldest first. */
  list(): Letter[] {
    return [...this.letters.values()].map(({ bytes: _, ...letter }) => letter);
  }

  /** Takes a letter out. */
  take(id: string): StoredLetter | undefined {
    const letter = this.letters.get(id);
    if (letter === undefined) return undefined;
    this.letters.delete(id);
    this.bytes -= bytesOf(letter);
    this.save();
    return letter;
  }

  has(id: string): boolean {
    return this.letters.has(id);
  }

  private save(): void {
    this.timer ??= setTimeout(() => void this.flush(), WRITE_MS);
  }

  /** Resolves when all is on disk. */
  flush(): Promise<void> {
    if (this.timer === null) return this.writing;
    clearTimeout(this.timer);
    this.timer = null;
    return (this.writing = this.writing.then(() => this.write()).catch(this.onError));
  }

  private async write(): Promise<void> {
    const text = JSON.stringify({ version: 1, letters: [...this.letters.values()] });
    const handle = await fs.promises.open(`${this.file}.new`, 'w', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.promises.rename(`${this.file}.new`, this.file);
  }
}

function bytesOf({ bytes }: StoredLetter): number {
  return bytes === undefined ? 0 : Buffer.byteLength(bytes, 'base64');
}

/** Run later, FLUSHALL or SWAPDB would be about what has been written since. */
function isOfDatabases(command: Buffer): boolean {
  const start = command.indexOf('\r\n', command.indexOf('$')) + 2;
  const code = findCommand(command, start, command.indexOf('\r\n', start))?.code;
  return code === Code.flushdb || code === Code.flushall || code === Code.swapdb;
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
