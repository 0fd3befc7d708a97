import { type StackStatus } from './status';
import { Cleanup, Meridian, freeBasePort, lives, until } from './testing';

// Regions with their agents, as `npm start` runs them.

jest.setTimeout(180_000);

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

test('three regions: written anywhere, equal everywhere, also after a partition and the loss of an agent', async () => {
  const meridian = new Meridian(cleanup.dir());
  cleanup.add(() => meridian.run('down', '--purge'));
  const base = await freeBasePort();
  await meridian.json('up', '--detach', '--base-port', String(base));
  const regions = ['us-west-2', 'eu-central-1', 'ap-northeast-1'];
  const status = (): Promise<StackStatus> => meridian.json<StackStatus>('status');
  const linksOf = async (region: string): Promise<string[]> =>
    (await status()).regions.find(({ name }) => name === region)?.links.map(({ state }) => state) ?? [];
  const write = async (key: string): Promise<void> => {
    for (const region of regions) {
      expect(await meridian.run('cli', region, 'SET', `${key}:${region}`, region)).toMatchObject({
        status: 0,
        stdout: 'OK\n',
      });
      await meridian.run('cli', region, 'INCR', 'count');
    }
  };
  const equal = async (): Promise<void> => {
    const { status: exit, stdout } = await meridian.run('verify', '--wait', '30');
    expect([exit, stdout]).toEqual([0, expect.stringMatching(/^Equal: /)]);
  };

  await write('first');
  await equal();
  await until('converged', async () => (await status()).converged);
  expect((await meridian.run('cli', 'ap-northeast-1', 'GET', 'count')).stdout).toContain('3');

  await meridian.run('fault', 'partition', 'us-west-2');
  await until('both links are down', async () => !(await linksOf('us-west-2')).includes('up'));
  expect((await linksOf('eu-central-1')).filter((state) => state === 'up')).toHaveLength(1);
  await write('second');
  expect((await status()).converged).toBe(false);
  await until('what can not be sent is told', async () =>
    (await status()).regions[0]?.links.every(({ toSendBytes }) => toSendBytes > 0),
  );
  expect((await meridian.run('verify')).status).toBe(1);
  await meridian.run('fault', 'heal');
  await equal();

  const pid = (await status()).regions[1]?.agent.pid ?? 0;
  await meridian.run('fault', 'kill', 'eu-central-1', 'agent');
  await write('third');
  await until('another agent is active', async () => {
    const agent = (await status()).regions[1]?.agent;
    return agent?.state === 'active' && agent.pid !== pid;
  });
  await equal();
  expect((await meridian.run('cli', 'us-west-2', 'GET', 'count')).stdout).toContain('9');

  await until('nothing is to be sent', async () => (await status()).converged);
  await meridian.run('fault', 'pause', 'us-west-2', 'redis');
  await until('nobody says that all is equal', async () => !(await status()).converged, 20_000);
  await meridian.run('fault', 'heal');

  const pids = Object.values(meridian.state().processes).map((process) => process.pid);
  expect(pids).toHaveLength(6);
  await meridian.run('down');
  expect(pids.filter(lives)).toEqual([]);
});
