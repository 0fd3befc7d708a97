import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { type StateDir, stateDirOf } from './layout';
import { endProcess, identityOf, isAlive, signal } from './process';
import { type StackState, livingOf, purge, readState, releaseLock, supervisorOf, takeLock, writeState } from './state';
import { Cleanup } from './testing';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const example: StackState = {
  version: 1,
  stack: 'local',
  basePort: 7500,
  agents: true,
  use: 'data',
  conflicts: [],
  regions: [
    {
      name: 'a',
      weight: 100,
      primary: true,
      redis: { service: 'a/redis', host: '127.0.0.1', port: 7500 },
      replicas: [],
      agent: { service: 'a/agent', admin: 'http://127.0.0.1:7509' },
    },
  ],
  processes: {},
};

function stateDir(): StateDir {
  return stateDirOf(cleanup.dir());
}

function sleeper(): number {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  cleanup.add(() => child.kill('SIGKILL'));
  if (child.pid === undefined) throw new Error('sleep could not be started');
  return child.pid;
}

/** A living process under the start time of another: what a file says after the pid was given to somebody else. */
function recycled(): { pid: number; started: string } {
  return { pid: sleeper(), started: 'another time' };
}

test('what is written is read again, by its owner only', () => {
  const dir = stateDir();
  writeState(dir, example);
  expect(readState(dir)).toEqual(example);
  expect(statSync(dir.state).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir.root)).toEqual(['state.json']);
});

test('without a file there is no state', () => {
  expect(readState(stateDir())).toBeUndefined();
});

test.each([
  ['no JSON', '{"stack": '],
  ['of another version', JSON.stringify({ ...example, version: 2 })],
  ['of another form', JSON.stringify({ ...example, regions: 7 })],
])('a state file that is %s is refused with what to do', (_, content) => {
  const dir = stateDir();
  writeFileSync(dir.state, content);
  expect(() => readState(dir)).toThrow(/can't be understood .* remove .* or use another --state-dir/s);
});

test('a file that is a folder is refused with a sentence', () => {
  const dir = stateDir();
  mkdirSync(dir.state);
  expect(() => readState(dir)).toThrow(/can't be read .*--state-dir/);
});

test('a pid that was given to another process counts as gone, and is never signalled', async () => {
  const stranger = recycled();
  expect(isAlive(stranger)).toBe(false);
  expect(livingOf({ ...example, processes: { 'a/redis': stranger } })).toEqual([]);
  expect(signal(stranger, 'SIGKILL')).toBe(false);
  expect(await endProcess(stranger, 100)).toBe('gone');
  expect(identityOf(stranger.pid)).toBeDefined();
});

test('a process that ignores SIGTERM is killed when its time is over', async () => {
  const child = spawn('sh', ['-c', 'trap "" TERM; echo ready; while :; do sleep 0.1; done'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  cleanup.add(() => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const identity = identityOf(child.pid ?? 0);
  if (identity === undefined) throw new Error('no identity');
  expect(await endProcess(identity, 200)).toBe('killed');
  expect(isAlive(identity)).toBe(false);
});

describe('the lock', () => {
  test('is held by one, who is named to the next', () => {
    const dir = stateDir();
    takeLock(dir, 'local');
    expect(supervisorOf(dir)?.pid).toBe(process.pid);
    expect(() => takeLock(dir, 'local')).toThrow(
      `is running already (supervisor ${process.pid}, state in ${dir.root})`,
    );
    releaseLock(dir);
    expect(supervisorOf(dir)).toBeUndefined();
    expect(readdirSync(dir.root)).toEqual([]);
  });

  test.each([
    ['one who has ended', JSON.stringify({ pid: 2 ** 22 + 1, started: 'x' })],
    ['nobody that can be read', 'nonsense'],
  ])('of %s is taken over', (_, content) => {
    const dir = stateDir();
    writeFileSync(dir.lock, content);
    takeLock(dir, 'local');
    expect(supervisorOf(dir)?.pid).toBe(process.pid);
  });

  test('of a pid that was given to another is taken over', () => {
    const dir = stateDir();
    writeFileSync(dir.lock, JSON.stringify(recycled()));
    takeLock(dir, 'local');
    expect(supervisorOf(dir)?.pid).toBe(process.pid);
  });
});

test("purge removes what is ours and leaves a stranger's files", () => {
  const dir = stateDir();
  writeState(dir, example);
  mkdirSync(path.join(dir.regions, 'a'), { recursive: true });
  writeFileSync(`${dir.state}.4711.tmp`, 'half');
  const stranger = path.join(dir.root, 'thesis.txt');
  writeFileSync(stranger, 'years of work');
  purge(dir);
  expect(readdirSync(dir.root)).toEqual(['thesis.txt']);
  expect(existsSync(stranger)).toBe(true);
});
