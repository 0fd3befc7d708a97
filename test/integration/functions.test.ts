import { setTimeout as sleep } from 'node:timers/promises';
import type Redis from 'ioredis';
import { findRedisBinary, inspectRedisBinary, type RedisBinary } from '../../local/redis-binary';
import { Dice, isLong, Mesh, type Region, until } from './mesh';

// Libraries of functions: merged by name, in all regions the same after quiet.

const NAMES = ['alpha', 'beta', 'gamma'] as const;

const has = ({ version }: RedisBinary): boolean => Number.parseFloat(version) >= 7;
const tested = findRedisBinary()!;
const last = process.env['MERIDIAN_LAST_REDIS_SERVER'];
/** Of the regions as others have them; and what else is here, for a mesh in which one of them has no functions. */
const servers = [tested, last === undefined ? tested : inspectRedisBinary(last, 'MERIDIAN_LAST_REDIS_SERVER')];
const onPath = findRedisBinary({ env: { ...process.env, MERIDIAN_REDIS_SERVER: '' } });
const modern = [...servers, ...(onPath === undefined ? [] : [onPath])].find(has);
const old = servers.find((server) => !has(server));
const when = old === undefined ? describe : describe.skip;
const why = old === undefined ? '' : ` (skipped: ${old.flavour} ${old.version} has no functions)`;

let mesh: Mesh;
let clients: Redis[];
let alpha: Redis;
let beta: Redis;

async function start(options: Parameters<typeof Mesh.start>[0] = {}): Promise<void> {
  mesh = await Mesh.start(options);
  clients = mesh.regions.map((region) => region.client());
  [alpha, beta] = clients as [Redis, Redis];
}

function code(name: string, result: string, functions: readonly string[] = [name]): string {
  const lines = functions.map((f) => `redis.register_function('${f}', function() return '${result}' end)`);
  return [`#!lua name=${name}`, ...lines].join('\n');
}

const load = (client: Redis, ...args: Parameters<typeof code>): Promise<unknown> =>
  client.call('FUNCTION', 'LOAD', 'REPLACE', code(...args));

/** Code by name. */
async function librariesOf(client: Redis): Promise<Record<string, string>> {
  const list = (await client.call('FUNCTION', 'LIST', 'WITHCODE')) as unknown[][];
  const fields = list.map((entry) => Object.fromEntries(entry.map((field, i) => [String(field), entry[i + 1]])));
  return Object.fromEntries(
    fields.map((entry) => [String(entry['library_name']), String(entry['library_code'])] as const).sort(),
  );
}

/** Waits until all is the same everywhere. @returns the libraries */
async function settled(): Promise<Record<string, string>> {
  await mesh.waitEqual();
  const [first, ...others] = await Promise.all(clients.map(librariesOf));
  for (const other of others) expect(other).toEqual(first);
  return first!;
}

/** With a new history: its agent compares. */
async function restartRedis(region: Region): Promise<void> {
  await region.redis.signal('SIGTERM');
  await region.startRedis();
  await until(async () => (await region.client().ping()) === 'PONG', 10_000, 'Redis is not back');
  await mesh.ready();
}

async function letters(region: Region): Promise<{ command: string; code: string }[]> {
  return (JSON.parse((await region.http('/dead-letters')).text) as { letters: { command: string; code: string }[] })
    .letters;
}

