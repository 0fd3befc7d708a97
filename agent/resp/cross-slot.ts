/**
 * Transactions on a node of a Redis Cluster. There, EXEC takes the commands of one slot only. A script may touch the keys of all slots that its node
 * has, where it says so (`allow-cross-slot-keys`, Redis 7.0); so what would stand between MULTI and EXEC runs as a script between them: whole or
 * not at all as before, refused as a whole where Redis takes no writes, and under WATCH, which may be on keys of any slots.
 */
import { slotOf } from '../../model/slots';
import { type Arg, CommandWriter } from './encode';
import { type Reply, ReplyError } from './replies';
import { CommandScanner } from './scanner';

/**
 * ARGV has, for each command, a head and its arguments. The head is their number; or, where a command has more arguments than Lua has room for on
 * its stack, or keys of several slots, also how many of them begin each of the commands that it is made into, and how many others each takes at most.
 */
const BODY = `
local call, out, at = redis.pcall, {}, 1
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  if count then
    out[#out + 1] = call(unpack(ARGV, at + 1, at + count))
  else
    local all, fixed, most = string.match(ARGV[at], '(%d+) (%d+) (%d+)')
    count = tonumber(all)
    local reply
    local args = {unpack(ARGV, at + 1, at + fixed)}
    for from = at + fixed + 1, at + count, most do
      local to = math.min(from + most - 1, at + count)
      for i = from, to do args[fixed + i - from + 1] = ARGV[i] end
      local one = call(unpack(args, 1, fixed + to - from + 1))
      if not reply or (type(one) == 'table' and one.err) then reply = one end
    end
    out[#out + 1] = reply
  end
  at = at + count + 1
end
return out`;
const WRITES = '#!lua flags=allow-cross-slot-keys';
/**
 * Before the first write: this node has all slots of its shard, and none of them moves. No slot does while a script runs, so that all of a transaction is refused, or
 * nothing of it; without it what is in a slot on its way would be left out, and the cursor pass over it. The slots are the first argument.
 */
const CHECK = `
local nodes = redis.call('CLUSTER', 'NODES')
local myself = string.match(nodes, '[^\\n]*myself[^\\n]*')
if not myself or not string.find(myself .. '\\n', ' connected ' .. table.remove(ARGV, 1) .. '\\n', 1, true) then
  return redis.error_reply('MOVED slots of this shard are being moved, or have gone')
end`;
const SCRIPT = WRITES + CHECK + BODY;
/** Of commands that only read: a Redis that takes no writes (NOREPLICAS) answers it all the same. */
const READING_SCRIPT = `#!lua flags=no-writes,allow-cross-slot-keys${BODY}`;
const READS = new Set(['CLUSTER', 'SELECT', 'TIME', 'INFO', 'GET', 'DUMP', 'PTTL', 'PEXPIRETIME', 'TYPE', 'EXISTS']);

/**
 * A script that has been written for EVAL with keys, for a node of a cluster that has all of their slots.
 * @returns what is called with no key, and with the number of keys, the keys and the arguments as its arguments
 */
export function acrossSlots(script: string): string {
  return `${WRITES}
${REARRANGED}${script}`;
}

const REARRANGED = `local all, keys = ARGV, ARGV[1] + 1
local KEYS, ARGV = {}, {}
for i = 2, keys do KEYS[i - 1] = all[i] end
for i = keys + 1, #all do ARGV[i - keys] = all[i] end
`;

/** Lua has room for 8,000 values on its stack. */
const ARGS_MAX = 7000;
/** Of one script: Redis takes a million arguments, and Lua keeps a table of them. */
const SCRIPT_ARGS_MAX = 50_000;

/** What Redis runs in no script: by itself, then. None of them has a key. */
const BY_ITSELF = new Set(['FUNCTION']);
/** Of nobody: what can't be said in a script is refused by this name. */
const UNKNOWN = 'MERIDIAN.TOOMANYARGUMENTS';
const LF = 10;

/** A transaction as it is sent to a node of a cluster. */
export interface CrossSlot {
  bytes: Buffer;
  /** Commands between MULTI and EXEC. */
  queued: number;
  /** Of each of these how many commands of the caller's it stands for, and whether its reply is a list of theirs. */
  parts: readonly { commands: number; isScript: boolean }[];
}

/**
 * Makes scripts of what stands between MULTI and EXEC.
 * @param rawBytes MULTI, commands, EXEC; what follows stays as it is
 * @param slots of the shard, as CLUSTER NODES has them: where the node has others, nothing of it runs
 */
