import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { packageRoot } from './package-root';
import { checkPortsFree } from './ports';
import { type StackStatus } from './status';
import { Cleanup, Meridian, Running, TestRedis, freeBasePort, lives, redisBinary, until } from './testing';

// The whole command, as a process of its own, with real servers. Without agents: what is tested is who starts, watches and
// ends what.

jest.setTimeout(180_000);

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** A folder with a stack of two regions that can be started in it. */
async function newStack(regions = 2): Promise<{ meridian: Meridian; base: number; up: string[]; stateDir: string }> {
  const dir = cleanup.dir();
  const meridian = new Meridian(dir);
  const base = await freeBasePort(regions * 10);
  cleanup.add(() => meridian.run('down', '--purge'));
  return {
    meridian,
    base,
    up: ['up', '--no-agents', '--regions', String(regions), '--base-port', String(base)],
    stateDir: path.join(dir, '.meridian', 'local'),
  };
}

function pidsOf(meridian: Meridian): number[] {
  return Object.values(meridian.state().processes).map(({ pid }) => pid);
}

const { flavour, version } = redisBinary();
const hasFunctions = Number.parseFloat(version) >= 7;
const whenFunctions = hasFunctions ? test : test.skip;

/** Starts in the foreground, and waits until it says that it is ready. */
async function foreground(meridian: Meridian, up: readonly string[]): Promise<Running> {
  const running = new Running(meridian.spawn(up));
  cleanup.add(async () => {
    running.child.kill('SIGTERM');
    await running.ended;
  });
  await until(
    `ready: ${up.join(' ')}`,
    () => /regions are ready/.test(running.stdout) || running.child.exitCode !== null,
    60_000,
  );
  expect(running.stderr).toBe('');
  return running;
}

whenFunctions(
  `verify tells which libraries of functions differ, and never their code${hasFunctions ? '' : ` (skipped: ${flavour} ${version} has none)`}`,
  async () => {
    const { meridian, up } = await newStack();
    await meridian.json(...up, '--detach');
    const code = (name: string, result: string): string =>
      `#!lua name=${name}\nredis.register_function('${name}', function() return '${result}' end)`;
    const load = async (region: string, name: string, result: string): Promise<void> => {
      const { status, stdout } = await meridian.run('cli', region, 'FUNCTION', 'LOAD', 'REPLACE', code(name, result));
      expect([status, stdout.trim()]).toEqual([0, expect.stringContaining(name)]);
    };
    const verify = async (...args: string[]): Promise<{ status: number; stdout: string }> => {
      const { status, stdout } = await meridian.run('verify', ...args);
      expect(stdout.toLowerCase()).not.toMatch(/secret|register/);
      return { status, stdout };
    };
    expect(await verify()).toEqual({ status: 0, stdout: expect.stringMatching(/^Equal: 0 keys in 2 regions/) });
    await load('us-west-2', 'one', 'secret');
    await load('us-west-2', 'two', 'secret');
    await load('eu-central-1', 'two', 'SECRET');
    const { status, stdout } = await verify();
    expect(status).toBe(1);
    const lines = stdout.trim().split('\n');
    expect(lines[0]).toMatch(/^Different: 0 of 0 keys and 2 of 2 libraries of functions in 2 regions compared in /);
    const size = String(code('one', 'secret').length);
    expect(lines.slice(1).map((line) => line.trim().split(/ +/))).toEqual([
      [''],
      ['library', 'one'],
      ['REGION', 'ENGINE', 'SIZE', 'FUNCTIONS', 'DIGEST'],
      ['us-west-2', 'LUA', size, '1', expect.stringMatching(/^[0-9a-f]{16}$/)],
      ['eu-central-1', 'missing'],
      [''],
      ['library', 'two'],
      ['REGION', 'ENGINE', 'SIZE', 'FUNCTIONS', 'DIGEST'],
      ['us-west-2', 'LUA', size, '1', expect.stringMatching(/^[0-9a-f]{16}$/)],
      ['eu-central-1', 'LUA', size, '1', expect.stringMatching(/^[0-9a-f]{16}$/)],
    ]);
    expect((await verify('--limit', '1')).stdout).toContain('and 1 more of the libraries');
    const json = await verify('--json');
    expect(json.status).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({
      equal: false,
      differing: 0,
      differences: [],
      libraries: { compared: 2, differing: 2, without: [], differences: [{ name: 'one' }, { name: 'two' }] },
    });
    // Waited for as keys are.
    const waiting = verify('--wait', '60');
    await load('eu-central-1', 'one', 'secret');
    await load('eu-central-1', 'two', 'secret');
    expect(await waiting).toEqual({
      status: 0,
      stdout: expect.stringMatching(/^Equal: 0 keys and 2 libraries of functions in 2 regions compared in /),
    });
  },
);

