/** Regions whose Redis is a cluster of three shards: an agent and a mesh for each. */
import Redis, { Cluster } from 'ioredis';
import { setTimeout as sleep } from 'node:timers/promises';
import { serverVersion } from '../../agent/capture/testserver';
import { evenSlots, slotOf } from '../../model/slots';
import { loopback } from '../../local/ports';
import { Dice, Mesh, type Region, until } from './mesh';

// Scripts may touch keys of several slots from 7.0 on.
const testCluster = serverVersion() >= 7 ? test : test.skip;

const NAMES = ['alpha', 'beta'];
const SHARDS = evenSlots(3).map((range) => range.join('-'));

let shards: Mesh[] = [];
let clients: Redis[] = [];
let clusters: Cluster[] = [];

afterEach(async () => {
  for (const client of [...clients, ...clusters]) client.disconnect();
  await Promise.all(shards.map((mesh) => mesh.stop()));
  [shards, clients, clusters] = [[], [], []];
});

/** Starts the shards of all regions, and makes those of each region a cluster. */
async function start(options: { replicas?: number; notifications?: readonly string[] } = {}): Promise<void> {
  const [first, ...others] = SHARDS;
  shards.push(await Mesh.start({ regions: NAMES, cluster: first!, ...options }));
  const { secrets } = shards[0]!;
  shards.push(
    ...(await Promise.all(others.map((cluster) => Mesh.start({ regions: NAMES, cluster, secrets, ...options })))),
  );
  for (const name of NAMES) {
    const nodes = shards.map((mesh) => node(mesh.region(name)));
    for (const { options: other } of nodes.slice(1)) await meet(nodes[0]!, other.port!);
    await until(
      async () => (await Promise.all(nodes.map(knows))).every((count) => count === SHARDS.length),
      20_000,
      `the nodes of ${name} do not know each other`,
    );
  }
}

/** A client of one node. */
function node(region: Region, port = region.port): Redis {
  const client = new Redis({ host: loopback, port, password: region.mesh.secrets.password });
  client.on('error', () => undefined);
  clients.push(client);
  return client;
}

/** Nodes of the region's cluster, as a node has it. */
async function knows(client: Redis): Promise<number> {
  return Number(/cluster_known_nodes:(\d+)/.exec(String(await client.cluster('INFO')))?.[1]);
}

async function meet(client: Redis, port: number): Promise<void> {
  // Where buses are: see `clusterConf` in mesh.ts.
  const other = new Redis({ host: loopback, port, password: client.options.password! });
  const [, bus] = (await other.config('GET', 'cluster-port')) as string[];
  other.disconnect();
  await client.call('CLUSTER', 'MEET', loopback, port, bus!);
}

/** A client as applications have it, of a whole region. */
function cluster(name: string): Cluster {
  return (clusters[NAMES.indexOf(name)] ??= connect(name));
}

function connect(name: string): Cluster {
  const { port } = shards[0]!.region(name);
  const client = new Cluster([{ host: loopback, port }], {
    redisOptions: { password: shards[0]!.secrets.password },
    clusterRetryStrategy: () => 100,
  });
  client.on('error', () => undefined);
  return client;
}

const shardOf = (key: string): Mesh =>
  shards.find((_, i) => {
    const [from, to] = SHARDS[i]!.split('-').map(Number);
    const slot = slotOf(Buffer.from(key));
    return slot >= from! && slot <= to!;
  })!;

async function allEqual(timeoutMs = 30_000): Promise<number> {
  let keys = 0;
  for (const mesh of shards) keys += await mesh.waitEqual(timeoutMs);
  return keys;
}

/** Increments, elements and values from both regions at once, of keys in all slots; what was acknowledged is remembered. */
async function write(rounds: number, prefix: string): Promise<{ sum: number; members: Set<string> }> {
  let sum = 0;
  const members = new Set<string>();
  await Promise.all(
    NAMES.map(async (name, n) => {
      const client = cluster(name);
      const dice = new Dice(n + 1);
      for (let i = 0; i < rounds; i++) {
        const k = dice.below(50);
        const id = `${name}:${i}`;
        try {
          await Promise.all([
            client.set(`${prefix}value:${k}`, id),
            client.rpush(`${prefix}list:${k}`, id),
            client.hincrby(`${prefix}hash:${k}`, 'n', 1).then(() => sum++),
            client.sadd(`${prefix}set:${k}`, id).then(() => members.add(`${k} ${id}`)),
            client.mset({ [`{${prefix}${k}}a`]: id, [`{${prefix}${k}}b`]: id }),
            client.multi().incrbyfloat(`{${prefix}${k}}f`, 0.5).zadd(`{${prefix}${k}}z`, i, id).exec(),
          ]);
        } catch {
          await sleep(50);
        }
      }
    }),
  );
  return { sum, members };
}

