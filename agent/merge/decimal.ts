/**
 * Decimal numbers, exact: what INCRBYFLOAT and HINCRBYFLOAT add. Redis computes with long doubles and writes the result with 17 digits behind the
 * point at most ("%.17Lf", zeros cut: redis/src/util.c, ld2string). These texts, and the differences between them, are whole numbers of
 * 10^-17. Sums of them do not depend on their order, so that all regions come to the same digits.
 */
import { SET_FIELD } from './field-script';

/** Digits behind the point. */
const PLACES = 17;
/** 1, in units of 10^-17. */
export const ONE = 10n ** BigInt(PLACES);
/** Of a text: a value so long is no counter's. */
const CHARS_MAX = 64;
const DECIMAL = /^(-?)([0-9]+)(?:\.([0-9]{1,17}))?$/;

/** What a float was increased by; a class of its own, to be told from integers. */
export class Decimal {
  /** @param units of 10^-17 */
  constructor(readonly units: bigint) {}

  /** As Redis writes it. */
  toString(): string {
    return formatDecimal(this.units);
  }
}

/** @returns units of 10^-17; null for what is no plain decimal number, or has more digits behind the point than Redis writes */
export function parseDecimal(text: string): bigint | null {
  if (text.length > CHARS_MAX) return null;
  const match = DECIMAL.exec(text);
  if (match === null) return null;
  const units = BigInt(match[2]! + (match[3] ?? '').padEnd(PLACES, '0'));
  return match[1] === '-' ? -units : units;
}

export function formatDecimal(units: bigint): string {
  const digits = (units < 0n ? -units : units).toString().padStart(PLACES + 1, '0');
  const fraction = digits.slice(-PLACES).replace(/0+$/, '');
  return `${units < 0n ? '-' : ''}${digits.slice(0, -PLACES)}${fraction === '' ? '' : `.${fraction}`}`;
}

/** In units of 10^-17. */
export function unitsOf(delta: bigint | Decimal): bigint {
  return delta instanceof Decimal ? delta.units : delta * ONE;
}

/**
 * Adds a decimal number to a string (KEYS[1], ARGV[1]) or to a hash's field (ARGV[2]), to the last digit: INCRBYFLOAT of Redis rounds to a long double, so
 * that the order of additions would show. Relative, so that it takes nothing from what a client writes in the same moment. Works in limbs of seven digits:
 * a Lua number holds 15. What is no plain decimal number is left to Redis, which refuses what is none at all.
 */
export const ADD_SCRIPT = `${SET_FIELD}local field = ARGV[2]
local old
if field then old = redis.call('HGET', KEYS[1], field) else old = redis.call('GET', KEYS[1]) end
local function limbs(text)
  local sign, whole, rest = string.match(text, '^(-?)(%d+)%.?(%d*)$')
  if not whole or #rest > 17 or #text > 64 then return nil end
  local digits = whole .. rest .. string.rep('0', 17 - #rest)
  digits = string.rep('0', 84 - #digits) .. digits
  local out = {}
  for i = 1, 12 do out[i] = tonumber(string.sub(digits, i * 7 - 6, i * 7)) end
  return out, sign == '-'
end
local a, an = limbs(old or '0')
local b, bn = limbs(ARGV[1])
if not a or not b then
  if field then return redis.call('HINCRBYFLOAT', KEYS[1], field, ARGV[1]) end
  return redis.call('INCRBYFLOAT', KEYS[1], ARGV[1])
end
local sum, carry = {}, 0
for i = 12, 1, -1 do
  local n = (an and -a[i] or a[i]) + (bn and -b[i] or b[i]) + carry
  carry = math.floor(n / 10000000)
  sum[i] = n - carry * 10000000
end
local minus = carry < 0
if minus then
  local borrow = 0
  for i = 12, 1, -1 do
    local n = -sum[i] + borrow
    borrow = math.floor(n / 10000000)
    sum[i] = n - borrow * 10000000
  end
end
local digits = ''
for i = 1, 12 do digits = digits .. string.format('%07d', sum[i]) end
local text = string.gsub(string.sub(digits, 1, -18), '^0+(%d)', '%1')
local rest = string.gsub(string.sub(digits, -17), '0+$', '')
if rest ~= '' then text = text .. '.' .. rest end
if minus then text = '-' .. text end
if field then setField(field, text) else redis.call('SET', KEYS[1], text, 'KEEPTTL') end
return text
`;
