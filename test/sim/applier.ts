/** The model of agent/apply: what comes from other regions goes into Redis, step by step. */
import { Batch, type BatchItem } from '../../agent/merge/batch';
import { commandByName } from '../../agent/merge/commands';
import { ADD_SCRIPT } from '../../agent/merge/decimal';
import { addedEntryOf, incrementOf } from '../../agent/merge/effects';
import { isOfGroup } from '../../agent/merge/forms';
import type { KeyState } from '../../agent/merge/key-state';
import type { FoundLibrary } from '../../agent/merge/libraries';
import { postponePassed } from '../../agent/merge/late-ttl';
import { CommandScanner } from '../../agent/resp';
import { CURSOR_KEY, formatMarker } from '../../agent/stream/keys';
import type { SimAgent } from './agent';
import { functionsOf } from './functions';
import type { SimAgentHost } from './host';
import { type Argv, CommandFailed, encode, parseCommands, type Redis } from './redis';

const BATCH_RECORDS = 4;

/** A block was found in the stream that this agent did not send: it starts anew. */
export class ForeignHand extends Error {}

export class Applier {
  private blocks = 0;

  constructor(
    private readonly agent: SimAgent,
    private readonly host: SimAgentHost,
  ) {}

  /** A name that no other block has. */
  nextBlock(): string {
    return `${this.agent.life}:${++this.blocks}`;
  }

  /** What can be applied now, of several origins; null for nothing. */
  collect(): Batch | null {
    const { core } = this.agent;
    let batch: Batch | null = null;
    let records = 0;
    const max = 1 + this.host.pick(BATCH_RECORDS);
    for (let progress = true; progress && records < max && batch?.isClosed !== true;) {
      progress = false;
      for (const [origin, lane] of this.agent.inbox) {
        const record = lane[0];
        if (record === undefined || records >= max || batch?.isClosed === true) continue;
        const held = this.agent.vector.get(origin) ?? -1;
        if (record.end <= held) {
          lane.shift();
          core.assume(origin, record.end);
          progress = true;
          continue;
        }
        if (!core.isDeliverable(record)) continue;
        batch ??= new Batch();
        lane.shift();
        core.plan(record, batch, held);
        this.agent.vector.set(origin, record.end);
        records++;
        progress = true;
      }
    }
    return batch;
  }

  /** Applies a batch, and corrects the keys that were raced. */
  *applyBatch(batch: Batch): Generator<void> {
    const { libraries } = this.agent.core;
    const looks = libraries.isDue;
    let found: FoundLibrary[] = [];
    if (looks) libraries.take();

    this.agent.maxStamp = Math.max(this.agent.maxStamp, batch.stamp);
    const raced = this.agent.core.corrections.takeRaced();
    const block = this.nextBlock();
    yield* this.apply(
      batch,
      block,
      raced,
      raced.length === 0 && !looks
        ? null
        : (extra) => {
            this.agent.core.corrections.correct(raced, extra);
            if (looks) libraries.settle(found, extra.select(0));
          },
      undefined,
      looks ? () => (found = foundIn(this.host.redis())) : undefined,
    );
    this.agent.core.corrections.corrected(raced, block);
    if (looks) libraries.settled();
  }

  /**
   * Runs a batch in one transaction with the cursor, again and again until nobody comes between.
   * @param states keys that it is about
   * @param amend adds what is to be written of them, once they are watched and all before is read
   * @param read called in the moment of the transaction
   * @param look called before the own stream is read up to now
   */
  *apply(
    batch: Batch,
    block: string,
    states: readonly KeyState[],
    amend: ((batch: Batch) => void) | null,
    read?: () => void,
    look?: () => void,
  ): Generator<void> {
    const redis = this.host.redis();
    const fixed = [...batch.finish()];
    const left = new Set<KeyState>();
    for (;;) {
      const watchedStates = new Set(states);
      for (const item of fixed) if (item.kind === 'guarded') for (const state of item.states) watchedStates.add(state);
      const keys = [{ db: 0, key: CURSOR_KEY }, ...watchedStates];
      if (look !== undefined) {
        look();
        this.agent.waitingFor = 'a look at libraries to be answered';
        yield;
      }
      const watched = redis.watch(keys);
      if (redis.get(0, CURSOR_KEY) !== this.agent.cursor) throw new ForeignHand();
      let items: BatchItem[] = fixed;
      if (watchedStates.size > 0 || look !== undefined) {
        const fence = redis.offset;
        this.agent.waitingFor = `own stream up to ${fence}`;
        while (this.agent.stream.offset < fence) yield;
        this.agent.core.opaques.admitAll(fixed, left);
        items = fixed;
        if (amend !== null) {
          const extra = new Batch();
          amend(extra);
          items = [...items, ...extra.finish()];
        }
      }
      const commands: Argv[] = [];
      for (const item of items)
        commands.push(...parseCommands(postponePassed(item.bytes, this.host.now())).map(({ argv }) => argv));
      const text = formatMarker({ block, stamp: this.agent.maxStamp, vector: this.agent.vector });
      const send = (): ReturnType<Redis['exec']> =>
        redis.exec(watched, 0, [...commands, ['SELECT', '0'], ['SET', CURSOR_KEY, text]]);
      this.agent.sent = () => void send();
      this.agent.waitingFor = 'the block to reach Redis';
      yield;
      this.agent.sent = null;
      const replies = send();
      this.host.trace(
        `${this.agent.region} EXEC ${block} ${replies === null ? 'nil' : 'ok'} ${commands.map(textOf).join('; ')}` +
          ` [${[...this.agent.vector].map(([o, p]) => `${o}=${p}`).join(',')}]`,
      );
      if (replies === null) continue;
      this.agent.cursor = text;
      read?.();
      this.refused(commands, replies);
      return;
    }
  }

  private refused(commands: readonly Argv[], replies: readonly unknown[]): void {
    let db = 0;
    commands.forEach((argv, i) => {
      if (argv[0] === 'SELECT') db = Number(argv[1]);
      if (!(replies[i] instanceof CommandFailed)) return;
      this.agent.refusals++;
      this.host.trace(`${this.agent.region} refused ${textOf(argv)}`);
      if (isOfGroup(argv[0]!)) return;
      if (argv[0] === 'FUNCTION') {
        const scanner = new CommandScanner();
        scanner.push(encode(argv));
        scanner.next();
        if (this.agent.core.libraries.refused(scanner, replies[i].message))
          throw new Error(`refused for good: ${textOf(argv)}`);
        return;
      }
      if (argv[0] === 'EVAL') return this.agent.core.refused(db, argv[3]!);
      const scanner = new CommandScanner();
      scanner.push(encode(argv));
      scanner.next();
      const command = commandByName(argv[0]!);
      const isError = /^ERR/.test(replies[i].message);
      if (command === undefined || !isError) return this.agent.core.refused(db, argv[1]!);
      this.agent.core.refused(db, argv[1]!, {
        increment: incrementOf(command, scanner),
        entry: addedEntryOf(command, scanner),
      });
    });
  }
}

/** What FUNCTION LIST WITHCODE answers. */
function foundIn(redis: Redis): FoundLibrary[] {
  return [...redis.functions.all].map(([name, code]) => ({
    name,
    code: Buffer.from(code, 'latin1'),
    functions: functionsOf(code),
  }));
}

/** For the trace: of a script only that it is one. */
function textOf(argv: Argv): string {
  return (argv[0] === 'EVAL' ? ['EVAL', argv[1] === ADD_SCRIPT ? 'add' : '…', ...argv.slice(3)] : argv).join(' ');
}
