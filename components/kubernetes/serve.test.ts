import { spawn, spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import path from 'node:path';

import { end, until } from '../testing/redis';
import { scriptsDir } from './scripts';

// `serve` of lib.sh, as the first process of a pid namespace, as in a container.

const unshare = ['--user', '--map-root-user', '--pid', '--fork', '--mount-proc', '--kill-child'];
const canUnshare = spawnSync('unshare', [...unshare, 'true']).status === 0;
const inContainer = canUnshare ? test : test.skip;

/** Runs a script of which `serve` is the end. */
function start(server: string) {
  const script = `. '${path.join(scriptsDir, 'lib.sh')}'; serve sh -c '${server}'`;
  const child = spawn('unshare', [...unshare, 'sh', '-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const state = { child, output: '' };
  child.stdout.on('data', (chunk: Buffer) => (state.output += String(chunk)));
  return state;
}

inContainer('what probes leave behind is taken in', async () => {
  // Ten orphans that end while a server runs that knows nothing of them; zombies are what is left of them.
  const orphans = 'for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.1 &) ; done';
  const zombies = 'grep -l "^State:.Z" /proc/[0-9]*/status 2>/dev/null | wc -l';
  const started = start(`${orphans}; (sleep 0.6; ${zombies}) & exec sleep 1`);
  await until('the server has ended', () => started.child.exitCode !== null);
  expect(started.output.trim()).toBe('0');
});

inContainer('a signal reaches the server, which ends in its own time and with its own status', async () => {
  const started = start('trap "sleep 0.3; exit 7" TERM; echo ready; while :; do sleep 0.1; done');
  try {
    await until('the server runs', () => started.output.includes('ready'));
    // The child of unshare is the first process of the namespace.
    spawnSync('pkill', ['-TERM', '-P', String(started.child.pid)]);
    await sleep(100);
    expect(started.child.exitCode).toBeNull();
    await until('the server has ended', () => started.child.exitCode !== null);
    expect(started.child.exitCode).toBe(7);
  } finally {
    await end(started.child);
  }
});