test('up, use, break, verify, down: the data stays, and purge removes it', async () => {
  const { meridian, up, base, stateDir } = await newStack();
  const ready = await meridian.json<StackStatus & { passwordFile: string; readyMs: number }>(
    ...up,
    '--detach',
    '--replicas',
    '1',
  );
  expect(ready.regions.map(({ name, redis }) => [name, redis.port])).toEqual([
    ['us-west-2', base],
    ['eu-central-1', base + 10],
  ]);
  expect(statSync(ready.passwordFile).mode & 0o777).toBe(0o600);

  // Exactly the documented form.
  const status = await meridian.json<StackStatus>('status');
  expect(Object.keys(status)).toEqual(['stack', 'regions', 'converged']);
  expect(Object.keys(status.regions[0] ?? {})).toEqual([
    ...['name', 'weight', 'redis', 'replicas', 'agent', 'links', 'dryRun'],
  ]);
  expect(status.regions[0]).toMatchObject({
    redis: { host: '127.0.0.1', port: base, pid: expect.any(Number) },
    replicas: [{ host: '127.0.0.1', port: base + 1, pid: expect.any(Number) }],
    agent: { admin: null, pid: null, state: 'off' },
  });

  // From nobody's folder.
  const elsewhere = new Meridian(cleanup.dir());
  expect((await elsewhere.run('status')).stderr).toMatch(/start it with `meridian up`, or go to the folder where /);

  // A command reaches the region's Redis, with redis-cli or without; replicas follow.
  expect(await meridian.run('cli', 'us-west-2', 'SET', 'greeting', 'hello')).toMatchObject({
    status: 0,
    stdout: 'OK\n',
  });
  const own = new Running(meridian.spawn(['cli', 'us-west-2', 'GET', 'greeting'], { MERIDIAN_NO_REDIS_CLI: '1' }));
  expect([await own.ended, own.stdout]).toEqual([0, '"hello"\n']);

  const different = await meridian.run('verify', '--json');
  expect(different.status).toBe(1);
  expect(JSON.parse(different.stdout)).toMatchObject({
    equal: false,
    differing: 1,
    differences: [{ key: 'greeting' }],
  });
  await meridian.run('cli', 'eu-central-1', 'SET', 'greeting', 'hello');
  expect((await meridian.run('verify')).status).toBe(0);

  // What is killed comes back, with its data.
  const pid = status.regions[0]?.redis.pid ?? 0;
  expect((await meridian.run('fault', 'kill', 'us-west-2', 'redis')).status).toBe(0);
  await until('it ended', () => !lives(pid));
  await until('another runs', async () => {
    const now = (await meridian.json<StackStatus>('status')).regions[0]?.redis.pid;
    return now !== pid && now !== null;
  });
  await until('it has its data', async () =>
    (await meridian.run('cli', 'us-west-2', 'GET', 'greeting')).stdout.includes('hello'),
  );
  expect((await meridian.run('logs', 'us-west-2', 'redis', '--lines', '3')).stdout.trim().split('\n')).toHaveLength(3);

  // A paused process is shown, and goes on when healed.
  expect((await meridian.run('fault', 'pause', 'us-west-2')).stdout).toContain('us-west-2/redis');
  expect((await meridian.run('status')).stdout).toContain('us-west-2/redis is paused');
  expect((await meridian.json<{ faults: unknown[] }>('fault', 'heal')).faults).toEqual([]);

  const pids = pidsOf(meridian);
  expect(pids).toHaveLength(4);
  expect(await meridian.run('down')).toMatchObject({ status: 0, stdout: 'Stack local: stopped.\n' });
  expect(pids.filter(lives)).toEqual([]);
  expect((await meridian.run('status')).status).toBe(1);
  expect((await meridian.run('logs', 'us-west-2', 'redis')).status).toBe(0);

  await meridian.run(...up, '--detach');
  expect((await meridian.run('cli', 'us-west-2', 'GET', 'greeting')).stdout).toContain('hello');
  await meridian.run('down', '--purge');
  expect(existsSync(stateDir)).toBe(false);
});

