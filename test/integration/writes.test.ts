import { createHash } from 'node:crypto';
import type Redis from 'ioredis';
import { Dice, isLong, Mesh } from './mesh';

// Writes of every kind in all regions at once.

let mesh: Mesh;
beforeAll(async () => {
  mesh = await Mesh.start();
});
afterAll(() => mesh?.stop());

const rounds = isLong ? 3000 : 250;

/** One client's writes: some keys are everybody's, some its own. What nobody else touches is remembered. */
class Writer {
  readonly own = new Map<string, { db: number; value: Buffer }>();
  readonly added = { 'n:plain': 0n, 'n:script': 0n, 'h:n': 0n };
  private readonly dice: Dice;

  constructor(
    private readonly name: string,
    private readonly clients: readonly Redis[],
    seed: number,
  ) {
    this.dice = new Dice(seed);
  }

  async run(): Promise<void> {
    for (let round = 0; round < rounds; round++) await this.round(round);
  }

  private async round(round: number): Promise<void> {
    const { dice, name } = this;
    const db = dice.below(this.clients.length);
    const client = this.clients[db]!;
    const shared = String(dice.below(20));
    const member = `m${dice.below(30)}`;
    switch (dice.below(14)) {
      case 0: {
        // Any bytes, in key and value.
        const key = Buffer.concat([Buffer.from(`own:${name}:${round}:`), dice.bytes(1 + dice.below(40))]);
        const value = dice.bytes(dice.below(300));
        await client.set(key, value);
        this.own.set(key.toString('latin1'), { db, value });
        return;
      }
      case 1:
        await client.set(`s:${shared}`, `${name}${round}`);
        return;
      case 2:
        this.added['n:plain'] += 7n;
        await this.clients[0]!.incrby('n:plain', 7);
        return;
      case 3:
        if (dice.below(4) === 0) await client.hdel(`h:${shared}`, member, `${name}${dice.below(round + 1)}`);
        else await client.hset(`h:${shared}`, member, `${name}${round}`, `${name}${round}`, dice.bytes(20));
        return;
      case 4:
        if (dice.below(4) === 0) await client.srem(`set:${shared}`, member);
        else await client.sadd(`set:${shared}`, member, `${name}${round}`);
        return;
      case 5:
        if (dice.below(5) === 0) await client.zrem(`z:${shared}`, member);
        else if (dice.below(3) === 0) await client.zincrby(`z:${shared}`, dice.below(100), member);
        else await client.zadd(`z:${shared}`, dice.below(1000) / 4, member, -1.5, `${name}${round}`);
        return;
      case 6:
        // A list of its own, with everything that depends on what the list holds.
        await client.rpush(`l:${name}`, `${round}a`, `${round}b`);
        if (dice.below(2) === 0) await client.lpop(`l:${name}`);
        if (dice.below(4) === 0) await client.ltrim(`l:${name}`, 0, 30);
        return;
      case 7: {
        const pipeline = client.pipeline();
        for (let i = 0; i < 20; i++) pipeline.set(`p:${name}:${round}:${i}`, `${i}`).append(`a:${name}`, `${i}.`);
        await pipeline.exec();
        return;
      }
      case 8:
        this.added['h:n'] += 3n;
        await this.clients[0]!.multi()
          .hincrby('h:n', 'n', 3)
          .set(`t:${name}`, round)
          .sadd('t:rounds', `${name}${round}`)
          .del(`s:${shared}`)
          .exec();
        return;
      case 9:
        this.added['n:script'] += 2n;
        await this.clients[0]!.eval(
          `redis.call('INCRBY', KEYS[1], 2)
           redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
           if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('RENAME', KEYS[3], KEYS[4]) end
           return redis.call('SADD', 'scripts', ARGV[1])`,
          4,
          'n:script',
          'h:script',
          `t:${name}`,
          `renamed:${name}`,
          `${name}${round}`,
          dice.bytes(10),
        );
        return;
      case 10:
        await client.set(`ttl:${shared}`, `${name}${round}`, 'PX', 100_000 + dice.below(100_000));
        return;
      case 11:
        if (dice.below(2) === 0) await client.expire(`ttl:${shared}`, 100 + dice.below(500));
        else await client.persist(`ttl:${shared}`);
        return;
      case 12:
        // Renewed again and again, until it isn't.
        await client.set(`short:${name}`, round, 'PX', 200 + dice.below(400));
        return;
      case 13:
        await client.del(`h:${shared}`, `z:${dice.below(20)}`, `set:${shared}`);
    }
  }
}