when.each([2, 3])(`%i regions${why}`, (count) => {
  beforeAll(() => start({ regions: NAMES.slice(0, count) }));
  afterAll(() => mesh?.stop());
  beforeEach(async () => {
    await settled();
    await alpha.call('FUNCTION', 'FLUSH');
    expect(await settled()).toEqual({});
  });

  test('a library that is loaded everywhere at once, with other code each: one stands, everywhere', async () => {
    for (let round = 0; round < 20; round++)
      await Promise.all(clients.map((client, r) => load(client, 'lib', `${NAMES[r]} ${round}`)));
    const { lib, ...others } = await settled();
    expect(others).toEqual({});
    expect(NAMES.map((name) => code('lib', `${name} 19`))).toContain(lib);
    for (const client of clients) expect(lib).toContain(await client.call('FCALL', 'lib', 0));
  });

  test('of two loads that had not seen each other the later one stands', async () => {
    await mesh.apart(
      () => load(alpha, 'lib', 'first'),
      () => load(beta, 'lib', 'then'),
    );
    expect(await settled()).toEqual({ lib: code('lib', 'then') });
    await mesh.apart(
      () => load(alpha, 'lib', 'first'),
      () => beta.call('FUNCTION', 'DELETE', 'lib'),
    );
    // The delete had not seen it.
    expect(await settled()).toEqual({ lib: code('lib', 'first') });
    await mesh.apart(
      () => alpha.call('FUNCTION', 'DELETE', 'lib'),
      () => load(beta, 'lib', 'again'),
    );
    expect(await settled()).toEqual({ lib: code('lib', 'again') });
    await alpha.call('FUNCTION', 'DELETE', 'lib');
    expect(await settled()).toEqual({});
  });

  test('a flush removes what it has seen', async () => {
    await load(alpha, 'old', 'old');
    await mesh.apart(
      () => load(alpha, 'unseen', 'unseen'),
      async () => {
        await load(beta, 'seen', 'seen');
        await beta.call('FUNCTION', 'FLUSH');
        await load(beta, 'later', 'later');
      },
    );
    expect(await settled()).toEqual({ later: code('later', 'later'), unseen: code('unseen', 'unseen') });
  });

  test('RESTORE is a load of each library', async () => {
    await load(alpha, 'one', '1');
    await load(alpha, 'two', 'compressed '.repeat(500));
    const dump = (await alpha.callBuffer('FUNCTION', 'DUMP')) as Buffer;
    await alpha.call('FUNCTION', 'FLUSH');
    await settled();
    await mesh.apart(
      () => load(alpha, 'one', 'other'),
      () => beta.call('FUNCTION', 'RESTORE', dump),
    );
    const both = { one: code('one', '1'), two: code('two', 'compressed '.repeat(500)) };
    expect(await settled()).toEqual(both);
    await load(alpha, 'one', 'other');
    await settled();
    await beta.call('FUNCTION', 'RESTORE', dump, 'REPLACE');
    expect(await settled()).toEqual(both);
    await mesh.apart(
      async () => {
        await load(alpha, 'three', '3');
        await load(alpha, 'two', '2');
      },
      async () => {
        await load(beta, 'four', '4');
        await beta.call('FUNCTION', 'RESTORE', dump, 'FLUSH');
      },
    );
    expect(await settled()).toEqual({ ...both, three: code('three', '3') });
  });

  test('two libraries with a function of one name: the later one stands, the other is gone everywhere', async () => {
    await mesh.apart(
      async () => {
        await load(alpha, 'first', '1', ['f', 'g']);
        await load(alpha, 'other', 'other', ['o']);
      },
      () => load(beta, 'then', '2', ['h', 'F']),
    );
    expect(await settled()).toEqual({ other: code('other', 'other', ['o']), then: code('then', '2', ['h', 'F']) });
    // Nothing of that stands in the way of what comes next.
    await load(alpha, 'first', '3', ['g']);
    await alpha.call('FUNCTION', 'DELETE', 'then');
    expect(Object.keys(await settled())).toEqual(['first', 'other']);
    // In all regions at once.
    for (let round = 0; round < 10; round++) {
      await Promise.all(clients.map((client, r) => load(client, `lib${r}`, `${round}`, ['same'])));
      const libraries = Object.keys(await settled()).filter((name) => name.startsWith('lib'));
      expect(libraries).toHaveLength(1);
      await beta.call('FUNCTION', 'DELETE', libraries[0]!);
      await settled();
    }
    for (const region of mesh.regions) expect(await letters(region)).toEqual([]);
  });

  test('load, delete and flush everywhere at once, while agents and Redis are killed and links are cut', async () => {
    const dice = new Dice(7 + count);
    let isOver = false;
    const clientsAtWork = clients.map(async (client, r) => {
      for (let i = 0; !isOver; i++) {
        const name = `lib${dice.below(3)}`;
        const roll = dice.below(10);
        const work =
          roll < 6
            ? load(client, name, `${NAMES[r]} ${i}`, dice.below(4) === 0 ? ['shared'] : [name])
            : roll < 9
              ? client.call('FUNCTION', 'DELETE', name)
              : client.call('FUNCTION', 'FLUSH');
        await work.catch(() => undefined);
        await client.incr('work').catch(() => undefined);
        await sleep(dice.below(15));
      }
    });
    for (let round = 0; round < (isLong ? 20 : 4); round++) {
      const region = mesh.regions[dice.below(count)]!;
      await sleep(150);
      if (round % 4 === 0) await region.restartAgent();
      else if (round % 4 === 1) {
        mesh.partition(region.name);
        await sleep(400);
        mesh.heal();
      } else if (round % 4 === 2) {
        await region.redis.signal('SIGTERM');
        await region.startRedis();
      } else {
        await region.agent.signal('SIGKILL');
        await sleep(200);
        region.startAgent();
      }
      await mesh.ready();
    }
    isOver = true;
    await Promise.all(clientsAtWork);
    await settled();
  });
});

