/** For tests of regions that capture by notifications. */
import { Dice, isLong, type Region } from './mesh';

const rounds = isLong ? 2000 : 200;

/** More of redis.conf: what a managed service does not let anybody do. */
export const managedService: readonly string[] = [
  ...['PSYNC', 'SYNC', 'MIGRATE', 'DEBUG', 'REPLICAOF', 'SLAVEOF', 'SAVE', 'BGSAVE', 'BGREWRITEAOF', 'SHUTDOWN'].map(
    (command) => `rename-command ${command} ""`,
  ),
];

/** A series of the agent's metrics. */
export async function metric(region: Region, name: string): Promise<number> {
  const { text } = await region.http('/metrics');
  const line = text
    .split('\n')
    .find((candidate) => candidate.startsWith(`${name}{`) || candidate.startsWith(`${name} `));
  if (line === undefined) throw new Error(`no series ${name} in ${region.name}`);
  return Number(line.slice(line.lastIndexOf(' ') + 1));
}

/** Writes of all kinds on keys that everybody writes. */
export async function write(region: Region, seed: number, n = rounds): Promise<void> {
  const dice = new Dice(seed);
  const clients = [0, 5].map((db) => region.client({ db }));
  for (let round = 0; round < n; round++) {
    const client = dice.pick(clients);
    const key = dice.below(12);
    const value = `${region.name}${round}`;
    const member = `m${dice.below(20)}`;
    const writes: (() => Promise<unknown>)[] = [
      () => client.set(`s:${key}`, value),
      () => client.set(`s:${key}`, dice.bytes(dice.below(2000))),
      () => client.incrby(`n:${key}`, 1 + dice.below(9)),
      () => client.append(`a:${key}`, '.'),
      () => client.hset(`h:${key}`, member, value, value, dice.bytes(20)),
      () => client.hdel(`h:${key}`, member),
      () => client.sadd(`set:${key}`, member, value),
      () => client.srem(`set:${key}`, member),
      () => client.zadd(`z:${key}`, dice.below(1000) / 4, member),
      () => client.zincrby(`z:${key}`, dice.below(50), member),
      () => client.rpush(`l:${key}`, value, member),
      () => client.lpop(`l:${key}`),
      () => client.xadd(`x:${region.name}`, '*', 'v', value),
      () => client.pfadd(`pf:${key}`, value),
      () => client.setbit(`b:${key}`, dice.below(500), 1),
      () => client.set(`t:${key}`, value, 'PX', 100_000 + dice.below(100_000)),
      () => client.pexpire(`t:${key}`, 50_000 + dice.below(100_000)),
      () => client.persist(`t:${key}`),
      () => client.set(`short:${key}`, value, 'PX', 30 + dice.below(200)),
      () => client.del(`h:${key}`, `s:${dice.below(12)}`),
      () => client.multi().set(`m:${key}`, value).sadd(`ms:${key}`, value).exec(),
      () =>
        client.eval(
          `redis.call('SET', KEYS[1], ARGV[1]) return redis.call('RPUSH', KEYS[2], ARGV[1])`,
          2,
          `e:${key}`,
          `el:${key}`,
          value,
        ),
    ];
    await dice.pick(writes)();
  }
}
