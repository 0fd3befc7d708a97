/**
 * What clients did and were answered: the ground that the checker stands on. All times are of this process' one clock (`History.nowMs`),
 * whatever the regions' clocks say.
 */

/** What an operation does to a key, in the terms of the guarantees. A key is named with its database: `0/set:3`. */
export type Effect =
  /** An element gets a value; a string's element is ''. No two puts of an element have the same value, but in sets and bitmaps. */
  | {
      readonly kind: 'put';
      readonly key: string;
      readonly element: string;
      readonly value: string;
      readonly expires?: Moment;
    }
  /** An element goes; null: any one or all of the key's. */
  | { readonly kind: 'remove'; readonly key: string; readonly element: string | null }
  /** The key's time to live is set; null: taken away. */
  | { readonly kind: 'expire'; readonly key: string; readonly expires: Moment | null }
  | { readonly kind: 'add'; readonly key: string; readonly element: string; readonly by: number }
  /** Something that nobody removes but by a take: pushed, appended, added to a stream or a HyperLogLog. Tokens are unique. */
  | { readonly kind: 'give'; readonly key: string; readonly token: string; readonly id?: string }
  /** Null: one of them, nobody knows which. */
  | { readonly kind: 'take'; readonly key: string; readonly token: string | null };

/** Between which two moments a time to live ends: Redis takes the time when it runs the command. */
export interface Moment {
  readonly fromMs: number;
  readonly toMs: number;
}

/** One command, transaction or script, as its client saw it. What was refused is no operation; nor is what changed nothing. */
export interface Op {
  /** Index of the region. */
  readonly region: number;
  /** Who and how, for a failure's message. */
  readonly what: string;
  readonly startMs: number;
  /** Infinity: the reply was lost, it may have run, and until the end of the run. */
  readonly endMs: number;
  /** Acknowledged. */
  readonly sure: boolean;
  /** Beats of all regions that stood in this region's Redis before it; null where they were not read. */
  readonly before: readonly number[] | null;
  /** And after it. */
  readonly after: readonly number[] | null;
  readonly effects: readonly Effect[];
}

/**
 * A number that one client of each region counts up in a key of its own. Changes arrive in causal order, so whoever reads a region's
 * beat in another region knows what of it must have arrived there, and what cannot have.
 */
export class Beats {
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  /** Highest acknowledged beat up to each: those whose reply was lost prove nothing about what comes after them. */
  private readonly sureUpTo: number[] = [];

  /** @returns the number of the beat, from 1 on; `end` says when it was answered, `lost` that it wasn't */
  start(atMs: number): number {
    this.starts.push(atMs);
    this.ends.push(Infinity);
    this.sureUpTo.push(this.sureUpTo.at(-1) ?? 0);
    return this.starts.length;
  }

  end(n: number, atMs: number): void {
    this.ends[n - 1] = atMs;
    this.sureUpTo[n - 1] = n;
  }

  get count(): number {
    return this.starts.length;
  }

  /** The first beat that began at or after a moment: where it stands, all that had ended then stands, too. */
  firstAfter(atMs: number): number {
    return lowest(this.starts, (start) => start >= atMs) + 1;
  }

  /** The last beat that was answered before a moment: where it does not stand, nothing stands that began then or later. */
  lastBefore(atMs: number): number {
    // Beats are made one after the other, and one that was lost never ends before one that was answered later.
    let n = lowest(this.starts, (start) => start >= atMs);
    while (n > 0) {
      n = this.sureUpTo[n - 1] ?? 0;
      if (n === 0 || (this.ends[n - 1] ?? Infinity) <= atMs) return n;
      n--;
    }
    return 0;
  }
}

/** Index of the first item for which `holds`; their number when there is none. It holds for all after the first. */
function lowest(items: readonly number[], holds: (item: number) => boolean): number {
  let from = 0;
  let to = items.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (holds(items[middle]!)) to = middle;
    else from = middle + 1;
  }
  return from;
}

/**
 * When a region's Redis restarted, and until its agent took part again; from before the restart, for what the agent had not read by then.
 * "After a full resync, a write made while no agent was reading, on a key that another region changed in the same time, may lose against
 * that change" (docs/architecture.md, "Limits known today").
 */
export interface Exposure {
  readonly region: number;
  readonly fromMs: number;
  /** Infinity while it goes on. */
  toMs: number;
}

export class History {
  private readonly startedMs = performance.now();
  private readonly startedAtMs = Date.now();
  readonly exposures: Exposure[] = [];
  readonly ops: Op[] = [];
  readonly beats: readonly Beats[];
  acknowledged = 0;
  unsure = 0;
  refused = 0;

  constructor(readonly regions: readonly string[]) {
    this.beats = regions.map(() => new Beats());
  }

  /** Since the history began. */
  get nowMs(): number {
    return performance.now() - this.startedMs;
  }

  /** A moment of the system's clock, ms since 1970, in the history's time. */
  at(epochMs: number): number {
    return epochMs - this.startedAtMs;
  }

  add(op: Op): void {
    if (op.effects.length > 0) this.ops.push(op);
    if (op.sure) this.acknowledged++;
    else this.unsure++;
  }

  isExposed(op: Op): boolean {
    return this.exposures.some(
      ({ region, fromMs, toMs }) => region === op.region && op.startMs <= toMs && op.endMs >= fromMs,
    );
  }

  /** Whether `later` surely had seen `earlier` when it ran: by the order in one Redis, or by causal delivery between two. */
  saw(later: Op, earlier: Op): boolean {
    if (later === earlier || !earlier.sure) return false;
    if (later.region === earlier.region) return earlier.endMs <= later.startMs;
    const beats = later.before?.[earlier.region];
    if (beats === undefined || beats === 0) return false;
    return beats >= this.beats[earlier.region]!.firstAfter(earlier.endMs);
  }

  /** Whether `one` surely had not seen `other`: it was over before the other began, or proof of the other's absence was read after it. */
  missed(one: Op, other: Op): boolean {
    if (one.endMs <= other.startMs) return true;
    if (one.region === other.region) return false;
    const beats = one.after?.[other.region];
    if (beats === undefined) return false;
    return beats < this.beats[other.region]!.lastBefore(other.startMs);
  }
}
