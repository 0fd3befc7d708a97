/** Conflicts, counted and told of. */
import type { Base } from './base';
import { type ConflictSide, type ConflictSink, conflictsOf, setConflict } from './conflict';
import type { Effect } from './effects';
import { type Element, type KeyState, type Op, TYPE_NAMES } from './key-state';
import { highestOf } from './op';
import type { OriginTable } from './origins';
import type { Trespass } from '../stream/recorder';
import type { SetRun } from './set-run';
import type { SetSource } from './set-source';
import type { Window } from './window';

export class ConflictNotes {
  /** Who is told what is lost in conflicts; null while what is known already is told once more. */
  sink: ConflictSink | null = null;
  /** Operations that met one they had not seen, by the kind of element. */
  readonly counts: Record<string, number> = {};

  constructor(
    private readonly origins: OriginTable,
    private readonly window: Window,
    private readonly base: Base,
  ) {}

  note(state: KeyState, effect: Effect, op: Op, touched: readonly Element[]): void {
    const { sink } = this;
    if (sink === null || this.base.isPlanned || !sink.wants()) return;
    for (const conflict of conflictsOf(state, effect, op, touched, this.origins)) sink.note(conflict);
  }

  noteSet({ keys, keyEnds, ends }: SetRun, i: number, { db, origin, base, payload }: SetSource): void {
    const { sink } = this;
    if (sink === null || this.base.isPlanned || !sink.wants()) return;
    const key = payload!.toString('latin1', keys[i], keyEnds[i]);
    const conflict = setConflict(db, key, this.window.lastPuts(), [origin, base + ends[i]!], this.origins);
    if (conflict !== null) sink.note(conflict);
  }

  /** What a client wrote to a key that another region owns. Its value was never taken from the stream. */
  noteTrespass({ db, key, origin, position, stamp }: Trespass): void {
    const { sink } = this;
    this.countKind('trespass');
    if (sink === null || !sink.wants()) return;
    const loser = { origin, position, stamp, act: 'command', value: () => null } as const;
    sink.note({ db, key, type: 'key', element: '', reason: 'policy', winner: null, loser });
  }

  /** Of two writes of a key that is its last writer's: what is lost is all that the key was by the lower one. */
  noteLast(state: KeyState, op: Op): void {
    const { sink, origins } = this;
    this.countKind('lww');
    if (sink === null || !sink.wants()) return;
    const last = state.last!;
    const top = last.topOf(state, origins)!;
    const others = state.opaques.filter((other) => other !== top);
    const lost = top === op ? highestOf(others, origins) : op;
    if (lost === null) return;
    const side = ({ origin, position, stamp }: Op): ConflictSide => {
      return { origin: origins.id(origin), position, stamp, act: 'command', value: () => null };
    };
    const { db, key } = state;
    sink.note({ db, key, type: 'key', element: '', reason: 'policy', winner: side(top), loser: side(lost) });
  }

  count(effect: Effect): void {
    this.countKind('type' in effect ? TYPE_NAMES[effect.type] : effect.kind === 'set' ? 'string' : effect.kind);
  }

  countKind(type: string): void {
    this.counts[type] = (this.counts[type] ?? 0) + 1;
  }
}
