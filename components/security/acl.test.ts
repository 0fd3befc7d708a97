import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { type AgentConfigInput } from '../../agent/config';
import type { TrialReport } from '../../agent/dry-run';
import { agentRules, dryRunAgentRules, SystemUser } from '../../model';
import { expectKept, underLoad } from '../../test/integration/load';
import { Mesh, type Region as MeshRegion } from '../../test/integration/mesh';
import { end, freePorts, passwordOf, Region, smallConf, until } from '../testing/redis';

// Least rights, tried at a real Redis: what a user needs works, what it must not do is refused.

describe('the agent', () => {
  let mesh: Mesh;
  afterEach(() => mesh.stop());

  test('does all of its work by its rules', async () => {
    mesh = await Mesh.start({ regions: ['alpha', 'beta'], agents: false });
    const hash = createHash('sha256').update(mesh.secrets.agentPassword).digest('hex');
    for (const region of mesh.regions) {
      await region.client().call('ACL', 'SETUSER', SystemUser.Agent, 'reset', 'on', `#${hash}`, ...agentRules);
    }
    await mesh.region('alpha').client().set('before', 'the join');
    await mesh.startAgents();
    const [alpha, beta] = mesh.regions.map((region) => region.client());

    const loads = await underLoad(
      mesh.regions,
      7,
      async () => {
        await alpha!.call('FUNCTION', 'LOAD', "#!lua name=l\nredis.register_function('f', function() return 1 end)");
        await alpha!.publish('news', 'x');
        await alpha!.rpush('list', 'a', 'b', 'c');
        await alpha!.xadd('stream', '*', 'f', 'v');
        await alpha!.pfadd('hll', 'a', 'b');
        await alpha!.eval("redis.call('SET', KEYS[1], 'lua')", 1, 'lua');
        await alpha!.set('ttl', 1, 'PX', 300);
        await alpha!.select(1);
        await alpha!.set('other', 'database');
        await alpha!.flushdb();
        await alpha!.select(0);
        // Concurrent writes that are settled by a key's state, and corrected.
        mesh.partition('alpha');
        await Promise.all([
          alpha!.append('text', 'a'),
          beta!.append('text', 'b'),
          alpha!.rpush('list', 'd'),
          beta!.lpop('list'),
        ]);
        await sleep(300);
        mesh.heal();
        await sleep(300);
      },
      5,
    );
    await mesh.waitEqual();
    await expectKept(mesh, loads);
    // A full sync, taken as a difference.
    await mesh.region('beta').agent.signal('SIGKILL');
    mesh.region('beta').forget();
    await beta!.set('unseen', 1);
    mesh.region('beta').startAgent();
    await mesh.ready();
    await mesh.waitEqual();
    expect(await alpha!.get('unseen')).toBe('1');
    for (const region of mesh.regions) expect(await region.client().call('ACL', 'LOG')).toEqual([]);
  });
});

