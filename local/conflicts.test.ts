import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { type FoundConflict } from './commands/conflicts';
import { type Explanation } from '../agent/conflicts';
import { type StackStatus } from './status';
import { Cleanup, Meridian, freeBasePort, until } from './testing';

// Conflicts as a person sees them: real regions, cut apart and healed.

jest.setTimeout(180_000);

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

interface Listed {
  readonly conflicts: FoundConflict[];
}

async function start(config: string): Promise<{ meridian: Meridian; cli: (...args: string[]) => Promise<string> }> {
  const dir = cleanup.dir();
  const meridian = new Meridian(dir);
  cleanup.add(() => meridian.run('down', '--purge'));
  const base = await freeBasePort();
  writeFileSync(
    path.join(dir, 'stack.yaml'),
    `config:
  meridian:regions:
    - { name: paris, primary: true, backend: local }
    - { name: tokyo, backend: local }
  meridian:replication:
    mode: async
${config}
  meridian:redis: { minReplicas: { toWrite: 0 } }
`,
  );
  await meridian.json('up', '--detach', '--config', 'stack.yaml', '--base-port', String(base));
  const cli = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await meridian.run('cli', ...args);
    expect([status, stderr]).toEqual([0, '']);
    return stdout.trim();
  };
  return { meridian, cli };
}

/** Writes in both regions that have not seen each other, tokyo's a second later. */
async function apart(meridian: Meridian, ours: () => Promise<unknown>, theirs: () => Promise<unknown>): Promise<void> {
  await until('converged', async () => (await meridian.json<StackStatus>('status')).converged);
  await meridian.run('fault', 'partition', 'paris');
  await ours();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await theirs();
  await meridian.run('fault', 'heal');
  const { status, stdout } = await meridian.run('verify', '--wait', '30');
  expect([status, stdout]).toEqual([0, expect.stringMatching(/^Equal: /)]);
}

test('conflicts, explain, restore-loser: what lost is found and brought back', async () => {
  const { meridian, cli } = await start('    conflictValues: full');
  await apart(
    meridian,
    async () => {
      await cli('paris', 'SET', 'user:1', 'from paris');
      await cli('paris', 'HSET', 'cart:1', 'apples', '1', 'pears', '2');
    },
    async () => {
      await cli('tokyo', 'SET', 'user:1', 'from tokyo', 'EX', '1000');
      await cli('tokyo', 'HSET', 'cart:1', 'apples', '5');
    },
  );
  const { conflicts } = await meridian.json<Listed>('conflicts');
  expect(conflicts.map(({ key, type, element }) => [key, type, element]).sort()).toEqual([
    ['cart:1', 'hash', 'apples'],
    ['user:1', 'string', ''],
  ]);
  const user = conflicts.find(({ key }) => key === 'user:1')!;
  expect(user).toMatchObject({
    reason: 'later',
    winner: { region: 'tokyo', value: { full: Buffer.from('from tokyo').toString('base64') } },
    loser: { region: 'paris', value: { full: Buffer.from('from paris').toString('base64') } },
  });
  expect([...user.foundIn].sort()).toEqual(['paris', 'tokyo']);
  expect((await meridian.json<Listed>('conflicts', '--key', 'cart:*')).conflicts).toHaveLength(1);
  expect(await meridian.run('conflicts', '--region', 'oslo')).toMatchObject({
    status: 1,
    stderr: "meridian: There is no region 'oslo' in this stack: it has paris, tokyo.\n",
  });
  const { stdout } = await meridian.run('conflicts', '--since', '5m');
  expect(stdout).toMatch(/"user:1"\s+string \(later\)\s+tokyo "from tokyo"\s+paris "from paris"/);

  const explained = await meridian.json<{ regions: Explanation[] }>('explain', 'user:1');
  for (const region of explained.regions)
    expect(region).toMatchObject({
      policy: 'merge',
      redis: { type: 'string', expiresAtMs: expect.any(Number) },
      operations: [
        { region: 'tokyo', command: 'SET' },
        { region: 'paris', command: 'SET' },
      ],
      ttlOwner: 'tokyo',
      settledBy: null,
    });
  const beyond = await meridian.run('explain', 'user:1', '--db', '99');
  expect([beyond.status, beyond.stderr]).toEqual([1, expect.stringMatching(/database 99: ERR .*out of range/)]);
  const words = await meridian.run('explain', 'user:1');
  expect(words.stdout).toMatch(/paris: string, expires at .*\n {4}Written last by tokyo at /);

  // Nobody is there to say yes.
  const unsaid = await meridian.run('restore-loser', user.id);
  expect([unsaid.status, unsaid.stderr]).toEqual([1, expect.stringContaining('Nothing was written')]);
  expect((await meridian.run('restore-loser', user.id, '--yes')).stdout).toBe(
    'Done in paris, database 0: "SET" "user:1" "from paris" "KEEPTTL"\n',
  );
  const cart = conflicts.find(({ key }) => key === 'cart:1')!;
  await meridian.json('restore-loser', cart.id, '--yes');
  await until('both are back everywhere', async () => {
    const values = [await cli('tokyo', 'GET', 'user:1'), await cli('tokyo', 'HGET', 'cart:1', 'apples')];
    return values[0]!.includes('from paris') && values[1]!.includes('1');
  });
  expect(Number(await cli('tokyo', 'TTL', 'user:1'))).toBeGreaterThan(0);
  const missing = await meridian.run('restore-loser', 'abcdef', '--yes');
  expect([missing.status, missing.stderr]).toEqual([1, expect.stringContaining('No conflict abcdef is known')]);

  // The journal outlives the agents.
  await meridian.run('down');
  await meridian.json('up', '--detach', '--config', 'stack.yaml', '--base-port', String(meridian.state().basePort));
  expect((await meridian.json<Listed>('conflicts', '--key', 'user:1')).conflicts[0]?.id).toBe(user.id);
});

