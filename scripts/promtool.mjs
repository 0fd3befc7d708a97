// promtool, for the tests of alert rules: where there is none and apt has it, Debian's package is unpacked (not installed: it would
// start a server) under node_modules/.cache. Without it those tests are skipped. MERIDIAN_PROMTOOL names one, MERIDIAN_NO_INSTALL=1 forbids it.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const cache = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../node_modules/.cache/promtool');
const runs = (program, args, options) =>
  spawnSync(program, args, { stdio: ['ignore', 'ignore', 'ignore'], timeout: 120_000, ...options }).status === 0;

/** @param {(line: string) => void} say told what is done, and what a person may do instead */
export function providePromtool(say) {
  const places = [process.env.MERIDIAN_PROMTOOL, 'promtool', path.join(cache, 'usr/bin/promtool')].filter(Boolean);
  if (places.some((program) => runs(program, ['--version']))) return;
  const advice = "install `prometheus` (Debian, Homebrew), or set MERIDIAN_PROMTOOL; alert rules' tests are skipped";
  if (process.env.MERIDIAN_NO_INSTALL === '1' || !runs('apt-get', ['--version']))
    return say(`no promtool here: ${advice}`);
  say('no promtool here: fetching it with apt-get (MERIDIAN_NO_INSTALL=1 forbids it) …');
  fs.mkdirSync(cache, { recursive: true });
  const download = () => runs('apt-get', ['download', '-q', 'prometheus'], { cwd: cache });
  // The lists of packages may be missing; only root can fetch them.
  if (!download() && !(runs('apt-get', ['update', '-q']) && download())) return say(`no promtool to be had: ${advice}`);
  for (const file of fs.readdirSync(cache).filter((name) => name.endsWith('.deb'))) {
    runs('dpkg-deb', ['-x', file, '.'], { cwd: cache });
    fs.rmSync(path.join(cache, file));
  }
}
