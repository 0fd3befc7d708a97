/**
 * The difference between the libraries of two regions, as commands: what clients did here while no agent was reading. As for keys (difference.ts): where
 * others' operations that are still to come explain one, it is none. Pure; the simulator runs the same code.
 */
import { isOfStream, type OpRecord } from '../record';
import { CommandScanner, encodeCommand } from '../resp';
import { Code, findCommand } from './commands';
import { decodeFunction } from './function-commands';

/** Names that records say something of. */
export class LibraryTouches {
  private readonly names = new Set<string>();
  private all = false;

  /** Notes what a record does behind a position. */
  note(record: OpRecord, after: number): void {
    const scanner = new CommandScanner();
    scanner.push(record.payload);
    const base = record.end - record.payload.length;
    while (scanner.next()) {
      if (findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!)?.code !== Code.function) continue;
      if ((isOfStream(record.kind) ? base + scanner.end : record.end) <= after) continue;
      for (const change of decodeFunction(scanner) ?? [])
        if (change.kind === 'flush') this.all = true;
        else this.names.add(change.name);
    }
  }

  has(name: string): boolean {
    return this.all || this.names.has(name);
  }
}

/** What the operations known here make of libraries, once the window has been put together (libraries.ts). */
export interface KnownLibraries {
  /** Names of which anything is known. */
  names(): Iterable<string>;
  /** Null: there is none of that name; undefined: nothing is known of it. */
  codeOf(name: string): Buffer | null | undefined;
}

export interface LibrarySources {
  /** Code by name, of this region's snapshot. */
  readonly mine: ReadonlyMap<string, Buffer>;
  readonly theirs: ReadonlyMap<string, Buffer>;
  /** Names of those that this Redis refuses: they have been in no client's hands here. */
  readonly strange: ReadonlySet<string>;
  /** What is still to come to this region, up to what the donor had. */
  readonly touched: LibraryTouches;
  /** The last that clients did here in the history of before: a Redis that was killed may have lost it. */
  readonly late: LibraryTouches;
  /** `unexplained`: what the donor has may be in no operation. */
  readonly mode: 'exact' | 'unexplained';
}

/** @returns commands in RESP, each an operation of its own */
export function libraryDifferences(sources: LibrarySources, known: KnownLibraries): Buffer[] {
  const { mine, theirs, strange, touched, late, mode } = sources;
  const found: Buffer[] = [];
  for (const name of new Set([...mine.keys(), ...theirs.keys()])) {
    const [here, there] = [mine.get(name), theirs.get(name)];
    if (touched.has(name) || strange.has(name) || isSame(here, there)) continue;
    const isTheirs = late.has(name) || (mode === 'unexplained' && there !== undefined);
    found.push(commandOf(name, isTheirs ? there : here));
  }
  for (const name of sameUntold(sources, known)) found.push(commandOf(name, mine.get(name)));
  return found;
}

/**
 * Names of libraries that both regions have alike, or both lack, and that the operations known here make something else: clients of both did the same, which is
 * in no operation. Brought to these operations here, such a library would differ from the donor's, which may know nothing of it any more.
 */
export function sameUntold({ mine, theirs, strange, touched, mode }: LibrarySources, known: KnownLibraries): string[] {
  if (mode === 'exact') return [];
  return [...new Set([...mine.keys(), ...known.names()])].filter((name) => {
    const [here, code] = [mine.get(name), known.codeOf(name)];
    if (touched.has(name) || strange.has(name) || !isSame(here, theirs.get(name))) return false;
    return code !== undefined && !isSame(here, code ?? undefined);
  });
}

function isSame(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.equals(b);
}

/** What makes a library of a name this; undefined: there is none. */
function commandOf(name: string, code: Buffer | undefined): Buffer {
  return code === undefined
    ? encodeCommand(['FUNCTION', 'DELETE', Buffer.from(name, 'latin1')])
    : encodeCommand(['FUNCTION', 'LOAD', 'REPLACE', code]);
}
