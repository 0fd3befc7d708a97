/** Tells other regions what a key holds here, where operations alone don't: which one and when is in settle.ts. */
import { carriedByKept } from '../merge/carried';
import type { MergeCore } from '../merge/core';
import { RecordKind } from '../record';
import type { OwnBlocks } from './own-blocks';
import type { OwnStream } from './own-stream';
import { positionAfter } from './position';
import { additionsPayload, fieldsPayload, Settler, statesPayload, ttlPayload } from './settle';

const EMPTY = Buffer.alloc(0);

export interface OwnStatesHost {
  core(): MergeCore;
  readonly blocks: OwnBlocks;
  readonly stream: OwnStream;
  /** The regions that can be reached directly, this one included. */
  live(): string[];
  /** Whether what this Redis holds and the core does not know can only be in operations. */
  isTold(): boolean;
}

export class OwnStates {
  private readonly settler = new Settler();

  constructor(private readonly host: OwnStatesHost) {}

  /** Settles one key. @returns false where none is due */
  async settleOne(): Promise<boolean> {
    const { host, settler } = this;
    const { blocks, stream } = host;
    const core = host.core();
    const { settling } = core;
    const state = settler.choose(settling.toSettle(host.live()), Date.now());
    if (state === null) return false;
    // Keys between which something moved are read in one moment: it is in one of them.
    const states = state.unsettled ? settling.joinedWith(state) : [state];
    const { replies, block } = await blocks.read(states, (batch) => settler.read(batch, states));
    const now = Date.now();
    const isKeeping = !state.unsettled && state.keptFields.size > 0;
    // Where only the time to live is in doubt, having none means having nothing to say. Which fields are kept is said by what has been read up to the marker.
    const payload = state.unsettled
      ? statesPayload(states, replies, now)
      : isKeeping
        ? EMPTY
        : ttlPayload(state.key, replies, now);
    if (payload === null) {
      settling.foundNoTtl(state);
      return true;
    }
    const marker = await blocks.whenLanded(block);
    const recorder = stream.recorder!;
    const at = recorder.state;
    // The state is the key's at its marker, and is told of at the place read up to now: nobody wrote the key in between.
    // Behind its marker: what a failover loses of the blocks that it has seen, it loses of this too.
    const end = positionAfter(Math.max(at.offset, at.end));
    const isOutdated =
      end === null ||
      recorder.inBlock ||
      settling.isEmptied ||
      states.some((other) => other.positionOf(core.origins.index(at.origin)) > marker) ||
      settling.isJoinedWithMore(state, states) ||
      core.corrections.racedKeys > 0;
    const hasOthers = states.some((other) => settling.isOthers(other));
    if (isOutdated || hasOthers) settler.retry(state, payload.length, Date.now());
    if (isOutdated || (hasOthers && isKeeping)) return true;
    if (hasOthers) {
      const to = settling.yieldsTo(state, states);
      if (to === null) return true;
      const mine = additionsPayload(state.key, replies, Date.now());
      if (mine.length > 0) stream.tell(stream.make(at, RecordKind.difference, state.db, mine, end));
      settling.yielded(state, to);
      return true;
    }
    settler.sent(states, Date.now());
    if (isKeeping) {
      const kept = settling.keptFields(state);
      const { keptFields } = state;
      const { payload: fields, names } = fieldsPayload(state.key, kept, replies, now);
      const by = host.isTold() ? carriedByKept(names, kept, core.origins) : undefined;
      if (names.length > 0) core.localState(stream.make(at, RecordKind.state, state.db, fields, end, by));
      settling.toldFields(state, keptFields);
      return true;
    }
    const carried = host.isTold() ? core.carriedBy(state.db, payload) : undefined;
    core.localState(stream.make(at, RecordKind.state, state.db, payload, end, carried));
    return true;
  }
}
