import { writeFileSync } from 'node:fs';
import { type AgentConfigInput } from '../../agent/config';
import { Mesh, until } from './mesh';

// Agents whose config changes while they run.

let mesh: Mesh;
afterEach(() => mesh?.stop());

test('a region more: the agents of the others begin anew in their processes, and nothing that clients write meanwhile is lost', async () => {
  const whole = new Map<string, AgentConfigInput>();
  mesh = await Mesh.start({
    reload: true,
    only: ['alpha', 'beta'],
    semiSync: ['alpha', 'beta'],
    configure: (config) => {
      whole.set(config.region, structuredClone(config));
      if (config.region === 'gamma') return;
      config.members = config.members.filter(({ name }) => name !== 'gamma');
      config.peers = config.peers!.filter(({ region }) => region !== 'gamma');
    },
  });
  const [alpha, beta, gamma] = ['alpha', 'beta', 'gamma'].map((name) => mesh.region(name));
  const agents = [alpha!, beta!];
  const pids = agents.map(({ agent }) => agent.pid);
  const client = alpha!.client();
  let written = 0;
  let isDone = false;
  const writer = (async () => {
    while (!isDone) {
      await until(
        () =>
          client.rpush('log', written).then(
            () => true,
            (error: Error) => {
              if (/^NOREPLICAS/.test(error.message)) return false;
              throw error;
            },
          ),
        20_000,
        () => 'writes are refused',
      );
      written++;
    }
  })();
  for (const region of agents) region.configure((config) => Object.assign(config, whole.get(region.name)));
  await gamma!.startRedis();
  gamma!.startAgent();
  await mesh.ready();
  isDone = true;
  await writer;
  await mesh.waitEqual();
  expect(await gamma!.client().lrange('log', 0, -1)).toEqual(Array.from({ length: written }, (_, i) => String(i)));
  expect(agents.map(({ agent }) => agent.pid)).toEqual(pids);
  expect(agents.every((region) => region.tail(100).includes('the config file has changed: beginning anew'))).toBe(true);

  // What is no config is told, and changes nothing.
  writeFileSync(beta!.layout.agent.config, '{"region": ');
  await until(
    () => Promise.resolve(/"level":"error".*the config file has changed and is not good/.test(beta!.tail(100))),
    20_000,
    () => beta!.tail(10),
  );
  await client.set('after', 1);
  await mesh.waitEqual();
  expect(beta!.agent.pid).toBe(pids[1]);
}, 120_000);
