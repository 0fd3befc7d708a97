import { type Letter } from '../agent/dead-letters/letter';
import { agentUser } from './redis-conf';
import { Cleanup, Meridian, freeBasePort, until } from './testing';

// What a region's Redis refuses the agent, and what a person does about it.

jest.setTimeout(180_000);

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

test('a command that may not run is kept; once it may, retry makes the regions equal', async () => {
  const meridian = new Meridian(cleanup.dir());
  cleanup.add(() => meridian.run('down', '--purge'));
  const base = await freeBasePort();
  await meridian.json('up', '--detach', '--regions', 'paris,tokyo', '--base-port', String(base));
  const cli = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await meridian.run('cli', ...args);
    expect([status, stderr]).toEqual([0, '']);
    return stdout.trim();
  };
  const letters = async (): Promise<Letter[]> => {
    const { regions } = await meridian.json<{ regions: { region: string; letters: Letter[] }[] }>(
      'dead-letters',
      'list',
    );
    expect(regions.filter(({ region }) => region === 'paris')).toMatchObject([{ letters: [] }]);
    return regions.find(({ region }) => region === 'tokyo')!.letters;
  };
  expect((await meridian.run('dead-letters', 'list')).stdout).toBe('There are no dead letters.\n');

  await cli('tokyo', 'ACL', 'SETUSER', agentUser, '-sadd', '-function');
  await cli('paris', 'SADD', 'tags', 'canary');
  await cli('paris', 'SADD', 'tags', 'second');
  await cli('paris', 'FUNCTION', 'LOAD', "#!lua name=lib\nredis.register_function('f', function() return 1 end)");
  await cli('paris', 'SET', 'after', 'it');
  await until('what comes behind them is there', async () => (await cli('tokyo', 'GET', 'after')).includes('it'));
  await until('both are dead letters', async () => (await letters()).length === 2);
  expect(await letters()).toMatchObject([
    { command: 'SADD', key: 'tags', code: 'NOPERM', remedy: 'state' },
    { command: 'FUNCTION', key: null, code: 'NOPERM', remedy: 'command', count: 1 },
  ]);
  const { stdout } = await meridian.run('dead-letters', 'list');
  expect(stdout).toMatch(/tokyo .* SADD "tags" +NOPERM +gets the key's state/);
  expect(stdout).not.toContain('canary');
  const { admin } = meridian.state().regions[1]!.agent;
  const metrics = async (): Promise<string> => (await fetch(`${admin}/metrics`)).text();
  expect(await metrics()).toMatch(/^meridian_dead_letters\{[^}]*\} 2$/m);
  expect((await fetch(`${admin}/dead-letters/drop?all=true`, { method: 'POST' })).status).toBe(401);

  // Nothing has changed: it comes back.
  const ofFunction = (await letters()).find(({ key }) => key === null)!;
  await meridian.json('dead-letters', 'retry', ofFunction.id);
  await until('it is refused again', async () => (await letters()).some(({ id }) => id === ofFunction.id));

  await cli('tokyo', 'ACL', 'SETUSER', agentUser, '+sadd', '+function');
  const { stdout: done } = await meridian.run('dead-letters', 'retry', '--all', '--region', 'tokyo');
  expect(done).toMatch(/SADD "tags": another region is asked/);
  expect(done).toMatch(/FUNCTION: run once more/);
  await until('the regions are equal', async () => (await meridian.run('verify')).status === 0);
  expect(await cli('tokyo', 'SCARD', 'tags')).toContain('2');
  expect(await cli('tokyo', 'FUNCTION', 'LIST')).toContain('lib');
  expect(await letters()).toEqual([]);

  await cli('tokyo', 'ACL', 'SETUSER', agentUser, '-publish');
  await cli('paris', 'PUBLISH', 'news', 'x');
  await until('it is a dead letter', async () => (await letters()).length === 1);
  // It outlives the agent.
  await meridian.run('fault', 'kill', 'tokyo', 'agent');
  await until('it is still there', async () => (await letters().catch(() => [])).length === 1);
  await meridian.json('dead-letters', 'drop', '--all');
  expect(await letters()).toEqual([]);
  const missing = await meridian.run('dead-letters', 'drop', 'abc');
  expect([missing.status, missing.stderr]).toEqual([1, expect.stringContaining('No region has a dead letter abc')]);
  const unsaid = await meridian.run('dead-letters', 'drop');
  expect([unsaid.status, unsaid.stderr]).toEqual([1, expect.stringContaining('Name one by its ID, or say --all')]);
});