async function expectAll(prefix: string, { sum, members }: { sum: number; members: Set<string> }): Promise<void> {
  const client = cluster('alpha');
  let found = 0;
  for (let k = 0; k < 50; k++) found += Number(await client.hget(`${prefix}hash:${k}`, 'n'));
  expect(found).toBeGreaterThanOrEqual(sum);
  for (const member of members) {
    const [k, id] = member.split(' ');
    expect([member, await client.sismember(`${prefix}set:${k}`, id!)]).toEqual([member, 1]);
  }
}

testCluster(
  'clients of two clusters write keys of all slots, and both end up equal',
  async () => {
    await start();
    const written = await write(150, '');
    expect(written.sum).toBe(300);
    expect(await allEqual()).toBeGreaterThan(300);
    await expectAll('', written);
    // Nothing is where it does not belong, and nothing was refused.
    for (const mesh of shards)
      for (const region of mesh.regions)
        expect([region.name, (await region.status()).deadLetters]).toEqual([region.name, 0]);
    await cluster('beta').set('a', 'from beta');
    await until(async () => (await cluster('alpha').get('a')) === 'from beta', 5000, 'a write does not arrive');
  },
  120_000,
);

testCluster(
  'a shard fails over, and its agent follows',
  async () => {
    await start({ replicas: 1 });
    const mesh = shards[1]!;
    const beta = mesh.region('beta');
    await beta.startReplica();
    const replica = node(beta, beta.layout.replicas[0]!.port);
    await meet(node(beta), replica.options.port!);
    const id = String(await node(beta).call('CLUSTER', 'MYID'));
    await until(
      async () => String(await replica.cluster('NODES')).includes(id),
      10_000,
      'the replica does not know its primary',
    );
    await until(
      async () => (await replica.call('CLUSTER', 'REPLICATE', id).catch(() => null)) === 'OK',
      10_000,
      'the node becomes no replica',
    );
    await until(
      async () => (await replica.info('replication')).includes('master_link_status:up'),
      20_000,
      'no replica',
    );
    const before = await write(20, 'before:');
    await allEqual();
    const writing = write(200, 'during:');
    await sleep(300);
    await beta.redis.signal('SIGKILL');
    await until(async () => (await replica.info('replication')).includes('role:master'), 20_000, 'nobody is promoted');
    beta.port = replica.options.port!;
    const during = await writing;
    await until(
      async () => {
        const { state, redis } = await beta.status();
        return state === 'active' && (redis as { port: number }).port === beta.port;
      },
      20_000,
      async () => `the agent did not follow: ${JSON.stringify(await beta.status())}\n${beta.tail()}`,
    );
    await allEqual();
    await expectAll('before:', before);
    expect(during.sum).toBeGreaterThan(100);
  },
  120_000,
);

testCluster(
  'slots that move to another node delete nothing in the other regions',
  async () => {
    await start();
    const [from, to] = [shards[0]!.region('beta'), shards[1]!.region('beta')];
    const [source, target] = [node(from), node(to)];
    // `b` is in a slot of the first shard.
    expect(shardOf('b')).toBe(shards[0]);
    const slot = slotOf(Buffer.from('b'));
    const alpha = cluster('alpha');
    await alpha.set('b', 'stays');
    await allEqual();
    const [sourceId, targetId] = [
      String(await source.call('CLUSTER', 'MYID')),
      String(await target.call('CLUSTER', 'MYID')),
    ];
    const move = async (a: Redis, aId: string, b: Redis, bId: string): Promise<void> => {
      await b.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', aId);
      await a.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', bId);
      const { password } = from.mesh.secrets;
      const moved = await a.call('MIGRATE', loopback, b.options.port!, 'b', 0, 5000, 'AUTH', password);
      expect(moved).toBe('OK');
    };
    const settle = async (owner: string): Promise<void> => {
      for (const client of [target, source]) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', owner);
    };
    const says = async (region: Region): Promise<string> => {
      const { state, reason } = await region.status();
      return `${state} ${reason ?? ''}`;
    };

    await move(source, sourceId, target, targetId);
    await until(
      async () => (await says(from)).includes('slots are being moved'),
      10_000,
      () => says(from),
    );
    await settle(targetId);
    await until(
      async () => (await says(from)).includes('no node of the cluster has just the slots'),
      10_000,
      () => says(from),
    );
    await until(
      async () => (await says(to)).includes('no node of the cluster has just the slots'),
      10_000,
      () => says(to),
    );
    expect((await from.http('/readyz')).status).toBe(503);
    await sleep(500);
    expect(await alpha.get('b')).toBe('stays');

    await move(target, targetId, source, sourceId);
    await settle(sourceId);
    for (const region of [from, to]) await region.ready();
    await alpha.set('b', 'again');
    await allEqual();
    expect(await cluster('beta').get('b')).toBe('again');
  },
  120_000,
);