test('a config of another place, and a region that is forgotten comes back empty', async () => {
  const { meridian, base, stateDir } = await newStack();
  const file = path.join(meridian.cwd, 'two.json');
  const regions = ['a', 'b'].map((name) => ({ name, primary: name === 'a', backend: 'local', replicas: 0 }));
  const write = (basePort: number): void =>
    writeFileSync(file, JSON.stringify({ config: { 'meridian:regions': regions, 'meridian:local': { basePort } } }));
  write(base);
  const up = ['up', '--no-agents', '--detach', '--config', file];
  const ready = await meridian.json<StackStatus>(...up);
  expect(ready.regions.map(({ name, redis }) => [name, redis.port])).toEqual([
    ['a', base],
    ['b', base + 10],
  ]);
  for (const region of ['a', 'b']) await meridian.run('cli', region, 'SET', 'k', region);
  expect((await meridian.run('down', '--forget', 'c')).stdout).toBe(
    'Stack local: stopped.\nThere is nothing of c to remove.\n',
  );
  expect(await meridian.json('down', '--forget', 'b,c')).toMatchObject({ stopped: false, forgotten: ['b'] });
  expect(existsSync(path.join(stateDir, 'regions', 'b'))).toBe(false);
  // The command line is before the config, which then need not fit.
  write(65_535 - 2 * 10);
  const again = await meridian.run(...up, '--regions', 'a,b,c', '--base-port', String(base));
  expect([again.status, again.stderr]).toEqual([0, expect.not.stringContaining('earlier start')]);
  expect((await meridian.run('cli', 'a', 'GET', 'k')).stdout).toContain('a');
  expect((await meridian.run('cli', 'b', 'EXISTS', 'k')).stdout).toBe('0\n');
});

test('files of a running stack that were damaged: each command says what to do, and down still ends it', async () => {
  const { meridian, up, base, stateDir } = await newStack();
  await meridian.json(...up, '--detach');
  const pids = pidsOf(meridian);
  const file = (name: string): string => path.join(stateDir, name);
  const kept = new Map(['control.json', 'password', 'state.json'].map((name) => [name, readFileSync(file(name))]));
  const restore = (name: string): void => writeFileSync(file(name), kept.get(name)!);

  writeFileSync(file('control.json'), '{"port":');
  for (const args of [['status'], ['fault', 'list'], ['fault', 'heal']]) {
    const { status, stderr } = await meridian.run(...args);
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(/^meridian: .*control\.json can't be understood: .*\n$/),
    ]);
  }
  restore('control.json');

  rmSync(file('password'));
  for (const [args, exit] of [
    [['cli', 'us-west-2', 'PING'], 1],
    [['verify'], 2],
  ] as const) {
    const { status, stderr } = await meridian.run(...args);
    expect([status, stderr]).toEqual([exit, expect.stringMatching(/^meridian: A password of .* is missing .*\n$/)]);
  }
  restore('password');

  writeFileSync(file('state.json'), '{"version":');
  expect((await meridian.run('status')).stderr).toMatch(/state\.json can't be understood/);
  expect(await meridian.run('down')).toMatchObject({ status: 0, stdout: 'Stack local: stopped.\n' });
  expect(pids.filter(lives)).toEqual([]);

  // Other regions in the same folder: nobody is to think that the data is gone.
  const other = await meridian.run('up', '--no-agents', '--detach', '--regions', 'x,y', '--base-port', String(base));
  expect([other.status, other.stderr]).toEqual([
    0,
    expect.stringMatching(
      /what an earlier start had in eu-central-1, us-west-2 is left alone: `meridian down --forget eu-central-1,us-west-2`/,
    ),
  ]);
});