test('by default values are kept by nobody, and keys are told to nobody without the token', async () => {
  const { meridian, cli } = await start('');
  await apart(
    meridian,
    () => cli('paris', 'SET', 'k', 'canary one'),
    () => cli('tokyo', 'SET', 'k', 'canary two'),
  );
  const { stdout } = await meridian.run('conflicts', '--json');
  const [conflict] = (JSON.parse(stdout) as Listed).conflicts;
  expect(conflict?.loser.value).toEqual({ bytes: 10, digest: expect.stringMatching(/^[0-9a-f]{16}$/) });
  expect(stdout).not.toContain(Buffer.from('canary').toString('base64').slice(0, 6));
  const refused = await meridian.run('restore-loser', conflict!.id, '--yes');
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining('was not kept')]);

  const { admin } = meridian.state().regions[0]!.agent;
  for (const route of ['conflicts', 'explain?key=aw']) {
    expect((await fetch(`${admin}/${route}`)).status).toBe(401);
    const wrong = await fetch(`${admin}/${route}`, { headers: { authorization: 'Bearer wrong' } });
    expect(wrong.status).toBe(401);
  }
});

test('in a dry run they are what would have been, and there is nothing to bring back', async () => {
  const { meridian, cli } = await start('    dryRun: true');
  const status = (): Promise<StackStatus> => meridian.json<StackStatus>('status');
  await until('in touch', async () =>
    (await status()).regions.every(
      ({ agent, dryRun, links }) =>
        agent.state === 'dry-run' && dryRun?.keys !== null && links.every(({ lagMs }) => lagMs !== null),
    ),
  );
  await meridian.run('fault', 'partition', 'paris');
  await cli('paris', 'SET', 'user:1', 'from paris');
  await new Promise((resolve) => setTimeout(resolve, 500));
  await cli('tokyo', 'SET', 'user:1', 'from tokyo');
  await meridian.run('fault', 'heal');
  await until('the conflict is known', async () =>
    (await status()).regions.every(({ dryRun }) => dryRun?.wouldConflict.operations === 1),
  );
  expect((await status()).converged).toBe(false);
  const { stdout } = await meridian.run('status');
  expect(stdout).toContain('Stack local: 2 regions, dry run\n');
  expect(stdout).toMatch(/paris +1 +1 +0, with which the mesh would begin\n/);
  expect(stdout).toMatch(/tokyo +1 +1 +0 as in paris, 0 would become paris's, 0 would come, 0 would be offered\n/);
  const { conflicts, dryRun } = await meridian.json<Listed & { dryRun: string[] }>('conflicts');
  expect(dryRun).toEqual(['paris', 'tokyo']);
  expect(conflicts).toMatchObject([{ key: 'user:1', winner: { region: 'tokyo' }, loser: { region: 'paris' } }]);
  expect((await meridian.run('conflicts')).stdout).toContain('Dry run in paris, tokyo: what would have conflicted');
  const restored = await meridian.run('restore-loser', conflicts[0]!.id, '--yes');
  expect([restored.status, restored.stderr]).toEqual([1, expect.stringContaining('is of a dry run')]);
  expect([await cli('paris', 'GET', 'user:1'), await cli('tokyo', 'GET', 'user:1')]).toEqual([
    'from paris',
    'from tokyo',
  ]);
});

test('keys that are not replicated are not compared, and explained as such', async () => {
  const { meridian, cli } = await start("    conflicts: [{ keys: 'local:*', policy: ignore }]");
  await cli('paris', 'SET', 'local:1', 'paris');
  await cli('tokyo', 'SET', 'local:1', 'tokyo');
  await cli('tokyo', 'SET', 'shared', 'tokyo');
  const { status, stdout } = await meridian.run('verify', '--wait', '30');
  expect([status, stdout]).toEqual([0, expect.stringMatching(/^Equal: 1 key in 2 regions compared in /)]);
  expect([await cli('paris', 'GET', 'local:1'), await cli('paris', 'GET', 'shared')]).toEqual(['paris', 'tokyo']);
  const explained = await meridian.json<{ regions: Explanation[] }>('explain', 'local:1');
  expect(explained.regions).toMatchObject([
    { region: 'paris', policy: 'ignore', operations: [] },
    { region: 'tokyo', policy: 'ignore', operations: [] },
  ]);
});