testCluster(
  'a region that tells nothing but keyspace events, shard by shard',
  async () => {
    await start({ notifications: ['beta'] });
    await Promise.all([
      ...Array.from({ length: 100 }, (_, i) => cluster('beta').set(`from:beta:${i}`, i)),
      ...Array.from({ length: 100 }, (_, i) => cluster('alpha').sadd(`set:${i % 10}`, i)),
    ]);
    expect(await allEqual()).toBeGreaterThan(110);
    for (let i = 0; i < 100; i++) expect(await cluster('alpha').get(`from:beta:${i}`)).toBe(String(i));
  },
  120_000,
);

testCluster(
  'slots are given to another shard in both regions, while no agent runs, and all goes on',
  async () => {
    await start();
    const [from, to] = [shards[0]!, shards[1]!];
    const slot = slotOf(Buffer.from('b'));
    const before = await write(30, 'before:');
    await Promise.all(NAMES.map((name) => cluster(name).set('b', 'both')));
    await allEqual();
    for (const mesh of shards) for (const { agent } of mesh.regions) await agent.signal('SIGTERM');
    for (const name of NAMES) {
      const [source, target] = [node(from.region(name)), node(to.region(name))];
      const [sourceId, targetId] = [await source.call('CLUSTER', 'MYID'), await target.call('CLUSTER', 'MYID')].map(
        String,
      );
      await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', sourceId!);
      await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', targetId!);
      const { password } = from.secrets;
      await source.call('MIGRATE', loopback, target.options.port!, 'b', 0, 5000, 'AUTH', password);
      for (const client of [target, source]) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', targetId!);
    }
    // Clients go on meanwhile.
    await cluster('alpha').set('b', 'meanwhile');
    const give = (mesh: Mesh, slots: string): void => {
      for (const region of mesh.regions) region.configure((config) => (config.redis.cluster = { slots }));
    };
    give(from, `0-${slot - 1} ${slot + 1}-5460`);
    give(to, `${slot} ${SHARDS[1]}`);
    await Promise.all(shards.map((mesh) => mesh.startAgents()));
    await allEqual();
    expect(await cluster('beta').get('b')).toBe('meanwhile');
    await cluster('beta').set('b', 'afterwards');
    const after = await write(30, 'after:');
    await allEqual();
    expect(await cluster('alpha').get('b')).toBe('afterwards');
    await expectAll('before:', before);
    await expectAll('after:', after);
  },
  120_000,
);

testCluster(
  'a node of a cluster restarts, and is compared with the mesh',
  async () => {
    shards = [await Mesh.start({ regions: NAMES, cluster: '0-16383' })];
    const [alpha, beta] = shards[0]!.regions;
    await Promise.all(
      [alpha!, beta!].map(async (region) => {
        for (let i = 0; i < 50; i++) await region.client().hincrby(`h:${i % 7}`, 'n', 1);
      }),
    );
    await allEqual();
    await beta!.redis.signal('SIGTERM');
    await alpha!.client().set('meanwhile', '1');
    await beta!.startRedis();
    // By another replication ID: a full resync, that finds nothing.
    await beta!.ready();
    await beta!.client().incr('afterwards');
    await allEqual();
    const sum = await Promise.all(Array.from({ length: 7 }, (_, i) => alpha!.client().hget(`h:${i}`, 'n')));
    expect(sum.reduce((all, n) => all + Number(n), 0)).toBe(100);
  },
  120_000,
);
