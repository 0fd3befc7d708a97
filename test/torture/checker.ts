/**
 * What the regions hold at the end, held against what clients were answered. Pure: a history and a state in, findings out. Each check
 * stands for a guarantee of docs/architecture.md; what it leaves open, because the rule leaves it open to a client, is said beside it.
 */
import { type Check, familyOf } from './families';
import { type Effect, type History, type Moment, type Op } from './history';

/** What one region holds of a key. */
export interface KeyState {
  readonly type: string;
  /** Elements and their values: '' of a string, fields, members and scores, tokens and the IDs of their stream entries. */
  readonly elements: ReadonlyMap<string, string>;
  /** When it expires, on the clock of the history; null: never. */
  readonly expiresMs: number | null;
}

/** A region's keys, named as in the history. */
export type RegionState = ReadonlyMap<string, KeyState>;

export interface Finding {
  /**
   * lost: acknowledged, contradicted by nothing, and not there. back: removed or replaced by somebody who had seen it, and there
   * nevertheless. sum: a counter that is not what was added to it. invented: nobody wrote it. ttl: expires when nobody said so, or
   * has not when it should have.
   */
  readonly kind: 'lost' | 'back' | 'sum' | 'invented' | 'ttl';
  readonly key: string;
  readonly element: string;
  readonly text: string;
}

export interface Report {
  readonly findings: Finding[];
  /** Elements, sums and tokens that were checked. */
  readonly checked: number;
  /** Taken, and given once more: what the guarantees allow. */
  readonly twice: number;
  /** Stream entries under another ID than the one acknowledged. */
  readonly moved: number;
  /** Acknowledged, and left out where another region touched the key: made while no agent was reading. */
  readonly exposed: number;
}

/** A time to live that was set relative to Redis' clock may end so much beside what its client reckons with. */
const clockToleranceMs = 150;

type Of<K extends Effect['kind']> = { readonly op: Op; readonly effect: Extract<Effect, { kind: K }> };

interface KeyHistory {
  readonly puts: Map<string, Of<'put'>[]>;
  readonly removes: Map<string, Of<'remove'>[]>;
  /** Of no certain element. */
  readonly removesAny: Of<'remove'>[];
  readonly expires: Of<'expire'>[];
  readonly adds: Map<string, Of<'add'>[]>;
  readonly gives: Map<string, Of<'give'>>;
  readonly takes: Map<string, Of<'take'>[]>;
  takesAny: number;
  /** Those that touched it. */
  readonly regions: Set<number>;
}

/**
 * @param nowMs when the state was read, on the history's clock
 * @param strict also what was written while no agent was reading has to stand (see `Exposure`)
 */
export function check(history: History, state: RegionState, nowMs: number, strict = false): Report {
  return new Checker(history, state, nowMs, strict).run();
}

class Checker {
  private readonly findings: Finding[] = [];
  private checked = 0;
  private twice = 0;
  private moved = 0;
  private readonly exposed = new Set<Op>();

  constructor(
    private readonly history: History,
    private readonly state: RegionState,
    private readonly nowMs: number,
    strict: boolean,
  ) {
    if (!strict) for (const op of history.ops) if (op.sure && history.isExposed(op)) this.exposed.add(op);
  }

  run(): Report {
    const keys = byKey(this.history.ops);
    for (const [key, events] of keys) {
      const found = this.state.get(key);
      const kind: Check | undefined = familyOf(key)?.check;
      if (kind === 'elements' || kind === 'last') this.elements(key, events, found);
      else if (kind === 'sums') this.sums(key, events, found);
    }
    for (const group of groups(keys)) this.kept(group, keys);
    const { findings, checked, twice, moved, exposed } = this;
    return { findings, checked, twice, moved, exposed: exposed.size };
  }

  /** Acknowledged, and not to be lost against what another region did to the key in the same time. */
  private certain(op: Op, events: KeyHistory): boolean {
    return op.sure && (events.regions.size === 1 || !this.exposed.has(op));
  }

  /** Whether it surely had not seen the other. What no agent read is told later, by the difference, as if it had been done then. */
  private missed(one: Op, other: Op, events: KeyHistory): boolean {
    if (one.region !== other.region && events.regions.size > 1 && this.exposed.has(one)) return false;
    return this.history.missed(one, other);
  }

  // ——— "A put or a delete removes what it has seen of the element. Among live puts the highest (stamp, region) wins."

  private elements(key: string, events: KeyHistory, found: KeyState | undefined): void {
    for (const [element, puts] of events.puts) {
      this.checked++;
      const removes = [...(events.removes.get(element) ?? []), ...events.removesAny];
      const value = found?.elements.get(element);
      if (value === undefined) this.absent(key, element, puts, removes, events);
      else this.present(key, element, value, puts, removes, events, found!);
    }
    for (const element of found?.elements.keys() ?? [])
      if (!events.puts.has(element)) this.tell('invented', key, element, 'nobody wrote it');
  }

