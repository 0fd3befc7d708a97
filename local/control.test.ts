import http from 'node:http';
import { readFileSync, statSync, writeFileSync } from 'node:fs';

import { ControlServer, askFault, askView } from './control';
import { Faults } from './faults';
import { type StateDir, stateDirOf } from './layout';
import { LinkProxy } from './proxy';
import { Cleanup } from './testing';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const regions = ['a', 'b', 'c'];

async function running(links: [string, string][]): Promise<{ dir: StateDir; proxies: LinkProxy[] }> {
  const dir = stateDirOf(cleanup.dir());
  const proxies = links.map(([from, to]) => new LinkProxy(from, to, 1));
  const faults = new Faults(regions, proxies, new Map());
  const server = new ControlServer(dir, {
    view: () => ({ ready: true, faults: faults.active(), services: [] }),
    fault: (request) => faults.apply(request),
  });
  await server.listen();
  cleanup.add(() => server.close());
  return { dir, proxies };
}

const mesh: [string, string][] = regions.flatMap((a) =>
  regions.filter((b) => b !== a).map((b): [string, string] => [a, b]),
);

test('breaks links in both directions, tells, and heals all', async () => {
  const { dir, proxies } = await running(mesh);
  expect(await askFault(dir, { action: 'partition', a: 'b', b: 'a' })).toBe('b is cut off from a');
  await askFault(dir, { action: 'delay', a: 'b', b: 'c', ms: 80 });
  expect((await askView(dir))?.faults).toEqual([
    { kind: 'partition', between: ['a', 'b'] },
    { kind: 'delay', between: ['b', 'c'], ms: 80 },
  ]);
  expect(proxies.filter(({ fault }) => fault.cut).map(({ from, to }) => from + to)).toEqual(['ab', 'ba']);
  expect(await askFault(dir, { action: 'heal' })).toBe(
    'healed; it was: a and b are cut off from each other; b and c are 80 ms further apart, each way',
  );
  expect((await askView(dir))?.faults).toEqual([]);
  expect(await askFault(dir, { action: 'heal' })).toBe('nothing was broken');
});

test('one region is cut off from all others', async () => {
  const { dir, proxies } = await running(mesh);
  await askFault(dir, { action: 'partition', a: 'c' });
  expect(
    proxies
      .filter(({ fault }) => fault.cut)
      .map(({ from, to }) => from + to)
      .sort(),
  ).toEqual(['ac', 'bc', 'ca', 'cb']);
});

test('refuses what is not there, with a reason', async () => {
  const { dir } = await running([
    ['a', 'b'],
    ['b', 'a'],
  ]);
  await expect(askFault(dir, { action: 'partition', a: 'x' })).rejects.toMatchObject({ code: 'UNKNOWN_REGION' });
  await expect(askFault(dir, { action: 'delay', a: 'a', b: 'c', ms: 1 })).rejects.toThrow(
    'no direct link in this topology',
  );
  await expect(askFault(dir, { action: 'kill', region: 'a', what: 'redis' })).rejects.toMatchObject({
    code: 'BAD_ARGUMENT',
  });
});

test('answers only whoever can read the token', async () => {
  const { dir } = await running(mesh);
  expect(statSync(dir.control).mode & 0o777).toBe(0o600);
  const { port } = JSON.parse(readFileSync(dir.control, 'utf8'));
  const status = await new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, path: '/view' }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
    request.end();
  });
  expect(status).toBe(401);
});

test('a control file that is damaged: what to do, and no stack trace', async () => {
  const dir = stateDirOf(cleanup.dir());
  for (const text of ['', '{"port":', '{"port":"x"}']) {
    writeFileSync(dir.control, text);
    const damaged = {
      code: 'STATE_DIR',
      message: expect.stringMatching(/control\.json can't be understood: stop the/),
    };
    await expect(askView(dir)).rejects.toMatchObject(damaged);
    await expect(askFault(dir, { action: 'heal' })).rejects.toMatchObject(damaged);
  }
});

test('without a supervisor there is no view, and no fault', async () => {
  const dir = stateDirOf(cleanup.dir());
  expect(await askView(dir)).toBeUndefined();
  await expect(askFault(dir, { action: 'heal' })).resolves.toBeUndefined();
});
