import { readFileSync } from 'node:fs';
import path from 'node:path';

/** The scripts, each a file in scripts/, so that a test can run what a pod runs. */
const scriptNames = [
  'hand-over.sh',
  'lib.sh',
  'probe.sh',
  'redis-start.sh',
  'role.cjs',
  'sentinel-start.sh',
  'slots.sh',
  'sysctls.sh',
] as const;
export type ScriptName = (typeof scriptNames)[number];

export const scriptsDir = path.join(__dirname, 'scripts');

/** Their text, by name: the data of a ConfigMap. */
export function readScripts(): Record<ScriptName, string> {
  const texts = scriptNames.map((name) => [name, readFileSync(path.join(scriptsDir, name), 'utf8')] as const);
  return Object.fromEntries(texts) as Record<ScriptName, string>;
}
