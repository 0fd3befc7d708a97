/**
 * Entries into a stream whose top stands above them. XADD takes none below the top, so what is above leaves the stream and comes back
 * behind them, in one script: nobody sees it halfway, and it finds the stream as it is, whatever clients did in the meantime.
 *
 * How (run on Redis 7.0, 7.4 and 8.2, and on Valkey 8.0 and 9.1): XDEL keeps what is pending of an entry, and its ID when it is back. XSETID goes
 * down only to the highest ID that was ever deleted; since 7.2 it refuses less. That mark is lowered first, by an XSETID to where the stream stands
 * (MAXDELETEDID 0-1, for 0-0 means "as it is"), and put back in the end, with ENTRIESADDED. Before 7.0 there is neither.
 *
 * At its limit of memory Redis lets a script write that has begun by removing, and the block around it, which sets the cursor, does not even
 * begin: so nothing is lost half-way. A Lua function takes fewer than 8,000 arguments: a stream with an entry of more fields is refused before
 * anything is written.
 */
import type { CommandWriter } from '../resp';
import { countFields } from './stream-commands';
import { compareIds, idBelow } from './stream-id';

/** Who is given the entries that came below what a group had delivered already: else nobody would ever be. XAUTOCLAIM finds them there. */
export const RESERVED_CONSUMER = 'meridian';

/** Redis' Lua: LUAI_MAXCSTACK is 8,000. */
const ARGUMENTS_MAX = 7000;
/** By one XDEL: what an entry costs in the stream is then little more than the entry. */
export const REMOVED_AT_ONCE = 1000;

/**
 * KEYS[1]; ARGV: an ID that the last one must reach ('' for none), be it of a stream without entries; then of each entry, ascending: ID, the ID below it, number of arguments (−1: it
 * must not be there), arguments. @returns how many entries are new
 */
export const SPLICE_SCRIPT = `
local key, call = KEYS[1], redis.call
local function above(a, b)
  local ams, aseq = string.match(a, '^(%d+)-(%d+)$')
  local bms, bseq = string.match(b, '^(%d+)-(%d+)$')
  if ams ~= bms then
    if #ams ~= #bms then return #ams > #bms end
    return ams > bms
  end
  if #aseq ~= #bseq then return #aseq > #bseq end
  return aseq > bseq
end
local function remove(ids)
  for i = 1, #ids, ${REMOVED_AT_ONCE} do call('XDEL', key, unpack(ids, i, math.min(i + ${REMOVED_AT_ONCE - 1}, #ids))) end
end
local function add(id, fields, from, to) call('XADD', key, id, unpack(fields, from, to)) end
local top, added, deleted, tail = '0-0', false, false, {}
if call('EXISTS', key) == 1 then
  local info = call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then top = info[i + 1] end
    if info[i] == 'entries-added' then added = info[i + 1] end
    if info[i] == 'max-deleted-entry-id' then deleted = info[i + 1] end
  end
  if ARGV[2] then tail = call('XRANGE', key, ARGV[2], '+') end
end
local place = {}
for i = 1, #tail do place[tail[i][1]] = i end
local gone, dead, fresh, i = {}, {}, {}, 2
while i <= #ARGV do
  local id, n, at = ARGV[i], tonumber(ARGV[i + 2]), place[ARGV[i]]
  local same = at ~= nil and n == #tail[at][2]
  if same then
    for j = 1, n do if tail[at][2][j] ~= ARGV[i + 2 + j] then same = false break end end
  end
  if at and not same then
    gone[#gone + 1] = id
    dead[id] = true
  end
  if n >= 0 and not same then fresh[#fresh + 1] = { id, i + 3, i + 2 + n, ARGV[i + 1], at } end
  i = i + 3 + math.max(n, 0)
end
local first = fresh[1]
local splices = first ~= nil and not above(first[1], top)
local from = #tail + 1
if splices then
  while from > 1 and above(tail[from - 1][1], first[1]) do from = from - 1 end
  for j = from, #tail do if #tail[j][2] > ${ARGUMENTS_MAX} then return redis.error_reply('ERR an entry above has too many fields to be moved') end end
end
local new = 0
for j = 1, #fresh do
  if fresh[j][3] - fresh[j][2] >= ${ARGUMENTS_MAX} then return redis.error_reply('ERR an entry has too many fields for a script') end
  if not fresh[j][5] then new = new + 1 end
end
if splices and first[4] == '0-0' and deleted and deleted ~= '0-0' then
  return redis.error_reply('ERR nothing can come below what was deleted')
end
-- Below 0-1 no mark of what was deleted can be: but trims leave none.
local all = splices and first[4] == '0-0'
if not all then remove(gone) end
if splices then
  if all then
    if #tail > 0 then call('XTRIM', key, 'MAXLEN', 0) end
  else
    local moved = {}
    for j = from, #tail do if not dead[tail[j][1]] then moved[#moved + 1] = tail[j][1] end end
    remove(moved)
  end
  local max = deleted
  if deleted then
    for j = 1, #gone do if above(gone[j], max) then max = gone[j] end end
    if not all then
      if max == '0-0' then max = '0-1' end
      call('XSETID', key, above(max, top) and max or top, 'ENTRIESADDED', added, 'MAXDELETEDID', '0-1')
    end
    call('XSETID', key, first[4], 'ENTRIESADDED', added, 'MAXDELETEDID', all and '0-0' or '0-1')
  elseif call('EXISTS', key) == 1 then
    call('XSETID', key, first[4])
  end
  local next = 1
  for j = from, #tail do
    local id = tail[j][1]
    while next <= #fresh and above(id, fresh[next][1]) do
      add(fresh[next][1], ARGV, fresh[next][2], fresh[next][3])
      next = next + 1
    end
    if not dead[id] then add(id, tail[j][2], 1, #tail[j][2]) end
  end
  for j = next, #fresh do add(fresh[j][1], ARGV, fresh[j][2], fresh[j][3]) end
  local last = fresh[#fresh][1]
  if above(last, top) then top = last end
  if max then
    -- Redis 7.0 lets a client set the last ID below what was deleted.
    if above(max, top) then max = top end
    call('XSETID', key, top, 'ENTRIESADDED', added + new, 'MAXDELETEDID', max)
  else
    call('XSETID', key, top)
  end
  local groups = call('XINFO', 'GROUPS', key)
  for g = 1, #groups do
    local name, delivered
    for j = 1, #groups[g], 2 do
      if groups[g][j] == 'name' then name = groups[g][j + 1] end
      if groups[g][j] == 'last-delivered-id' then delivered = groups[g][j + 1] end
    end
    for j = 1, #fresh do
      if not fresh[j][5] and not above(fresh[j][1], delivered) then
        call('XCLAIM', key, name, '${RESERVED_CONSUMER}', 0, fresh[j][1], 'FORCE', 'JUSTID')
      end
    end
  end
else
  for j = 1, #fresh do add(fresh[j][1], ARGV, fresh[j][2], fresh[j][3]) end
  if #fresh > 0 then top = fresh[#fresh][1] end
end
if ARGV[1] ~= '' and above(ARGV[1], top) then
  if call('EXISTS', key) == 1 then call('XSETID', key, ARGV[1]) else call('XADD', key, 'MAXLEN', 0, ARGV[1], 'x', 'y') end
end
return new
`.trim();

