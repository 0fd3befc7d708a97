/** The model of agent/session/own-states.ts and trims.ts: a key's state, or where a stream begins, is read and told to the other regions. */
import { Batch } from '../../agent/merge/batch';
import type { KeyState } from '../../agent/merge/key-state';
import { trimReport } from '../../agent/merge/stream-commands';
import { type OpRecord, RecordKind } from '../../agent/record';
import { Settler as Turns } from '../../agent/session/settle';
import { positionAfter } from '../../agent/stream/position';
import type { SimAgent } from './agent';
import type { Applier } from './applier';
import { recordAt } from './histories';
import type { SimAgentHost } from './host';
import { commandsIn, encode } from './redis';
import { idsIn } from './stream';

const AWAIT_MS = 3000;

export class Settler {
  private readonly awaitedSince = new WeakMap<KeyState, number>();
  private readonly turns = new Turns();

  constructor(
    private readonly agent: SimAgent,
    private readonly host: SimAgentHost,
    private readonly applier: Applier,
  ) {}

  /** A key's state is to be asked for at once. */
  hasten(state: KeyState): void {
    this.awaitedSince.set(state, -Infinity);
  }

  /** What other regions should settle, and may not know of. */
  askForStates(): void {
    const now = this.host.uptime();
    for (const [region, states] of this.agent.core.settling.awaited(this.host.live()))
      for (const state of states) {
        const since = this.awaitedSince.get(state);
        if (since === undefined) this.awaitedSince.set(state, now);
        else if (now - since >= AWAIT_MS) {
          this.awaitedSince.set(state, now);
          this.host.ask(region, state.db, state.key);
        }
      }
  }

  *settleOne(): Generator<void> {
    const { core } = this.agent;
    const now = this.host.uptime();
    const state = this.turns.choose(core.settling.toSettle(this.host.live()), now);
    if (state === null) return;
    const block = this.applier.nextBlock();
    const states = state.unsettled ? core.settling.joinedWith(state) : [state];
    let payload = Buffer.alloc(0);
    let mine = payload;
    yield* this.applier.apply(new Batch(), block, states, null, () => {
      const dump = states.flatMap(({ db, key }) => this.host.redis().dump(db, key));
      mine = Buffer.concat(this.host.redis().dump(state.db, state.key).slice(1).map(encode));
      const commands = state.unsettled ? dump : dump.filter(([name]) => name === 'PEXPIREAT');
      payload = Buffer.concat(commands.map(encode));
    });
    if (payload.length === 0) {
      core.settling.foundNoTtl(state);
      return;
    }
    this.agent.waitingFor = `block ${block} to be read back`;
    while (this.agent.landed !== block) yield;
    const at = this.agent.stream;
    const end = positionAfter(Math.max(at.offset, at.end));
    const isOutdated =
      end === null ||
      this.agent.recorder!.inBlock ||
      states.some((other) => other.positionOf(core.origins.index(at.origin)) > this.agent.landedOffset) ||
      core.settling.isJoinedWithMore(state, states) ||
      core.corrections.racedKeys > 0;
    const hasOthers = states.some((other) => core.settling.isOthers(other));
    if (isOutdated || hasOthers) this.turns.retry(state, payload.length, now);
    if (isOutdated) return;
    if (hasOthers) {
      const to = core.settling.yieldsTo(state, states);
      if (to === null) return;
      this.host.trace(`${this.agent.region} leaves ${state.db} ${state.key} to ${to}: ${commandsIn(mine).join('; ')}`);
      if (mine.length > 0) {
        const { db } = state;
        const record: OpRecord = { ...recordAt(at), kind: RecordKind.difference, db, payload: mine, ops: 1, end };
        at.end = end;
        at.stamp++;
        this.agent.tell(this.agent.journal.append(record));
      }
      core.settling.yielded(state, to);
      return;
    }
    this.turns.sent(states, now);
    const { origin, stamp, seen } = at;
    const record: OpRecord = {
      kind: RecordKind.state,
      origin,
      start: at.end,
      end,
      stamp,
      ops: 1,
      db: state.db,
      seen,
      payload,
      ...(this.agent.isUnexplained ? {} : { carried: core.carriedBy(state.db, payload) }),
    };
    at.end = end;
    at.stamp++;
    this.agent.settlements++;
    this.host.trace(`${this.agent.region} settles ${state.db} ${state.key}: ${commandsIn(payload).join('; ')}`);
    core.localState(this.agent.journal.append(record));
  }

  /** Writes the cursor alone, and waits until it has been read back. */
  *catchUp(): Generator<void> {
    const block = this.applier.nextBlock();
    yield* this.applier.apply(new Batch(), block, [], null);
    this.agent.waitingFor = `block ${block} to be read back`;
    while (this.agent.landed !== block) yield;
  }

  /** As agent/session/own-libraries.ts has it. */
  tellLost(): void {
    const { core } = this.agent;
    const at = this.agent.stream;
    const end = positionAfter(Math.max(at.offset, at.end));
    if (end === null || this.agent.recorder!.inBlock) return;
    const names = core.libraries.takeLost(core.origins.toSeen(at.seen), core.origins.index(at.origin));
    if (names.length === 0) return;
    const payload = Buffer.concat(names.map((name) => encode(['FUNCTION', 'DELETE', name])));
    const record: OpRecord = { ...recordAt(at), kind: RecordKind.difference, payload, ops: 1, end };
    at.end = end;
    at.stamp++;
    this.host.trace(`${this.agent.region} tells that ${names.join(', ')} lost`);
    this.agent.tell(this.agent.journal.append(record));
  }

  /** As agent/session/trims.ts has it. */
  *reportTrims(): Generator<void> {
    const { host } = this;
    const { core } = this.agent;
    const { trims } = core;
    for (const stream of trims.choose(host.uptime(), 1 + host.pick(3))) {
      const { db, key } = stream;
      if (core.isAmiss(db, key)) continue;
      trims.look(stream);
      const value = host.redis().entry(db, key)?.value;
      const beginning = value?.type === 'stream' ? trims.beginning(stream, idsIn(value), value.lastId) : null;
      this.agent.waitingFor = 'a look to be answered';
      yield;
      const at = this.agent.stream;
      const end = positionAfter(Math.max(at.offset, at.end));
      if (beginning === null || !trims.isNews(stream, beginning)) trims.done(stream, beginning, host.uptime());
      else if (
        end === null ||
        this.agent.recorder!.inBlock ||
        core.isAmiss(db, key) ||
        trims.isOutdated(stream, beginning.first)
      )
        trims.retry(stream, host.uptime());
      else {
        const payload = trimReport([{ key, ...beginning }]);
        const record: OpRecord = { ...recordAt(at), kind: RecordKind.state, db, payload, ops: 1, end };
        at.end = end;
        at.stamp++;
        host.trace(`${this.agent.region} reports ${commandsIn(payload)[0]}`);
        core.localState(this.agent.journal.append(record));
        trims.done(stream, beginning, host.uptime());
      }
    }
  }
}
