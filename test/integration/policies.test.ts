import type Redis from 'ioredis';
import { Mesh, until } from './mesh';

// Keys that are not replicated, by the stack's config.

const policies = [
  { keys: 'local:shared:*', policy: 'merge' as const },
  { keys: 'local:*', policy: 'ignore' as const },
  { keys: '*', db: 3, policy: 'ignore' as const },
];

describe('with the same policies everywhere', () => {
  let mesh: Mesh;
  let alpha: Redis;
  let beta: Redis;
  let gamma: Redis;
  beforeAll(async () => {
    mesh = await Mesh.start({ policies, only: ['alpha', 'beta'] });
    [alpha, beta] = mesh.running.map((region) => region.client()) as [Redis, Redis];
  });
  afterAll(() => mesh?.stop());

  test('each region has its own', async () => {
    await alpha.set('local:1', 'a');
    await beta.set('local:1', 'b');
    await beta.mset('local:2', 'b', 'shared', 's', 'local:shared:1', 'too');
    await beta.rpush('local:list', 'b');
    await beta.multi().set('local:3', 'b').set('in a block', 'b').hset('local:4', 'f', 'b').exec();
    const elsewhere = mesh.region('beta').client({ db: 3 });
    await elsewhere.set('any', 'b');
    await mesh.waitEqual();
    expect(await alpha.get('local:1')).toBe('a');
    expect(await beta.get('local:1')).toBe('b');
    expect(await alpha.exists('local:2', 'local:3', 'local:4', 'local:list')).toBe(0);
    expect(await alpha.mget('shared', 'local:shared:1', 'in a block')).toEqual(['s', 'too', 'b']);
    expect(await mesh.region('alpha').client({ db: 3 }).exists('any')).toBe(0);
    // A delete of both leaves alone what is not replicated.
    await alpha.set('local:2', 'a');
    await beta.del('local:2', 'shared');
    await beta.unlink('local:3', 'in a block');
    await mesh.waitEqual();
    expect(await alpha.mget('local:2', 'shared', 'in a block')).toEqual(['a', null, null]);
  });

  test('what is made of a key that others do not have its region sends, also when it is away at first', async () => {
    await beta.mset('local:5', 'b', 'local:6', 'b');
    await beta.rename('local:5', 'named');
    await mesh.waitEqual();
    expect(await alpha.get('named')).toBe('b');
    await alpha.set('named:2', 'old');
    await mesh.apart(
      () => alpha.set('meanwhile', 'a'),
      () => beta.rename('local:6', 'named:2'),
    );
    await mesh.waitEqual();
    expect(await alpha.mget('named:2', 'meanwhile')).toEqual(['b', 'a']);
    // And what becomes one that is not replicated is gone for the others.
    await beta.rename('named', 'local:7');
    await mesh.waitEqual();
    expect(await alpha.exists('named', 'local:7')).toBe(0);
    expect(await beta.get('local:7')).toBe('b');
    await beta.sadd('local:set', 'x');
    await beta.sadd('set', 'y');
    await beta.sunionstore('union', 'local:set', 'set');
    await mesh.waitEqual();
    expect((await alpha.smembers('union')).sort()).toEqual(['x', 'y']);
  });

  test('a region that joins keeps its own, and is not given those of others', async () => {
    const region = mesh.region('gamma');
    await region.startRedis();
    gamma = region.client();
    await gamma.mset('local:1', 'g', 'brought', 'g');
    region.startAgent();
    await region.ready();
    await mesh.waitEqual();
    expect(await gamma.mget('local:1', 'local:7', 'named:2')).toEqual(['g', null, 'b']);
    expect(await alpha.mget('local:1', 'brought')).toEqual(['a', 'g']);
  });

  test('a restarted Redis keeps its own, and nothing of it is told as a difference', async () => {
    const region = mesh.region('beta');
    await region.redis.signal('SIGTERM');
    await alpha.set('while it was away', 'a');
    await region.startRedis();
    await region.ready();
    await mesh.waitEqual();
    const client = region.client();
    expect(await client.mget('local:1', 'local:7')).toEqual(['b', 'b']);
    expect(await alpha.mget('local:1', 'local:7')).toEqual(['a', null]);
    expect(await client.get('while it was away')).toBe('a');
  });

  test('an expiry of one is its region’s alone', async () => {
    await alpha.set('local:8', 'a', 'PX', 200);
    await gamma.set('local:8', 'g');
    await until(async () => (await alpha.exists('local:8')) === 0, 10_000, 'it does not expire');
    await mesh.waitEqual();
    expect(await gamma.get('local:8')).toBe('g');
    for (const region of mesh.running) expect((await region.status()).deadLetters).toBe(0);
  });
});

test('regions with other policies refuse each other, and say what to do', async () => {
  const mesh = await Mesh.start({
    regions: ['alpha', 'beta'],
    agents: false,
    configure: (config) => {
      if (config.region === 'beta') config.conflicts = { policies: [{ keys: 'a*', policy: 'ignore' }] };
    },
  });
  try {
    for (const region of mesh.regions) region.startAgent();
    await until(
      async () => {
        const answer = await mesh
          .region('alpha')
          .http('/status')
          .catch(() => ({ text: '' }));
        return /"code":"policies"/.test(answer.text);
      },
      20_000,
      async () => `no word of it: ${(await mesh.region('alpha').http('/status')).text}`,
    );
    expect(mesh.region('alpha').tail(40)).toContain('set the same replication.conflicts in every region');
  } finally {
    await mesh.stop();
  }
});
