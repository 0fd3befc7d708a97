/**
 * Libraries of functions (FUNCTION LOAD, DELETE, FLUSH, RESTORE), merged by their names: a LOAD puts one, a DELETE removes what it has seen of one, a
 * FLUSH what it has seen of all, and of puts that had not seen each other the highest stands. Pure; the simulator runs the same code.
 *
 * What Redis has is brought to that by a look: FUNCTION LIST, and then what differs. A library can't be watched as a key can. But each operation on one, a
 * client's too, has it looked at once more after it was read: so what a client loads in the very moment of a block is put back a moment later, for it is known
 * by then, and what is the rule's already is not written.
 *
 * Code is held for each live put until all regions have seen everything known of libraries; then nothing is: what is to come has seen what Redis has.
 *
 * **Two libraries with a function of one name** can't both be in Redis, and which function names a library has, only Redis knows that has run it. So it shows
 * when a LOAD is refused. The lower of the two is then deleted everywhere, by an operation as a client's FUNCTION DELETE is one: whoever comes upon it tells of it.
 */
import type { CommandWriter } from '../resp';
import type { Args } from './args';
import { decodeFunction, type FunctionChange } from './function-commands';
import { highestOf, isHigher, type Op, saw } from './op';
import { type OriginTable, raise, seenAt, type Seen } from './origins';

/** A library as Redis has it. */
export interface FoundLibrary {
  readonly name: string;
  readonly code: Buffer;
  readonly functions: readonly string[];
}

interface Put {
  readonly op: Op;
  readonly code: Buffer;
}

/** What is known of one name. */
class Library {
  /** Live: none has seen another. */
  puts: readonly Put[] = [];
  /** What deleted it, but for those that a later one had seen. */
  removals: readonly Op[] = [];
  /** Redis refused this put for its code; it is not tried again. */
  refused: Op | null = null;
  /** Redis has a function of this name in another library. */
  clash: string | null = null;
  tries = 0;
}

/** A refusal for a clash that no look explains is tried again so often. */
const TRIES_MAX = 5;

export class Libraries {
  private readonly libraries = new Map<string, Library>();
  /** FUNCTION FLUSH: of libraries that nothing is known of, too. */
  private flushes: readonly Op[] = [];
  /** Names of which Redis may not have what the rule says; `all`: any library may be one. */
  private readonly due = new Set<string>();
  private isAllDue = false;
  /** The same of those that are just being brought to it. */
  private readonly settling = new Set<string>();
  private isAllSettling = false;
  /** To be deleted, because of the one with the other name. */
  private readonly lost = new Map<string, string>();
  /** The last operation known of each origin, interned. */
  private tops: number[] = [];
  /** The first of each origin since nothing was due last. */
  private readonly floors = new Map<number, number>();

  constructor(private readonly origins: OriginTable) {}

  /** Redis is to be looked at. */
  get isDue(): boolean {
    return this.due.size > 0 || this.isAllDue;
  }

  /** Redis is to be looked at, or written to. */
  get isUnderWay(): boolean {
    return this.isDue || this.settling.size > 0 || this.isAllSettling;
  }

  /** Nothing is known but what Redis has. */
  get isEmpty(): boolean {
    return this.libraries.size === 0 && this.flushes.length === 0;
  }

  /**
   * Takes what a FUNCTION command does.
   * @returns whether it met what it had not seen; null: it does nothing that is understood
   */
  note(args: Args, op: Op): boolean | null {
    const changes = decodeFunction(args);
    if (changes === null) return null;
    let hasMet = false;
    for (const change of changes) if (this.apply(change, op)) hasMet = true;
    raise(this.tops, op.origin, op.position);
    this.floors.set(op.origin, Math.min(this.floors.get(op.origin) ?? Infinity, op.position));
    return hasMet;
  }

  private apply(change: FunctionChange, op: Op): boolean {
    if (change.kind === 'flush') {
      let hasMet = false;
      for (const library of this.libraries.values()) if (remove(library, op)) hasMet = true;
      this.flushes = [...this.flushes.filter((earlier) => !saw(op, earlier)), op];
      this.isAllDue = true;
      return hasMet;
    }
    let library = this.libraries.get(change.name);
    if (library === undefined) this.libraries.set(change.name, (library = new Library()));
    this.due.add(change.name);
    if (change.kind === 'delete') {
      const hasMet = remove(library, op);
      library.removals = [...library.removals.filter((earlier) => !saw(op, earlier)), op];
      return hasMet;
    }
    // What is loaded while a region joins comes behind what its clients did.
    const isDead = [...library.removals, ...library.puts.map((put) => put.op), ...this.flushes].some((by) =>
      saw(by, op),
    );
    if (isDead) return true;
    const hasMet = remove(library, op);
    library.puts = [...library.puts, { op, code: change.code }];
    library.refused = library.clash = null;
    library.tries = 0;
    return hasMet;
  }

  /** What the rule says of a name: code, null for none; undefined: what Redis has. */
  private wanted(name: string): Put | null | undefined {
    const library = this.libraries.get(name);
    if (library !== undefined) return this.highest(library);
    return this.flushes.length > 0 ? null : undefined;
  }

  private highest({ puts }: Library): Put | null {
    const op = highestOf(
      puts.map((put) => put.op),
      this.origins,
    );
    return puts.find((put) => put.op === op) ?? null;
  }

  /** Names of which anything is known. */
  names(): Iterable<string> {
    return this.libraries.keys();
  }

  /** The code that the rule says a name has; null: none; undefined: what Redis has. */
  codeOf(name: string): Buffer | null | undefined {
    const wanted = this.wanted(name);
    return wanted === null ? null : wanted?.code;
  }