test('Ctrl-C ends everything that was started, gracefully, and nothing else', async () => {
  const bystander = await TestRedis.start(cleanup);
  const { meridian, up, stateDir } = await newStack();
  const running = await foreground(meridian, up);
  const pids = pidsOf(meridian);
  expect(pids.filter(lives)).toHaveLength(2);
  // As a terminal does: to the whole group.
  process.kill(-(running.child.pid ?? 0), 'SIGINT');
  expect(await running.ended).toBe(0);
  expect(pids.filter(lives)).toEqual([]);
  expect(readFileSync(path.join(stateDir, 'regions', 'us-west-2', 'redis.log'), 'utf8')).toContain('ready to exit');
  expect(await bystander.call('PING')).toBe('PONG');
  expect(existsSync(path.join(stateDir, 'lock'))).toBe(false);
});

test('while a stack runs, another start is refused, and so are its ports', async () => {
  const { meridian, up, base } = await newStack();
  const running = await foreground(meridian, up);
  const again = await meridian.run(...up);
  expect(again.status).toBe(1);
  expect(again.stderr).toMatch(/^meridian: Stack 'local' is running already \(supervisor \d+, .*meridian down`\.\n$/);
  // Of another stack's folder that stack is named.
  const other = await meridian.run('up', '--stack', 'other', '--state-dir', '.meridian/local');
  expect([other.status, other.stderr]).toEqual([
    1,
    expect.stringMatching(/local belongs to stack 'local', which runs .*, not to 'other': .*`meridian down`\.\n$/),
  ]);
  expect((await meridian.run(...up, '--detach')).stderr).toBe(again.stderr);
  const elsewhere = await meridian.run(...up, '--state-dir', cleanup.dir());
  expect(elsewhere.status).toBe(1);
  expect(elsewhere.stderr).toMatch(
    new RegExp(`^meridian: Port ${base} \\(Redis of us-west-2\\) is in use.*--base-port\\.\n$`),
  );
  if (process.platform === 'linux') expect(elsewhere.stderr).toContain(String(pidsOf(meridian)[0]));
  // The first one didn't notice.
  expect(pidsOf(meridian).filter(lives)).toHaveLength(2);
  expect(running.child.exitCode).toBeNull();
});

test('a port that somebody else has: one sentence, and nothing is left running', async () => {
  const { meridian, up, base, stateDir } = await newStack();
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(base + 10, '127.0.0.1', resolve));
  cleanup.add(() => new Promise((resolve) => server.close(resolve)));
  const { status, stderr, stdout } = await meridian.run(...up, '--detach', '--json');
  expect(status).toBe(1);
  expect(stderr).toMatch(new RegExp(`^meridian: Port ${base + 10} \\(Redis of eu-central-1\\) is in use .*\n$`));
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'PORT_IN_USE' } });
  expect(existsSync(path.join(stateDir, 'lock'))).toBe(false);
});

describe('after the supervisor was killed', () => {
  async function orphaned(): Promise<Awaited<ReturnType<typeof newStack>> & { pids: number[] }> {
    const stack = await newStack();
    const { supervisor } = await stack.meridian.json<{ supervisor: number }>(...stack.up, '--detach');
    const pids = pidsOf(stack.meridian);
    process.kill(supervisor, 'SIGKILL');
    await until('the supervisor ended', () => !lives(supervisor));
    expect(pids.filter(lives)).toHaveLength(2);
    return { ...stack, pids };
  }

  test('down ends what it left behind, but no process that only has the same number', async () => {
    const { meridian, pids, stateDir } = await orphaned();
    const stranger = await TestRedis.start(cleanup);
    const file = path.join(stateDir, 'state.json');
    const state = JSON.parse(readFileSync(file, 'utf8'));
    state.processes['us-west-2/replica-1'] = { ...state.processes['us-west-2/redis'], pid: stranger.process.pid };
    writeFileSync(file, JSON.stringify(state));
    expect((await meridian.run('status')).stdout).toContain('its supervisor does not answer');
    const { status, stdout } = await meridian.run('down');
    expect([status, stdout]).toEqual([
      0,
      'Stack local: its supervisor had been killed; stopped what it left behind: us-west-2/redis, eu-central-1/redis.\n',
    ]);
    expect(pids.filter(lives)).toEqual([]);
    expect(await stranger.call('PING')).toBe('PONG');
    expect(await meridian.run('down')).toMatchObject({ status: 0, stdout: 'Stack local: was not running.\n' });
  });

  test('up goes on with them, and watches them from then on', async () => {
    const { meridian, up, pids } = await orphaned();
    const { stderr, status } = await meridian.run(...up, '--detach');
    expect([status, stderr]).toEqual([
      0,
      expect.stringContaining('taking over: us-west-2/redis, eu-central-1/redis; ending first: none'),
    ]);
    expect(pidsOf(meridian)).toEqual(pids);
    process.kill(pids[0] ?? 0, 'SIGKILL');
    await until('another runs', () => pidsOf(meridian)[0] !== pids[0]);
    await meridian.run('down');
    expect([...pids, ...pidsOf(meridian)].filter(lives)).toEqual([]);
  });

  test('up with another config ends them first', async () => {
    const { meridian, up, pids } = await orphaned();
    const { stderr, status } = await meridian.run(...up.slice(0, -1), String(await freeBasePort(20)), '--detach');
    expect([status, stderr]).toEqual([
      0,
      expect.stringContaining('taking over: none; ending first: us-west-2/redis, eu-central-1/redis'),
    ]);
    expect(pids.filter(lives)).toEqual([]);
    expect(pidsOf(meridian).filter(lives)).toHaveLength(2);
  });
});

test('a Redis that can not start: one sentence with the end of its log, and nothing is left running', async () => {
  const { meridian, up, stateDir } = await newStack();
  await meridian.run(...up, '--detach');
  await meridian.run('down');
  const aof = path.join(stateDir, 'regions', 'us-west-2', 'redis', 'appendonlydir', 'appendonly.aof.manifest');
  writeFileSync(aof, 'nonsense\n');
  const { status, stderr } = await meridian.run(...up, '--detach');
  expect(status).toBe(1);
  expect(stderr).toMatch(
    /meridian: us-west-2\/redis does not start: it ended with status 1, and the last line of its log is ".+"; see .+redis\.log\.\n$/,
  );
  expect(pidsOf(meridian).filter(lives)).toEqual([]);
});

test('a second Ctrl-C waits for nobody', async () => {
  const { meridian, base } = await newStack(3);
  const running = await foreground(meridian, ['up', '--base-port', String(base)]);
  const pids = pidsOf(meridian);
  expect(pids).toHaveLength(6);
  running.child.kill('SIGINT');
  await sleep(20);
  running.child.kill('SIGINT');
  expect(await running.ended).toBe(0);
  await until('all ended', () => pids.filter(lives).length === 0);
});

test.each([0, 150, 300, 600, 1200])(
  'a signal %d ms after the first process runs ends the start, and all of it',
  async (delayMs) => {
    const { meridian, base, stateDir } = await newStack(3);
    const running = new Running(meridian.spawn(['up', '--base-port', String(base)]));
    cleanup.add(() => running.child.kill('SIGKILL'));
    await until('something runs', () => existsSync(path.join(stateDir, 'state.json')) && pidsOf(meridian).length > 0);
    await sleep(delayMs);
    running.child.kill('SIGTERM');
    expect(await running.ended).toBe(0);
    expect(pidsOf(meridian)).toEqual([]);
    await checkPortsFree(Array.from({ length: 30 }, (_, i) => ({ port: base + i, use: 'nobody' })));
  },
);

test('a state dir that is removed under a running stack: it still ends what it started', async () => {
  const { meridian, up, stateDir } = await newStack();
  const running = await foreground(meridian, up);
  const pids = pidsOf(meridian);
  rmSync(stateDir, { recursive: true });
  running.child.kill('SIGTERM');
  expect(await running.ended).toBe(0);
  expect(pids.filter(lives)).toEqual([]);
});

describe('one sentence, and a status other than 0', () => {
  let meridian: Meridian;
  beforeEach(() => {
    meridian = new Meridian(cleanup.dir());
  });

  const cases: [what: string, args: string[], message: RegExp][] = [
    ['an unknown stack', ['up', '--stack', 'nowhere'], /There is no Pulumi\.nowhere\.yaml in .*--stack/],
    ['a stack name that is a path', ['up', '--stack', '../x'], /no name of a stack/],
    ['a config that is not there', ['up', '--config', 'none.yaml'], /none\.yaml can't be read: .*ENOENT/],
    ['a region that is a path', ['down', '--forget', '../x'], /'\.\.\/x' is no name of a region/],
    ['a stack of a cloud', ['up', '--stack', 'prod'], /Stack 'prod' runs on .* `pulumi up` deploys/],
    [
      'a missing program',
      ['up', '--redis-server', '/nowhere/redis-server'],
      /--redis-server names '\/nowhere\/redis-server'/,
    ],
    ['a program that is no server', ['up', '--redis-server', process.execPath], /not a Redis or Valkey server/],
    ['one region', ['up', '--regions', '1'], /--regions 1: a number from 2 to 64/],
    [
      'a bad name of a region',
      ['up', '--regions', 'a,B!'],
      /--regions is not a valid config: meridian:regions\[1\]\.name: found "B!"/,
    ],
    ['a bad number of replicas', ['up', '--replicas', 'many'], /--replicas.*whole number from 0 to 5/],
    [
      'too high a port',
      ['up', '--base-port', '65530'],
      /choose a base port \(local\.basePort of the config, or --base-port\) from 1 to 65506\./,
    ],
    ['an unknown option', ['up', '--fast'], /unknown option '--fast'/],
    ['an unknown command', ['upp'], /unknown command 'upp'/],
    ['status of nothing', ['status'], /Stack 'local' is not running .*meridian up/],
    ['verify of nothing', ['verify'], /Stack 'local' is not running/],
    ['logs of nothing', ['logs', 'us-west-2'], /There are no logs of stack 'local'/],
    ['a fault in nothing', ['fault', 'heal'], /Stack 'local' is not running/],
  ];
  test.each(cases)('%s', async (_, args, message) => {
    const { status, stderr, stdout } = await meridian.run(...args);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/\n\s+at /); // no stack trace
    expect(stdout).toBe('');
    expect(status).toBe(args[0] === 'verify' ? 2 : 1);
  });

  test('a broken config: where, what, and what may be there', async () => {
    writeFileSync(
      path.join(meridian.cwd, 'Pulumi.local.yaml'),
      'config:\n  meridian:regions:\n    - {name: a, primary: true, backend: local}\n    - {name: b, backend: local, weight: 1.5}\n',
    );
    const { status, stderr } = await meridian.run('up');
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(
        /Pulumi\.local\.yaml is not a valid config: meridian:regions\[1\]\.weight: found 1\.5; allowed: /,
      ),
    ]);
  });

  test('a state dir that can not be used', async () => {
    const file = path.join(meridian.cwd, 'file');
    writeFileSync(file, '');
    const { status, stderr } = await meridian.run('up', '--state-dir', file);
    expect([status, stderr]).toEqual([1, expect.stringMatching(/--state-dir/)]);
    writeFileSync(path.join(meridian.cwd, 'state.json'), 'nonsense');
    for (const command of ['status', 'down', 'up']) {
      const broken = await meridian.run(command, '--state-dir', meridian.cwd);
      expect([broken.status, broken.stderr]).toEqual([1, expect.stringMatching(/state\.json can't be understood/)]);
    }
  });

  test('a wrong command line: JSON where JSON was asked for; of verify no "different"', async () => {
    const { status, stdout, stderr } = await meridian.run('verify', '--wait', 'soon', '--json');
    const message = "option '--wait <seconds>' argument 'soon' is invalid. Seconds are needed, from 0 to 86400.";
    expect([status, JSON.parse(stdout)]).toEqual([2, { error: { code: 'BAD_ARGUMENT', message } }]);
    expect(stderr).toBe(`meridian: ${message}\n(--help shows how)\n`);
    for (const args of [['--help'], ['verify', '--help'], ['--version']])
      expect(await meridian.run(...args)).toMatchObject({ status: 0, stderr: '' });
  });

  test("what was called by npx advises npx: a package that a program depends on is on nobody's PATH", async () => {
    const running = new Running(meridian.spawn(['status'], { npm_command: 'exec' }));
    expect(await running.ended).toBe(1);
    expect(running.stderr).toContain('start it with `npx meridian up`');
  });

  test('down of nothing is no failure', async () => {
    expect(await meridian.run('down')).toMatchObject({ status: 0, stdout: 'Stack local: was not running.\n' });
  });

  test('an unknown region is answered with those that there are', async () => {
    const { meridian: other, up } = await newStack();
    await other.run(...up, '--detach');
    for (const args of [
      ['cli', 'mars', 'PING'],
      ['logs', 'mars'],
      ['fault', 'pause', 'mars'],
      ['fault', 'partition', 'mars'],
    ]) {
      const { status, stderr } = await other.run(...args);
      expect([status, stderr]).toEqual([
        1,
        "meridian: There is no region 'mars' in this stack: it has us-west-2, eu-central-1.\n",
      ]);
    }
    expect((await other.run('fault', 'partition', 'us-west-2', 'us-west-2')).stderr).toMatch(
      /no link from us-west-2 to itself/,
    );
    expect((await other.run('fault', 'kill', 'us-west-2', 'agent')).stderr).toMatch(/has no agent/);
  });
});

test('npm start ends with its npm, whatever shell runs the script', async () => {
  const { meridian, up, stateDir } = await newStack();
  const args = ['start', '--', ...up.slice(1), '--state-dir', stateDir];
  const env = { ...process.env, MERIDIAN_REDIS_SERVER: redisBinary().path };
  const npm = new Running(spawn('npm', args, { cwd: packageRoot(), env, stdio: ['ignore', 'pipe', 'pipe'] }));
  cleanup.add(() => npm.child.kill('SIGTERM'));
  await until('ready', () => /regions are ready/.test(npm.stdout) || npm.child.exitCode !== null, 60_000);
  const pids = pidsOf(meridian);
  expect(pids).toHaveLength(2);
  npm.child.kill('SIGTERM');
  await npm.ended;
  expect(npm.stdout).toMatch(/ stopped\n$/);
  expect(pids.filter(lives)).toEqual([]);
});

test('output that nobody reads any more does not stop a stack', async () => {
  const { meridian, up } = await newStack();
  const running = await foreground(meridian, up);
  running.child.stdout?.destroy();
  await meridian.run('fault', 'kill', 'us-west-2', 'redis');
  await sleep(500);
  expect(running.child.exitCode).toBeNull();
  expect((await meridian.json<StackStatus>('status')).stack).toBe('local');
});