export function crossSlot(rawBytes: Buffer, slots: string): CrossSlot {
  const scanner = new CommandScanner();
  scanner.push(rawBytes);
  const out = new CommandWriter(rawBytes.length + 1024);
  const parts: { commands: number; isScript: boolean }[] = [];
  const args = new CommandWriter(rawBytes.length + 1024);
  let count = 0;
  let commands = 0;
  let reads = true;
  /** Of the one command with a key that may stand by itself. */
  let ownSlot = -1;
  const flush = (): void => {
    if (commands === 0) return;
    if (reads)
      out
        .header(count + 3)
        .arg('EVAL')
        .arg(READING_SCRIPT);
    else
      out
        .header(count + 4)
        .arg('EVAL')
        .arg(SCRIPT);
    out.arg(0);
    if (!reads) out.arg(slots);
    out.raw(args.view(), 0, args.length, 0);
    parts.push({ commands, isScript: true });
    args.reset();
    count = commands = 0;
    reads = true;
  };
  /** @param head null: it is refused, by a name that nothing has */
  const add = (head: Arg | null, name: string): void => {
    const size = head === null ? 1 : scanner.argc;
    args.arg(head ?? size);
    if (head === null) args.arg(UNKNOWN);
    else args.append(scanner.buf, scanner.buf.indexOf(LF, scanner.start) + 1, scanner.end);
    count += size + 1;
    commands++;
    if (!READS.has(name)) reads = false;
  };
  const byItself = (): void => {
    flush();
    out.raw(scanner.buf, scanner.start, scanner.end);
    parts.push({ commands: 1, isScript: false });
  };
  scanner.next();
  out.command(['MULTI']);
  while (scanner.next()) {
    const { argc } = scanner;
    const name = nameOf(scanner);
    if (name === 'EXEC') break;
    if (commands > 0 && count + argc + 1 > SCRIPT_ARGS_MAX) flush();
    const divided = argc > ARGS_MAX || name in DIVIDED ? division(scanner, name) : null;
    if (BY_ITSELF.has(name)) byItself();
    else if (name === 'EVAL') {
      // No script runs another one. What it has as keys is for this node, whatever their slots.
      flush();
      const { buf, argStart, argEnd, end } = scanner;
      const script = buf.toString('utf8', argStart[1], argEnd[1]);
      out
        .header(argc + 2)
        .arg('EVAL')
        .arg(`${WRITES}${CHECK}\n${REARRANGED}${script}`)
        .arg(0)
        .arg(slots)
        .append(buf, argEnd[1]! + 2, end);
      parts.push({ commands: 1, isScript: false });
    } else if (divided !== null) add(`${argc} ${divided.fixed} ${divided.most}`, name);
    else if (argc <= ARGS_MAX) add(argc, name);
    else {
      // One slot's commands EXEC does take.
      const slot = slotOf(scanner.buf, scanner.argStart[1], scanner.argEnd[1]);
      if (ownSlot < 0) ownSlot = slot;
      if (ownSlot === slot) byItself();
      else add(null, name);
    }
  }
  flush();
  out.command(['EXEC']);
  out.raw(rawBytes, scanner.end, rawBytes.length, 0);
  return { bytes: out.take(), queued: parts.length, parts };
}

/** How a command is made into several: so many arguments begin each, and so many more each has at most. */
interface Division {
  fixed: number;
  most: number;
}

/** Those with keys of several slots, always: by key. */
const DIVIDED: Readonly<Record<string, Division>> = {
  MSET: { fixed: 1, most: 2 },
  DEL: { fixed: 1, most: 1 },
  UNLINK: { fixed: 1, most: 1 },
};
/** Those with many elements, by as many as belong together. */
const STEPS: Readonly<Record<string, number>> = {
  HSET: 2,
  HMSET: 2,
  HDEL: 1,
  SADD: 1,
  SREM: 1,
  ZADD: 2,
  ZREM: 1,
  RPUSH: 1,
  LPUSH: 1,
  PFADD: 1,
  XDEL: 1,
};

function division(scanner: CommandScanner, name: string): Division | null {
  const step = STEPS[name];
  if (step === undefined) return DIVIDED[name] ?? null;
  let fixed = 2;
  // ZADD key [NX | XX] [GT | LT] [CH] score member …
  if (name === 'ZADD') while (/^[a-z]{2}$/i.test(textOf(scanner, fixed))) fixed++;
  return { fixed, most: Math.floor((ARGS_MAX - fixed) / step) * step };
}

function nameOf(scanner: CommandScanner): string {
  return scanner.argc === 0 ? '' : textOf(scanner, 0).toUpperCase();
}

function textOf({ buf, argStart, argEnd }: CommandScanner, i: number): string {
  return buf.toString('latin1', argStart[i], Math.min(argEnd[i]!, argStart[i]! + 16));
}

/** EXEC's reply, command by command; an error where the node is not the place for them. */
export function repliesOf(parts: CrossSlot['parts'], result: Reply): Reply {
  if (!Array.isArray(result)) return result;
  const replies: Reply[] = [];
  for (const [i, { commands, isScript }] of parts.entries()) {
    const reply = result[i] ?? null;
    if (!isScript) replies.push(reply);
    // It fails as a whole before its first command only, for what would keep EXEC from running: what fails in it is caught in it.
    else if (!Array.isArray(reply)) return reply;
    else
      for (let n = 0; n < commands; n++) {
        const one = inner(reply[n] ?? null);
        // Of one command it is true of all of them: none has run, or the slots of some are no longer here.
        if (one instanceof ReplyError && (one.code === 'CLUSTERDOWN' || one.code === 'MOVED')) return one;
        replies.push(one);
      }
  }
  return replies;
}

/**
 * Errors at queueing, by the caller's commands; of a script by a number below 0, for it is no command of the caller's that is refused there.
 * @param errors by the parts
 */
export function queueErrorsOf(
  parts: CrossSlot['parts'],
  errors: ReadonlyMap<number, ReplyError>,
): Map<number, ReplyError> {
  const found = new Map([...errors].filter(([at]) => at < 0));
  let at = 0;
  for (const [i, { commands, isScript }] of parts.entries()) {
    const error = errors.get(i);
    if (error !== undefined) found.set(isScript ? -1 - i : at, error);
    at += commands;
  }
  return found;
}

/** A command that is refused for what it is: Redis says so at queueing, and in a script by other words. */
const REFUSED = /Unknown .*command|[Ww]rong number of arg|can't run this command/;

function inner(reply: Reply): Reply {
  if (!(reply instanceof ReplyError)) return reply;
  const { message } = reply;
  if (REFUSED.test(message)) return new ReplyError('NOPERM', message);
  if (message.includes('cluster is down')) return new ReplyError('CLUSTERDOWN', message);
  if (message.includes('non local key')) return new ReplyError('MOVED', message);
  return reply;
}
