/** Every effective command of a client that survived in its Redis was recorded, once, with the right `seen` and a right stamp. */
import { CURSOR_KEY, HEARTBEAT_KEY, parseMarker } from '../../../agent/stream/keys';
import { type Argv, encode } from '../redis';
import { type RuleOp, sameSeen } from '../rule';
import { type Ended, isKept } from './ended';

/** What was recorded is what clients did. */
export function checkRecords(ended: Ended): void {
  const found = new Set<string>();
  for (const region of ended.regions) {
    const histories = [...region.past, { redis: region.redis, end: region.redis.offset }];
    for (const { redis, end } of histories) {
      const known = region.agent.histories.get(redis.replId);
      if (known === undefined) continue;
      const { origin, from } = known;
      let seen: ReadonlyMap<string, number> | null = null;
      let cursor: string | null = null;
      for (const unit of redis.units) {
        const marker = unit.commands.find(({ argv }) => argv[1] === CURSOR_KEY);
        for (const command of unit.commands) {
          const { argv } = command;
          // Before it was read, it was found as a difference.
          if (command.end <= from) continue;
          if (argv[1] === CURSOR_KEY || argv[1] === HEARTBEAT_KEY) continue;
          if (marker !== undefined) {
            // An expiry that an agent's block met, or made: recorded beside the stream's bytes, once.
            if (argv[0] !== 'UNLINK' || isKept(ended, `${command.db} ${argv[1]}`, region.name)) continue;
            const beside = [...ended.log.values()].find(
              (op) =>
                op.origin === origin &&
                op.position > unit.start &&
                op.position < unit.end + 1 &&
                !Number.isInteger(op.position) &&
                !op.isState &&
                !op.isDifference &&
                op.commands[0]!.argv[1] === argv[1] &&
                op.commands[0]!.db === command.db &&
                !found.has(`${origin}@${op.position}`),
            );
            if (beside !== undefined) found.add(`${origin}@${beside.position}`);
            else if (unit.end <= end) ended.fail(`${origin}@${command.end} ${argv.join(' ')} was never recorded`);
            continue;
          }
          const recorded = recordedOf(ended, command, region.name);
          if (recorded === null) {
            if (ended.log.has(`${origin}@${command.end}`))
              ended.fail(`${origin}@${command.end} ${argv.join(' ')} stays there, and was recorded`);
            continue;
          }
          const id = `${origin}@${recorded.end}`;
          const op = ended.log.get(id);
          if (op === undefined) {
            if (command.end <= end) ended.fail(`${id} ${argv.join(' ')} was never recorded`);
            continue;
          }
          found.add(id);
          if (op.commands[0]!.argv.join(' ') !== recorded.argv.join(' ') || op.commands[0]!.db !== command.db)
            ended.fail(`${id} was ${argv.join(' ')}, recorded as ${op.commands[0]!.argv.join(' ')}`);
          const { added } = op.commands[0]!;
          if (command.by !== undefined && added !== undefined && Number(added) !== Number(command.by))
            ended.fail(`${id} ${argv.join(' ')} added ${command.by}, and was recorded to have added ${added}`);
          if (seen !== null && !sameSeen(op.seen, seen))
            ended.fail(`${id} ${argv.join(' ')} was recorded with a wrong seen`);
        }
        if (marker !== undefined) {
          cursor = marker.argv[2]!;
          seen = parseMarker(cursor)!.vector;
        }
      }
    }
  }
  const begins = new Map(
    ended.regions.flatMap(({ agent }) => [...agent.histories.values()].map((h) => [h.origin, h.from])),
  );
  // What was over, found with the differences before the first byte.
  const isBefore = ({ origin, position }: RuleOp): boolean =>
    !Number.isInteger(position) && Math.floor(position) === Math.floor(begins.get(origin) ?? -1);
  for (const [id, op] of ended.log)
    if (
      ended.regions.some(({ name }) => name === op.region) &&
      !found.has(id) &&
      !op.isState &&
      !op.isDifference &&
      !isBefore(op)
    )
      ended.fail(`${id} was recorded, and never happened`);
  // A hybrid logical clock: what has seen an operation is stamped after it.
  const byOrigin = new Map<string, RuleOp[]>();
  for (const op of ended.log.values()) {
    const ops = byOrigin.get(op.origin);
    if (ops === undefined) byOrigin.set(op.origin, [op]);
    else ops.push(op);
  }
  for (const ops of byOrigin.values()) ops.sort((a, b) => a.position - b.position);
  for (const [origin, ops] of byOrigin)
    ops.forEach((op, i) => {
      const below = [...op.seen].map(([o, position]) =>
        byOrigin.get(o)?.findLast((other) => other.position <= position),
      );
      for (const other of [ops[i - 1], ...below])
        if (other !== undefined && other.stamp >= op.stamp)
          ended.fail(`${origin}@${op.position} saw ${other.origin}@${other.position}, whose stamp is not lower`);
    });
}

/** What of a command is recorded: not what each of its keys that its region keeps stands for; null for nothing of it. */
function recordedOf(
  ended: Ended,
  { argv, db, end }: { argv: Argv; db: number; end: number },
  region: string,
): { argv: Argv; end: number } | null {
  if (!ended.policies.isActive) return { argv, end };
  const [name, ...args] = argv as [string, ...string[]];
  const isMset = name === 'MSET';
  const isOfKeys = isMset || /^(?:DEL|UNLINK)$/i.test(name);
  const step = isMset ? 2 : 1;
  const keys = isOfKeys ? args.filter((_, i) => i % step === 0) : keysIn(argv);
  const ignored = keys.filter((key) => isKept(ended, `${db} ${key}`, region));
  if (ignored.length === 0) return { argv, end };
  if (ignored.length === keys.length) return null;
  if (!isOfKeys) return { argv, end };
  const kept = args.filter((_, i) => !ignored.includes(args[i - (i % step)]!));
  const rest: Argv = [name === 'UNLINK' ? 'unlink' : name, ...kept];
  return { argv: rest, end: end - encode(argv).length + encode(rest).length };
}

/** Keys of a command that clients of the simulation send. */
function keysIn([name, ...args]: Argv): string[] {
  return /^(?:LMOVE|RPOPLPUSH|SMOVE|RENAME|COPY)$/.test(name!)
    ? args.slice(0, 2)
    : name === 'XGROUP'
      ? [args[1]!]
      : args.slice(0, 1);
}