  /** A value stands only if no acknowledged put or removal had seen its put. Which of several such puts wins, a client can't know. */
  private present(
    key: string,
    element: string,
    value: string,
    puts: readonly Of<'put'>[],
    removes: readonly Of<'remove'>[],
    events: KeyHistory,
    found: KeyState,
  ): void {
    const its = puts.filter(({ effect }) => effect.value === value);
    if (its.length === 0) {
      this.tell('invented', key, element, `its value ${value} was written by nobody`);
      return;
    }
    const later = (put: Of<'put'>): Op | undefined =>
      [...puts, ...removes].find(({ op }) => this.certain(op, events) && this.history.saw(op, put.op))?.op;
    const live = its.find((put) => later(put) === undefined);
    if (live === undefined) {
      const put = its.at(-1)!;
      this.tell('back', key, element, `${tell(put.op)} is there, but was seen and undone by ${tell(later(put)!)}`);
    } else if (puts.length > 0 && element === '') this.timeToLive(key, live, events, found);
  }

  /** An acknowledged put is gone only if a removal, or a time to live, can have seen it. */
  private absent(
    key: string,
    element: string,
    puts: readonly Of<'put'>[],
    removes: readonly Of<'remove'>[],
    events: KeyHistory,
  ): void {
    // A 0 in a bitmap is a put like a 1, and may win without having seen it; so may a DEL where the last writer's value stands.
    const isPut = familyOf(key)?.name === 'bits' || familyOf(key)?.check === 'last';
    const spares = (remove: Op, put: Op): boolean =>
      isPut ? this.history.saw(put, remove) : this.missed(remove, put, events);
    const lost = puts.find(
      (put) =>
        this.certain(put.op, events) &&
        removes.every((remove) => spares(remove.op, put.op)) &&
        !this.mayExpire(put, puts, events),
    );
    if (lost !== undefined)
      this.tell('lost', key, element, `${tell(lost.op)} is gone, and nothing that saw it removed it`);
  }

  /**
   * Whether a time to live that is over can have held for this put: its own, or one that it had not seen and that nobody undid. That may also
   * be of a value that won over it, and has expired.
   */
  private mayExpire(put: Of<'put'>, puts: readonly Of<'put'>[], events: KeyHistory): boolean {
    const undone = (op: Op): boolean =>
      [...puts, ...events.expires].some((other) => this.certain(other.op, events) && this.history.saw(other.op, op));
    for (const { op, effect } of [...puts, ...events.expires]) {
      const expires = effect.expires ?? null;
      if (expires === null || expires.fromMs - clockToleranceMs > this.nowMs) continue;
      if (op !== put.op && this.history.saw(put.op, op)) continue;
      if (!undone(op)) return true;
    }
    return false;
  }

  /** A value that came with a time to live has it still, unless somebody may have changed it, and is gone when it is over. */
  private timeToLive(key: string, put: Of<'put'>, events: KeyHistory, found: KeyState): void {
    const later = events.expires.filter(({ op }) => !this.missed(op, put.op, events));
    const certain = later.filter(
      ({ op }) => this.certain(op, events) && !later.some((o) => o.op.sure && this.history.saw(o.op, op)),
    );
    const wanted: (Moment | null)[] = later
      .filter(({ op }) => !certain.some((other) => this.history.saw(other.op, op)))
      .map(({ effect }) => effect.expires);
    // The put's own time to live still counts where no change of it surely came later.
    if (!certain.some(({ op }) => this.history.saw(op, put.op))) wanted.push(put.effect.expires ?? null);
    const { expiresMs } = found;
    const fits = wanted.some((moment) =>
      moment === null || expiresMs === null
        ? moment === null && expiresMs === null
        : expiresMs >= moment.fromMs - clockToleranceMs && expiresMs <= moment.toMs + clockToleranceMs,
    );
    if (fits) return;
    const told = (ms: number | null): string => (ms === null ? 'never' : `at ${Math.round(ms)}`);
    const list = wanted.map((moment) => told(moment?.fromMs ?? null)).join(' or ');
    this.tell('ttl', key, '', `${tell(put.op)} expires ${told(expiresMs)}, and should ${list}`);
  }

  // ——— "the value is the winner plus every live increment", "each operation is applied exactly once"