when(`a mesh of its own${why}`, () => {
  afterEach(() => mesh?.stop());

  test('what is loaded and deleted while no agent reads, and Redis restarts, reaches the other regions', async () => {
    await start();
    for (const name of ['kept', 'replaced', 'deleted', 'changed']) await load(alpha, name, 'before');
    await settled();
    const region = mesh.region('alpha');
    await region.agent.signal('SIGKILL');
    await load(alpha, 'replaced', 'after');
    await load(alpha, 'new', 'after');
    await alpha.call('FUNCTION', 'DELETE', 'deleted');
    await load(beta, 'changed', 'elsewhere');
    await load(beta, 'added', 'elsewhere');
    await region.redis.signal('SIGTERM');
    await region.startRedis();
    await until(async () => (await alpha.ping()) === 'PONG', 10_000, 'Redis is not back');
    region.startAgent();
    await mesh.ready();
    expect(await settled()).toEqual({
      added: code('added', 'elsewhere'),
      changed: code('changed', 'elsewhere'),
      kept: code('kept', 'before'),
      new: code('new', 'after'),
      replaced: code('replaced', 'after'),
    });
  });

  test('a region that joins gets the libraries of the mesh, and brings its own', async () => {
    await start({ only: ['alpha', 'beta'] });
    await load(alpha, 'both', 'mesh');
    await load(alpha, 'mesh', 'mesh', ['mesh', 'm']);
    await mesh.ready(['alpha', 'beta']);
    const gamma = mesh.region('gamma');
    await gamma.startRedis();
    const client = gamma.client();
    await load(client, 'both', 'gamma');
    await load(client, 'brought', 'gamma');
    await load(client, 'clash', 'gamma', ['m']);
    gamma.startAgent();
    for (let i = 0; i < 20; i++) await load(client, 'meanwhile', String(i));
    await mesh.ready();
    clients = mesh.regions.map((region) => region.client());
    const libraries = await settled();
    expect(Object.keys(libraries)).toEqual(['both', 'brought', 'meanwhile', 'mesh']);
    expect(libraries['both']).toBe(code('both', 'mesh'));
    expect(libraries['mesh']).toBe(code('mesh', 'mesh', ['mesh', 'm']));
    expect(libraries['meanwhile']).toBe(code('meanwhile', '19'));
  });

  test('a promoted replica that had not got the last loads and deletes', async () => {
    await start({ regions: ['alpha', 'beta'], replicas: 1 });
    const region = mesh.region('beta');
    const replica = await region.startReplica();
    const { port } = region.layout.replicas[0]!;
    await until(
      async () => (await region.client({ port }).info('replication')).includes('master_link_status:up'),
      15_000,
      'the replica does not follow',
    );
    for (const name of ['lib', 'deleted']) await load(beta, name, 'before');
    await settled();
    // It stands still, and does not get what comes now.
    await replica.signal('SIGSTOP');
    await load(beta, 'lib', 'lost there');
    await load(beta, 'new', 'lost there');
    await beta.call('FUNCTION', 'DELETE', 'deleted');
    await settled();
    await region.agent.signal('SIGKILL');
    await region.redis.signal('SIGKILL');
    await replica.signal('SIGCONT');
    const promoted = region.client({ port });
    await promoted.replicaof('NO', 'ONE');
    await promoted.info();
    region.port = port;
    region.configure((config) => (config.redis.port = port));
    await load(alpha, 'meanwhile', 'alpha');
    region.startAgent();
    await mesh.ready();
    clients = [alpha, promoted];
    const expected = {
      lib: code('lib', 'lost there'),
      meanwhile: code('meanwhile', 'alpha'),
      new: code('new', 'lost there'),
    };
    expect(await settled()).toEqual(expected);
  });
});