  // ——— into Redis

  /** What is due is about to be brought into Redis; `settled` says that it is there. */
  take(): void {
    for (const name of this.due) this.settling.add(name);
    if (this.isAllDue) this.isAllSettling = true;
    this.due.clear();
    this.isAllDue = false;
  }

  /**
   * Adds what brings Redis to the rule.
   * @param found all that Redis has, read before the own stream up to now
   */
  settle(found: readonly FoundLibrary[], out: CommandWriter): void {
    // What has been read since is looked at, too.
    this.take();
    const byName = new Map(found.map((library) => [library.name, library]));
    const names = new Set(this.settling);
    for (const [name, { clash }] of this.libraries) if (clash !== null || this.isAllSettling) names.add(name);
    if (this.isAllSettling) for (const { name } of found) names.add(name);
    const gone = new Set<string>();
    for (const name of names)
      if (this.wanted(name) === null && byName.has(name)) {
        gone.add(name);
        out.command(['FUNCTION', 'DELETE', Buffer.from(name, 'latin1')]);
      }
    for (const name of names) {
      const put = this.wanted(name);
      const library = this.libraries.get(name);
      if (put === null || put === undefined || library === undefined || library.refused === put.op) continue;
      const { clash } = library;
      library.clash = null;
      if (byName.get(name)?.code.equals(put.code) === true) continue;
      const holder = found.find((other) => other.name !== name && !gone.has(other.name) && has(other, clash));
      if (holder !== undefined) {
        library.clash = clash;
        this.decide(name, put.op, holder.name);
      } else out.command(['FUNCTION', 'LOAD', 'REPLACE', put.code]);
    }
  }

  /** What `settle` wrote is in Redis. */
  settled(): void {
    this.settling.clear();
    this.isAllSettling = false;
    if (!this.isDue) this.floors.clear();
  }

  /** This Redis has no functions, or the agent may not load any: nothing is brought into it. */
  giveUp(): void {
    this.take();
    this.settled();
    this.lost.clear();
    for (const library of this.libraries.values()) library.clash = null;
  }

  // ——— what Redis refuses

  /**
   * Redis has refused a FUNCTION command of `settle`.
   * @param message the error's, which names the function that is there already
   * @returns whether it is refused for good, and nothing can be done about that here; else it comes to rest
   */
  refused(args: Args, message: string): boolean {
    const change = decodeFunction(args)?.[0];
    if (change === undefined) return true;
    // A client was faster.
    if (change.kind !== 'load') return false;
    const { name, code } = change;
    const library = this.libraries.get(name);
    const put = library === undefined ? null : this.highest(library);
    if (library === undefined || put?.code.equals(code) !== true) return false;
    const clash = /Function '?([^\s']+)'? already exists/i.exec(message)?.[1];
    if (clash === undefined || ++library.tries > TRIES_MAX) {
      library.refused = put.op;
      library.clash = null;
      return true;
    }
    library.clash = clash;
    this.due.add(name);
    return false;
  }

  /** One of two libraries with a function of one name is to go: what is known of nothing has been seen by the other. */
  private decide(name: string, op: Op, holder: string): void {
    const library = this.libraries.get(holder);
    const other = library === undefined ? null : this.highest(library);
    if (other === null || isHigher(op, other.op, this.origins)) this.lost.set(holder, name);
    else this.lost.set(name, holder);
  }

  /** There are libraries that this region has to tell of as deleted. */
  get hasLost(): boolean {
    return this.lost.size > 0;
  }

  /**
   * Names of libraries that have lost against another one. An operation is to tell so, which has seen them.
   * @param seen what an operation of `origin` has seen that stands at the end of the own stream
   */
  takeLost(seen: Seen, origin: number): string[] {
    const names: string[] = [];
    for (const [name, other] of this.lost) {
      const library = this.libraries.get(name);
      const isClash = [name, other].some((one) => (this.libraries.get(one)?.clash ?? null) !== null);
      const isKnown = library === undefined || library.puts.length > 0;
      const isSeen = library?.puts.every(({ op }) => op.origin === origin || seenAt(seen, op.origin) >= op.position);
      if (isClash && isKnown && isSeen === false) continue;
      this.lost.delete(name);
      if (isClash && isKnown) names.push(name);
    }
    return names;
  }

  // ——— what is needed

  /** Calls with what may not be forgotten: a position of each origin. */
  eachNeeded(visit: (origin: number, position: number) => void): void {
    for (const { puts } of this.libraries.values()) for (const { op } of puts) visit(op.origin, op.position);
    if (this.isUnderWay) for (const [origin, position] of this.floors) visit(origin, position);
  }

  /**
   * Forgets everything where all members have seen everything: what is to come has seen what Redis has. All together, for what has seen one
   * may not have seen another, which it has a function in common with.
   */
  fold(stable: Seen): void {
    if (this.isEmpty || this.isUnderWay || this.hasLost) return;
    for (const { clash } of this.libraries.values()) if (clash !== null) return;
    if (this.tops.some((position, origin) => position > seenAt(stable, origin))) return;
    this.libraries.clear();
    this.flushes = [];
    this.tops = [];
  }
}

/** Removes what `op` has seen of a library. @returns whether something is left */
function remove(library: Library, op: Op): boolean {
  library.puts = library.puts.filter((put) => !saw(op, put.op));
  if (library.puts.length === 0) library.refused = library.clash = null;
  return library.puts.length > 0;
}

/** Names of functions don't differ by case. */
function has({ functions }: FoundLibrary, name: string | null): boolean {
  return name !== null && functions.some((other) => other.toLowerCase() === name.toLowerCase());
}