test('everything, by clients in all regions at once', async () => {
  const writers = mesh.regions.map((region, i) => {
    const clients = [0, 3, 9].map((db) => region.client({ db }));
    return new Writer(region.name, clients, 100 + i);
  });
  await Promise.all(writers.map((writer) => writer.run()));
  const keys = await mesh.waitEqual();
  expect(keys).toBeGreaterThan(rounds);

  for (const region of mesh.regions) {
    const clients = new Map([0, 3, 9].map((db, i) => [i, region.client({ db })]));
    for (const writer of writers)
      for (const [key, { db, value }] of writer.own) {
        const found = await clients.get(db)!.getBuffer(Buffer.from(key, 'latin1'));
        expect(found?.toString('latin1')).toBe(value.toString('latin1'));
      }
    const sum = (name: keyof Writer['added']): string => String(writers.reduce((n, w) => n + w.added[name], 0n));
    const zero = clients.get(0)!;
    expect(await zero.get('n:plain')).toBe(sum('n:plain'));
    expect(await zero.get('n:script')).toBe(sum('n:script'));
    expect(await zero.hget('h:n', 'n')).toBe(sum('h:n'));
  }
  const statuses = await Promise.all(mesh.regions.map((region) => region.status()));
  expect(statuses.map(({ deadLetters }) => deadLetters)).toEqual([0, 0, 0]);
});

test('a value of 64 MB', async () => {
  const value = Buffer.alloc(64 * 1024 * 1024, new Dice(5).bytes(65_521));
  await mesh.region('beta').client().set('large', value);
  await mesh.waitEqual(60_000);
  const digest = (bytes: Buffer | null): string =>
    createHash('sha1')
      .update(bytes ?? '')
      .digest('hex');
  expect(digest(await mesh.region('gamma').client().getBuffer('large'))).toBe(digest(value));
  // And gone again, or what comes after has to carry it along.
  await mesh.region('gamma').client().del('large');
  await mesh.waitEqual();
  expect(await mesh.region('alpha').client().exists('large')).toBe(0);
});

test('a transaction of 10,000 commands', async () => {
  const multi = mesh.region('gamma').client().multi();
  for (let i = 0; i < 10_000; i++)
    if (i % 3 === 0) multi.incr('in:multi');
    else if (i % 3 === 1) multi.set(`multi:${i}`, i);
    else multi.zadd('multi:z', i, `${i}`);
  const other = mesh.region('alpha').client();
  await Promise.all([multi.exec(), other.incrby('in:multi', 1000), other.set('multi:1', 'also')]);
  await mesh.waitEqual();
  expect(await other.get('in:multi')).toBe(String(3334 + 1000));
  expect(await other.zcard('multi:z')).toBe(3333);
  expect(await other.exists('multi:9997')).toBe(1);
});

test('a hash of 100,000 fields', async () => {
  const client = mesh.region('alpha').client();
  const far = mesh.region('beta').client();
  const writes: Promise<unknown>[] = [];
  for (let i = 0; i < 100_000; i += 1000) {
    const fields = Array.from({ length: 1000 }, (_, j) => [`f${i + j}`, `${i + j}`]).flat();
    writes.push(client.hset('wide', ...fields));
    if (i % 20_000 === 0) writes.push(far.hset('wide', `f${i}`, 'far', `far${i}`, 'far'));
  }
  await Promise.all(writes);
  await mesh.waitEqual();
  expect(await far.hlen('wide')).toBe(100_005);
  await far.hdel('wide', 'f99999');
  await far.del('wide');
  await mesh.waitEqual();
  expect(await client.exists('wide')).toBe(0);
});