const SCRIPT = Buffer.from(SPLICE_SCRIPT);

/** Of a field or a value: `$0`, and twice the end of a line. */
const ARGUMENT_BYTES_MIN = 6;

/** Whether an entry has too many fields for the script. @param value the fields in RESP */
export function isTooLarge(value: Buffer): boolean {
  return value.length > ARGUMENTS_MAX * ARGUMENT_BYTES_MIN && countFields(value) > ARGUMENTS_MAX;
}

/** What is to stand at an ID: the fields in RESP, null for nothing. */
export interface Standing {
  readonly id: string;
  readonly value: Buffer | null;
}

/**
 * Brings entries to where they stand, and leaves all others of the stream as they are.
 * @param lastId what the stream's last ID is at least, and then there is one; null: what it is
 */
export function writeEntries(
  out: CommandWriter,
  key: Buffer,
  entries: readonly Standing[],
  lastId: string | null,
): void {
  const sorted = [...entries].sort((a, b) => compareIds(a.id, b.id));
  const counts = sorted.map(({ value }) => (value === null ? -1 : countFields(value)));
  const args = counts.reduce((sum, count) => sum + 3 + Math.max(count, 0), 0);
  out
    .header(5 + args)
    .arg('EVAL')
    .arg(SCRIPT)
    .arg(1)
    .arg(key)
    .arg(lastId ?? '');
  sorted.forEach(({ id, value }, i) => {
    out.arg(id).arg(idBelow(id)).arg(counts[i]!);
    if (value !== null) out.append(value, 0, value.length);
  });
}

/**
 * KEYS[1]; ARGV: an ID ('' for none), then IDs below it that stay. XTRIM stops at what it meets above the ID, be it removed, as a splice leaves it
 * before lower entries: so the rest is looked through.
 */
export const TRIM_SCRIPT = `
local key, call = KEYS[1], redis.call
local keep = {}
for i = 2, #ARGV do keep[ARGV[i]] = true end
if #ARGV == 1 then call('XTRIM', key, 'MINID', ARGV[1]) end
local rest = call('XRANGE', key, '-', ARGV[1] == '' and '+' or '(' .. ARGV[1])
for i = 1, #rest do
  if not keep[rest[i][1]] then call('XDEL', key, rest[i][1]) end
end
`.trim();

/** Removes all entries below an ID (null: all) but those of `keep`. */
export function trimBut(out: CommandWriter, key: Buffer, minId: string | null, keep: readonly string[]): void {
  if (minId === null && keep.length === 0) out.command(['XTRIM', key, 'MAXLEN', 0]);
  else out.command(['EVAL', TRIM_SCRIPT, 1, key, minId ?? '', ...keep]);
}