const nowhere = ['rename-command FUNCTION ""'];
const kinds: [what: string, servers: readonly (RedisBinary | undefined)[], conf: readonly string[]][] = [
  ['forbids them', [modern, modern], nowhere],
  ['is older than they are', [modern, old], []],
];

describe.each(kinds)('a region whose server %s', (_, [usual, others], conf) => {
  const when = usual !== undefined && others !== undefined ? test : test.skip;
  const reason = usual === undefined ? 'no server here has functions' : 'MERIDIAN_LAST_REDIS_SERVER names no Redis 6.2';
  const why = usual !== undefined && others !== undefined ? '' : ` (skipped: ${reason})`;
  const of = (region: string): Parameters<typeof Mesh.start>[0] => ({
    servers: Object.fromEntries(NAMES.map((name) => [name, name === region ? others! : usual!])),
    redisConf: (name) => (name === region ? conf : []),
  });
  afterEach(() => mesh?.stop());

  when(`leaves them out, says so, and goes on${why}`, async () => {
    await start(of('gamma'));
    const gamma = mesh.region('gamma');
    clients = clients.slice(0, 2);
    await load(alpha, 'lib', 'alpha');
    await alpha.multi().call('FUNCTION', 'LOAD', code('other', 'alpha')).set('with', 'it').exec();
    await settled();
    await load(beta, 'lib', 'beta');
    expect(Object.keys(await settled())).toEqual(['lib', 'other']);
    expect((await mesh.compare(0)).libraries).toMatchObject({ compared: 2, without: ['gamma'] });
    const left = await letters(gamma);
    expect(left).not.toEqual([]);
    for (const letter of left) expect(letter).toMatchObject({ command: 'FUNCTION', code: 'ERR', remedy: 'command' });
    // Its agent's restart changes nothing of that, nor a full resync: what it never had nobody there has deleted.
    await gamma.restartAgent();
    await mesh.ready();
    await restartRedis(gamma);
    expect(Object.keys(await settled())).toEqual(['lib', 'other']);
    await alpha.call('FUNCTION', 'DELETE', 'other');
    expect(await settled()).toEqual({ lib: code('lib', 'beta') });
    expect(await gamma.client().get('with')).toBe('it');
  });
});

const isMixed = old === undefined && servers[0]!.version !== servers[1]!.version;
const whenMixed = isMixed ? test : test.skip;

whenMixed(
  `code that one region's server refuses stands in the others${isMixed ? '' : ' (skipped: MERIDIAN_LAST_REDIS_SERVER names no other version)'}`,
  async () => {
    await start();
    try {
      const gamma = mesh.region('gamma');
      const version = /redis_version:([\d.]+)/.exec(await gamma.client().info('server'))![1];
      const picky = (result: string): string =>
        `${code('lib', result)} if redis.REDIS_VERSION == '${version}' then no() end`;
      clients = [alpha, beta];
      const there = async (): Promise<Record<string, string>> => {
        await mesh.barrier(Date.now() + 20_000);
        const [first, second] = await Promise.all(clients.map(librariesOf));
        expect(second).toEqual(first);
        return first!;
      };
      await alpha.call('FUNCTION', 'LOAD', picky('new'));
      expect(await there()).toEqual({ lib: picky('new') });
      expect(await letters(gamma)).toMatchObject([{ command: 'FUNCTION', code: 'ERR', remedy: 'command' }]);
      await restartRedis(gamma);
      expect(await there()).toEqual({ lib: picky('new') });
      // What it has of that name is not put in its place either.
      await load(beta, 'lib', 'plain');
      expect(await settled()).toEqual({ lib: code('lib', 'plain') });
      await alpha.call('FUNCTION', 'LOAD', 'REPLACE', picky('newer'));
      await there();
      await restartRedis(gamma);
      expect(await there()).toEqual({ lib: picky('newer') });
      expect(await librariesOf(gamma.client())).toEqual({ lib: code('lib', 'plain') });
      await load(beta, 'lib', 'plain again');
      expect(await settled()).toEqual({ lib: code('lib', 'plain again') });
      expect(await librariesOf(gamma.client())).toEqual({ lib: code('lib', 'plain again') });
    } finally {
      await mesh.stop();
    }
  },
);
