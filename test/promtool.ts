/** Prometheus' own checker of rules, where there is one. `npm test` fetches it (scripts/promtool.mjs). */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stringify } from 'yaml';

const cached = path.join(__dirname, '../node_modules/.cache/promtool/usr/bin/promtool');
const candidates = [process.env['MERIDIAN_PROMTOOL'], 'promtool', cached].filter((name) => name !== undefined);

/** The program, or undefined. */
export const promtool = candidates.find((name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0);

/** What a test that can't run says. */
export const promtoolMissing =
  promtool === undefined ? " (skipped: no promtool; install Debian's or Homebrew's `prometheus`)" : '';

/**
 * Runs promtool in a folder with these files, as YAML.
 * @returns its output, and whether it is content
 */
export function runPromtool(
  files: Readonly<Record<string, unknown>>,
  ...args: readonly string[]
): { ok: boolean; output: string } {
  const dir = mkdtempSync(path.join(tmpdir(), 'meridian-promtool-'));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(path.join(dir, name), stringify(content));
    const run = spawnSync(promtool ?? 'promtool', args, { cwd: dir, encoding: 'utf8', timeout: 60_000 });
    return { ok: run.status === 0, output: `${run.stdout}${run.stderr}` };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
