/**
 * Fields of hashes whose time is over, where the server hides them until it gets round to removing them: Valkey from 9 on, for up to some hundred milliseconds. To give such a
 * field more time does nothing there, and its HDEL, when it comes, stands behind the block in the stream, as if that had been seen: it would take the field from the region
 * that gave it more time, too. (Redis lives on with such a field.)
 *
 * So what gives time to a field that is hidden removes it for good, under a name by which the recorder knows it for this region's own: the field had expired before the block came.
 */
import { Code, findCommand } from '../merge/commands';
import { type Arg, argsOf, rewriteCommands } from '../resp';
import { HIDDEN_HDEL } from '../stream/keys';

/** Lua's limit for what one call is given is some 8,000; nobody gives so many fields time at once. */
const ARGUMENTS_MAX = 4000;
/** Also as clients say them, in lower case. */
const MARKS = ['HPEXPIREAT', 'HEXPIREAT', 'HPERSIST'].flatMap((name) => [
  Buffer.from(`${name}\r\n`),
  Buffer.from(`${name.toLowerCase()}\r\n`),
]);

/** KEYS[1]: the hash; ARGV: the command without it, fields last. HLEN counts hidden fields too: where a write adds none there was one. */
const SCRIPT = `local replies = redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))
for i, reply in ipairs(replies) do
  local fields = reply == -2 and redis.call('HLEN', KEYS[1]) or 0
  if fields > 0 then
    local field = ARGV[#ARGV - #replies + i]
    redis.call('HSET', KEYS[1], field, '')
    redis.call(redis.call('HLEN', KEYS[1]) == fields and '${HIDDEN_HDEL}' or 'HDEL', KEYS[1], field)
  end
end
return replies
`;

/** Whether a server is one of those. @param valkey the version that INFO says of Valkey; empty for Redis */
export function hidesFields(valkey: string): boolean {
  return Number.parseInt(valkey, 10) >= 9;
}

/** @param bytes commands in RESP. @returns the same, or a copy with as many commands in which those that give fields time look for hidden ones */
export function revealHidden(bytes: Buffer): Buffer {
  if (!MARKS.some((mark) => bytes.includes(mark))) return bytes;
  return rewriteCommands(bytes, (command) => {
    const { buf, argc, argStart, argEnd } = command;
    const code = findCommand(buf, argStart[0]!, argEnd[0]!)?.code;
    if (code !== Code.hpexpireat && code !== Code.hexpireat && code !== Code.hpersist) return null;
    if (argc < 5 || argc > ARGUMENTS_MAX) return null;
    const [name, key, ...rest] = argsOf(command) as [Arg, Arg, ...Arg[]];
    return ['EVAL', SCRIPT, 1, key, name, ...rest];
  });
}
