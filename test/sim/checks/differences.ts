/** What was found by comparing data is what clients did. */
import { CURSOR_KEY } from '../../../agent/stream/keys';
import type { Argv } from '../redis';
import type { RuleOp } from '../rule';
import { type Ended, isLastWriters, ownerOf } from './ended';

/**
 * What is found as a difference is something that a client did, and that nobody had recorded: never what Redis has lost. Of
 * keys that other regions write too it can't be said so simply.
 */
export function checkDifferences(ended: Ended): void {
  const isOver = ({ commands }: RuleOp): boolean =>
    commands.some(({ argv }) => argv[0] === 'PEXPIREAT' && Number(argv[2]) < ended.now);
  /** A delete that has seen nothing of its key. */
  const isIdle = (op: RuleOp, at: number, [name, key]: Argv): boolean =>
    /^(?:DEL|UNLINK)$/.test(name!) &&
    op.commands.filter(({ db, argv }) => db === at && argv[1] === key).length === 1 &&
    ![...ended.log.values()].some(
      ({ origin, position, commands }) =>
        (op.seen.get(origin) ?? -1) >= position &&
        commands.some(({ db, argv }) => (db === at && argv.includes(key!)) || argv[0] === 'FLUSHDB'),
    );
  for (const region of ended.regions) {
    const shared = new Set<string>();
    const share = ({ db, argv }: { db: number; argv: Argv }): void => {
      for (const key of namesIn(argv)) shared.add(`${db} ${key}`);
    };
    for (const op of ended.log.values()) if (op.region !== region.name) op.commands.forEach(share);
    // Not all that clients did was ever recorded.
    for (const other of ended.regions)
      if (other !== region)
        for (const { redis } of [...other.past, other])
          for (const { commands } of redis.units)
            if (!commands.some(({ argv }) => argv[1] === CURSOR_KEY)) commands.forEach(share);
    const histories = [...region.past, { redis: region.redis, isOutage: false }];
    // What a cut to a length has left out is told by the region that cut, later, and found by a comparison before that.
    const cut = new Set<string>();
    for (const { redis } of histories)
      for (const { commands } of redis.units)
        for (const { db, argv } of commands) if (argv.includes('MAXLEN')) cut.add(`${db} ${argv[1]}`);
    const unrecorded = new Set<string>();
    for (const { redis, isOutage } of histories) {
      const known = region.agent.histories.get(redis.replId);
      const note = (keep: (end: number) => boolean): void => {
        for (const { commands } of redis.units)
          for (const { argv, db, end } of commands)
            if (keep(end)) for (const key of namesIn(argv)) unrecorded.add(`${db} ${key}`);
      };
      if (known === undefined) note(() => true);
      else {
        note((end) => end <= known.from);
        for (const op of ended.log.values())
          if (op.isDifference && op.origin === known.origin)
            for (const { db, argv } of op.commands)
              // A donor may have given a key a moment more, and have read it when that was over.
              if (
                argv[0] !== 'PEXPIREAT' &&
                // A library that has lost against another one is told of in the same way.
                argv[0] !== 'FUNCTION' &&
                !isOver(op) &&
                !isIdle(op, db, argv) &&
                !(argv[0] === 'XDEL' && isIn(cut, db, argv[1]!)) &&
                // A donor may wait for its state, and is told of it once more.
                !isLastWriters(ended, `${db} ${argv[1]}`) &&
                // All of a key that it owns is told where the donor has it otherwise, but for a time to live that is over perhaps.
                ownerOf(ended, `${db} ${argv[1]}`) !== region.name &&
                !isIn(unrecorded, db, argv[1]!) &&
                !isIn(shared, db, argv[1]!)
              )
                ended.fail(`${op.origin}@${op.position} ${argv.join(' ')} is no difference that a client made`);
        unrecorded.clear();
        if (isOutage) note((end) => !ended.log.has(`${known.origin}@${end}`));
      }
    }
  }
}

/** What may be keys of a command; a FLUSHDB is about all of them. */
function namesIn([name, ...args]: Argv): readonly string[] {
  return name === 'FLUSHDB' ? ['*'] : args;
}

function isIn(names: ReadonlySet<string>, db: number, key: string): boolean {
  return names.has(`${db} ${key}`) || names.has(`${db} *`);
}
