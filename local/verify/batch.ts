import { createHash } from 'node:crypto';

import { acrossSlots, type Reply, ReplyError } from '../../agent/resp';
import { type Server, items, number, text } from './server';
import { type KeySummary } from './summary';

// Most keys are small. A script reads a batch of them at the server and answers one digest each: a value then crosses no
// socket. What is large, and what a script can't read well, is left to the reader in value.ts, as is every difference:
// here only "equal" is final. The script writes nothing, so nothing of it is replicated.
//
// A digest of unordered elements is their number and three sums of parts of their SHA-1: sorting them would depend on the
// server's locale.
const script = `
local expiretime, fieldsexpire = ARGV[1] == '1', ARGV[2] == '1'
local elements, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local call, sha1, sub, modulus = redis.call, redis.sha1hex, string.sub, 4503599627370496
local now = 0
if not expiretime then
  local time = call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local function ordered(values)
  local parts = {}
  for i = 1, #values do parts[i] = #values[i] .. ':' .. values[i] end
  return sha1(table.concat(parts))
end
local function summed(values, step)
  local a, b, c = 0, 0, 0
  for i = 1, #values, step do
    local text = #values[i] .. ':' .. values[i]
    if step == 2 then text = text .. values[i + 1] end
    local hash = sha1(text)
    a = (a + tonumber(sub(hash, 1, 13), 16)) % modulus
    b = (b + tonumber(sub(hash, 14, 26), 16)) % modulus
    c = (c + tonumber(sub(hash, 27, 39), 16)) % modulus
  end
  return string.format('%013x%013x%013x', a, b, c)
end
local function small(key, size)
  return size <= elements and call('MEMORY', 'USAGE', key, 'SAMPLES', 0) <= bytes
end
local function plain(key)
  if not fieldsexpire or call('OBJECT', 'ENCODING', key) == 'listpack' then return true end
  -- Of Valkey 9 HLEN counts fields that have expired, and HKEYS does not.
  local fields = call('HKEYS', key)
  if #fields == 0 then return true end
  local times = call('HPEXPIRETIME', key, 'FIELDS', #fields, unpack(fields))
  for i = 1, #times do if times[i] > 0 then return false end end
  return true
end
local out = {}
for i = 1, #KEYS do
  local key = KEYS[i]
  local kind = call('TYPE', key)['ok']
  local size, digest, expires = 0, '', -1
  if kind ~= 'none' then
    if expiretime then
      expires = call('PEXPIRETIME', key)
    else
      local left = call('PTTL', key)
      if left >= 0 then expires = now + left end
    end
    if kind == 'string' then
      local value = call('GETRANGE', key, 0, bytes)
      size = #value
      if size <= bytes then digest = sha1(value) end
    elseif kind == 'hash' then
      size = call('HLEN', key)
      if small(key, size) and plain(key) then digest = summed(call('HGETALL', key), 2) end
    elseif kind == 'set' then
      size = call('SCARD', key)
      if small(key, size) then digest = summed(call('SMEMBERS', key), 1) end
    elseif kind == 'list' then
      size = call('LLEN', key)
      if small(key, size) then digest = ordered(call('LRANGE', key, 0, -1)) end
    elseif kind == 'zset' then
      size = call('ZCARD', key)
      if small(key, size) then
        local values = call('ZRANGE', key, 0, -1, 'WITHSCORES')
        -- Versions write the same score with different digits.
        for j = 2, #values, 2 do values[j] = string.format('%.17g', tonumber(values[j])) end
        digest = ordered(values)
      end
    end
  end
  local at = (i - 1) * 4
  out[at + 1], out[at + 2], out[at + 3], out[at + 4] = kind, size, expires, digest
end
return out
`;

/** Beyond these a value is read in pieces, not at once inside the server: that would keep its clients waiting. */
const elementsMax = 256;
const bytesMax = 8192;

/** A summary whose digest may be empty: then the value was not read. */
export type QuickSummary = KeySummary;

const sha = createHash('sha1').update(script).digest('hex');

/** Reads a batch of keys of the selected database, in one command. */
export async function readBatch(server: Server, keys: readonly Buffer[]): Promise<QuickSummary[]> {
  const args = [
    keys.length,
    ...keys,
    server.tellsExpireTime ? '1' : '0',
    server.fieldsExpire ? '1' : '0',
    elementsMax,
    bytesMax,
  ];
  let reply: Reply;
  try {
    reply = await server.call('EVALSHA', sha, ...args);
  } catch (error) {
    if (!(error instanceof ReplyError)) throw error;
    if (error.code === 'NOSCRIPT') reply = await server.call('EVAL', script, ...args);
    else if (error.code === 'CROSSSLOT') reply = await server.call('EVAL', acrossSlots(script), 0, ...args);
    else throw error;
  }
  const flat = items(reply);
  return keys.map((_, i) => {
    const at = i * 4;
    const expires = number(flat[at + 2]);
    return {
      type: text(flat[at]),
      size: number(flat[at + 1]),
      expiresAtMs: expires < 0 ? null : expires,
      digest: text(flat[at + 3]),
    };
  });
}