describe('the agent, with less', () => {
  let mesh: Mesh;
  afterEach(() => mesh.stop());

  /** Two regions whose agents have these rules, and are not started yet. */
  async function withRules(
    rules: (region: string) => readonly string[],
    configure?: (config: AgentConfigInput) => void,
  ): Promise<[MeshRegion, MeshRegion]> {
    mesh = await Mesh.start({ regions: ['alpha', 'beta'], agents: false, ...(configure ? { configure } : {}) });
    const hash = createHash('sha256').update(mesh.secrets.agentPassword).digest('hex');
    for (const region of mesh.regions) {
      const user = ['SETUSER', SystemUser.Agent, 'reset', 'on', `#${hash}`, ...rules(region.name)];
      await region.client().call('ACL', ...user);
    }
    return mesh.regions as [MeshRegion, MeshRegion];
  }

  test('reads in a dry run, and can write nothing', async () => {
    const [alpha, beta] = await withRules(
      () => dryRunAgentRules,
      (config) => void (config.replication = { ...config.replication, dryRun: true }),
    );
    await alpha.client().mset('a', '1', 'b', '1');
    await beta.client().set('b', '2');
    for (const region of [alpha, beta]) region.startAgent();
    const trial = async (region: MeshRegion): Promise<TrialReport | null> =>
      ((await region.status().catch(() => null))?.dryRun ?? null) as TrialReport | null;
    await until('beta has compared its keys', async () => (await trial(beta))?.keys?.with === 'alpha');
    expect((await trial(beta))?.keys).toMatchObject({ here: 1, there: 2, differing: 1, onlyThere: 1 });
    await alpha.client().set('gone', '1', 'PX', 100);
    await alpha.client().select(1);
    await alpha.client().incr('n');
    await until('beta has heard of it', async () => ((await trial(beta))?.wouldApply.operations ?? 0) >= 3);
    for (const region of [alpha, beta]) {
      expect(await region.client().call('ACL', 'LOG')).toEqual([]);
      const agent = region.client().duplicate({ username: SystemUser.Agent, password: mesh.secrets.agentPassword });
      await expect(agent.set('meridian:cursor', 'x')).rejects.toThrow(/^NOPERM/);
      await expect(agent.get('a')).rejects.toThrow(/^NOPERM/);
      agent.disconnect();
    }
  });

  test.each([
    ['MULTI', '+@transaction', []],
    ['GET', '+@read', []],
    ['DEL', '+@write', []],
    ['EXEC', '+@transaction', ['+multi', '+discard']],
  ])('begins nothing where it may not run %s, and says so', async (command, without, instead) => {
    const less = [...agentRules.filter((rule) => rule !== without), ...instead];
    const [alpha, beta] = await withRules((name) => (name === 'alpha' ? less : agentRules));
    for (const region of [alpha, beta]) region.startAgent();
    const reason = async (): Promise<string> => (await alpha.status().catch(() => null))?.reason ?? '';
    await until('it says why', async () => (await reason()).startsWith(`Redis refuses ${command} to the agent's user`));
    expect(await alpha.client().dbsize()).toBe(0);
    // What was missing is all that it waits for.
    await alpha.client().call('ACL', 'SETUSER', SystemUser.Agent, without);
    await mesh.ready();
    await alpha.client().rpush('list', 'a');
    await mesh.waitEqual();
    expect(await beta.client().lrange('list', 0, -1)).toEqual(['a']);
  });

  test('says, where it may not run scripts, what will be missing', async () => {
    const rules = agentRules.filter((rule) => rule !== '+@scripting');
    const regions = await withRules(() => rules);
    for (const region of regions) region.startAgent();
    await mesh.ready();
    for (const region of regions)
      expect(region.tail()).toMatch(/"level":"warn".*Redis refuses EVAL to the agent's user/);
  });
});

describe('the others', () => {
  let region: Region;
  let port: number;
  beforeAll(async () => {
    [port = 0] = await freePorts(1);
    region = new Region(smallConf);
    region.first = `127.0.0.1 ${port}`;
    region.startRedis(port);
    await until('Redis answers', () => region.cli(port, ['PING']) === 'PONG');
  });
  afterAll(() => region.close());

  const denied = /^NOPERM/;
  test.each([
    [SystemUser.Agent, ['CONFIG', 'GET', '*'], denied],
    [SystemUser.Agent, ['ACL', 'LIST'], denied],
    [SystemUser.Agent, ['SHUTDOWN'], denied],
    [SystemUser.Agent, ['REPLICAOF', 'NO', 'ONE'], denied],
    [SystemUser.Agent, ['KEYS', '*'], denied],
    [SystemUser.Agent, ['MIGRATE', 'h', '1', 'k', '0', '1'], denied],
    [SystemUser.Node, ['INFO', 'replication'], /role:master/],
    [SystemUser.Node, ['GET', 'k'], denied],
    [SystemUser.Node, ['SET', 'k', 'v'], denied],
    [SystemUser.Node, ['CONFIG', 'GET', '*'], denied],
    [SystemUser.Exporter, ['INFO', 'all'], /used_memory/],
    [SystemUser.Exporter, ['CONFIG', 'GET', 'masterauth'], denied],
    [SystemUser.Exporter, ['GET', 'k'], denied],
    [SystemUser.Exporter, ['KEYS', '*'], denied],
    ['app', ['SET', 'k', 'v'], /^OK$/],
    ['app', ['GET', 'k'], /^v$/],
    ['app', ['CONFIG', 'GET', '*'], denied],
    ['app', ['ACL', 'WHOAMI'], denied],
    ['read', ['GET', 'k'], /^v?$/],
    ['read', ['SET', 'k', 'w'], denied],
    ['admin', ['ACL', 'WHOAMI'], /^admin$/],
    ['default', ['PING'], /NOAUTH|WRONGPASS/],
  ])('%s: %j', (user, command, reply) => {
    expect(region.cli(port, command, user)).toMatch(reply);
  });

  test('both passwords of a user are good, and no other', () => {
    expect(region.cli(port, ['PING'], 'app', passwordOf('app', 1))).toBe('PONG');
    expect(region.cli(port, ['PING'], 'app', 'another')).toMatch(/WRONGPASS/);
  });

  test('nobody gets in without a password', () => {
    expect(region.cli(port, ['PING'], 'default', '')).toMatch(/NOAUTH|WRONGPASS/);
  });
});

test('a restart brings back what was written in transactions, though nobody may log in as default', async () => {
  const [port = 0] = await freePorts(1);
  const region = new Region(smallConf);
  try {
    region.first = `127.0.0.1 ${port}`;
    const first = region.startRedis(port);
    await until('Redis answers', () => region.cli(port, ['PING']) === 'PONG');
    const script = "redis.call('SET', KEYS[1], 'a'); redis.call('SET', KEYS[2], 'b')";
    region.cli(port, ['EVAL', script, '2', 'x', 'y']); // in the file it is a transaction
    await end(first);
    region.startRedis(port);
    await until('Redis answers again', () => region.cli(port, ['PING']) === 'PONG');
    expect(region.cli(port, ['MGET', 'x', 'y'])).toBe('a\nb');
    expect(region.log(port)).not.toContain('NOPERM');
    expect(region.cli(port, ['PING'], 'default', '')).toMatch(/NOAUTH|WRONGPASS/);
  } finally {
    await region.close();
  }
});

test('Sentinel tells applications where the primary is, and nothing more', async () => {
  const [port = 0] = await freePorts(1);
  const region = new Region(smallConf);
  try {
    region.first = '127.0.0.1 1';
    const sentinel = region.startSentinel(port);
    await until('Sentinel answers', () => region.cli(port, ['PING'], SystemUser.Node) === 'PONG');
    for (const user of ['app', SystemUser.Agent])
      expect(region.cli(port, ['SENTINEL', 'get-master-addr-by-name', 'west'], user)).toBe('127.0.0.1\n1');
    expect(region.cli(port, ['SENTINEL', 'MASTER', 'west'], SystemUser.Agent)).toContain('config-epoch');
    for (const command of [['SENTINEL', 'FAILOVER', 'west'], ['SENTINEL', 'SET', 'west', 'quorum', '1'], ['SHUTDOWN']])
      expect(region.cli(port, command, 'app')).toMatch(/^NOPERM/);
    expect(region.cli(port, ['PING'], SystemUser.Exporter)).toMatch(/WRONGPASS/);
    await end(sentinel);
  } finally {
    await region.close();
  }
});
