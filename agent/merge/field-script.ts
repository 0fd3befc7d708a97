/**
 * Writing a hash's field so that its time to live stays, on any server. HSET takes it; HSETEX … KEEPTTL is known to Redis from 8 and to Valkey from 9 only;
 * and who knows no times to live of fields (Redis before 7.4, Valkey before 9, which calls itself Redis 7.2, too) refuses to be asked for one.
 */

/** A Lua function. */
export const SET_FIELD = `local hasTimes = (redis.REDIS_VERSION_NUM or 0) >= 0x070400 or (redis.VALKEY_VERSION_NUM or 0) >= 0x090000
local function setField(field, value)
  local times = hasTimes and redis.call('HPEXPIRETIME', KEYS[1], 'FIELDS', 1, field)
  redis.call('HSET', KEYS[1], field, value)
  local at = times and times[1]
  if at and at > 0 then redis.call('HPEXPIREAT', KEYS[1], at, 'FIELDS', 1, field) end
end
`;

/** Writes fields of a hash (KEYS[1], ARGV: field value field value …). */
export const KEEP_SCRIPT = `${SET_FIELD}for i = 1, #ARGV, 2 do setField(ARGV[i], ARGV[i + 1]) end
`;