  /**
   * Exact but for increments whose reply was lost: each of those is in it once, or not at all. Integers that were added while no agent was
   * reading are found by the difference; scores are not.
   */
  private sums(key: string, events: KeyHistory, found: KeyState | undefined): void {
    const exact = familyOf(key)?.name !== 'zcount';
    for (const [element, adds] of events.adds) {
      this.checked++;
      let low = 0;
      let high = 0;
      for (const { op, effect } of adds) {
        const certain = exact ? op.sure : this.certain(op, events);
        if (certain || effect.by < 0) low += effect.by;
        if (certain || effect.by > 0) high += effect.by;
      }
      const text = found?.elements.get(element) ?? '0';
      const value = Number(text);
      if (value >= low - 1e-6 && value <= high + 1e-6) continue;
      const wanted = low === high ? `${low}` : `${low} to ${high}`;
      this.tell('sum', key, element, `it is ${text}, and ${adds.length} increments make ${wanted}`);
    }
  }

  // ——— "nothing added is lost", "those that remove do not [run], so that an element may be delivered twice but never lost"

  /**
   * What was given and never taken is there. A take whose reply was lost may have taken any one. That something taken is there again
   * is allowed, and counted.
   */
  private kept(names: readonly string[], keys: ReadonlyMap<string, KeyHistory>): void {
    const there = new Map<string, string>();
    for (const name of names) for (const [token, id] of this.state.get(name)?.elements ?? []) there.set(token, id);
    const gives = new Map<string, Of<'give'>>();
    const taken = new Set<string>();
    let takesAny = 0;
    for (const name of names) {
      const events = keys.get(name)!;
      for (const [token, give] of events.gives) gives.set(token, give);
      for (const token of events.takes.keys()) taken.add(token);
      takesAny += events.takesAny;
    }
    this.checked += gives.size;
    const lost: Of<'give'>[] = [];
    for (const [token, give] of gives) {
      const id = there.get(token);
      if (id === undefined) {
        if (this.certain(give.op, keys.get(give.effect.key)!) && !taken.has(token)) lost.push(give);
      } else if (give.effect.id !== undefined && id !== give.effect.id) this.moved++;
    }
    if (lost.length > takesAny)
      for (const { op, effect } of lost)
        this.tell('lost', effect.key, effect.token, `${tell(op)} is gone, and nobody was given it`);
    for (const token of there.keys()) {
      if (taken.has(token)) this.twice++;
      if (!gives.has(token)) this.tell('invented', names[0]!, token, 'nobody gave it');
    }
  }

  private tell(kind: Finding['kind'], key: string, element: string, text: string): void {
    this.findings.push({ kind, key, element, text });
  }
}

/** Keys between which elements move (LMOVE) are one store; all others stand for themselves. */
function groups(keys: ReadonlyMap<string, KeyHistory>): string[][] {
  const found: string[][] = [];
  const lists = new Map<string, string[]>();
  for (const key of keys.keys()) {
    const family = familyOf(key);
    if (family?.check !== 'kept') continue;
    if (family.name !== 'moved') found.push([key]);
    else {
      const db = key.slice(0, key.indexOf('/'));
      const group = lists.get(db);
      if (group === undefined) lists.set(db, [key]);
      else group.push(key);
    }
  }
  return [...found, ...lists.values()];
}

function byKey(ops: readonly Op[]): Map<string, KeyHistory> {
  const keys = new Map<string, KeyHistory>();
  for (const op of ops)
    for (const effect of op.effects) {
      let events = keys.get(effect.key);
      if (events === undefined) keys.set(effect.key, (events = emptyKey()));
      events.regions.add(op.region);
      switch (effect.kind) {
        case 'put':
          push(events.puts, effect.element, { op, effect });
          break;
        case 'remove':
          if (effect.element === null) events.removesAny.push({ op, effect });
          else push(events.removes, effect.element, { op, effect });
          break;
        case 'expire':
          events.expires.push({ op, effect });
          break;
        case 'add':
          push(events.adds, effect.element, { op, effect });
          break;
        case 'give':
          events.gives.set(effect.token, { op, effect });
          break;
        case 'take':
          if (effect.token === null) events.takesAny++;
          else push(events.takes, effect.token, { op, effect });
          break;
      }
    }
  return keys;
}

function emptyKey(): KeyHistory {
  return {
    puts: new Map(),
    removes: new Map(),
    removesAny: [],
    expires: [],
    adds: new Map(),
    gives: new Map(),
    takes: new Map(),
    takesAny: 0,
    regions: new Set(),
  };
}

function push<T>(map: Map<string, T[]>, name: string, item: T): void {
  const items = map.get(name);
  if (items === undefined) map.set(name, [item]);
  else items.push(item);
}

function tell(op: Op): string {
  const end = op.endMs === Infinity ? 'unanswered' : `answered at ${op.endMs.toFixed(0)}`;
  return `${op.what} (sent at ${op.startMs.toFixed(0)} ms, ${end})`;
}
