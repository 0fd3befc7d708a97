/** One preview of a stack's program in a process of its own, with no engine and no cloud: `node preview-run.js STACK REGIONS`. Prints a Preview. */
import path from 'node:path';

// Loaded before the clock starts: every stack waits for it, however many regions it has.
import '../components';
import { record } from '../components/recording';
import type * as Program from '../index';
import { readConfig } from '../render/stackfile';
import { type Preview } from './preview';
import { withRegionCount } from './regions';

async function main([stack = '', count = '']: readonly string[]): Promise<void> {
  const regions = Number(count);
  const root = path.resolve(__dirname, '../..');
  const config = withRegionCount(readConfig(path.join(root, `Pulumi.${stack}.yaml`)), regions);
  const started = performance.now();
  const { result, resources } = await record(load, { stack, config, outputs });
  const ms = performance.now() - started;
  const { peerLinks } = result;
  const preview: Preview = {
    stack,
    regions,
    resources: resources.length,
    links: Object.values(peerLinks).flat().length,
    seconds: ms / 1000,
    rssBytes: process.resourceUsage().maxRSS * 1024,
  };
  process.stdout.write(`${JSON.stringify(preview)}\n`);
}

/** The program reads the config when it is loaded. */
function load(): typeof Program {
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  return require('../index') as typeof Program;
}

/** What providers make up, of about the size that it has. */
function outputs(type: string, name: string): Record<string, unknown> {
  if (type.endsWith(':RandomPassword')) return { result: 'aB3'.repeat(10) };
  if (type.startsWith('tls:'))
    return { privateKeyPem: name.padEnd(230), certPem: name.padEnd(700), certRequestPem: name.padEnd(400) };
  return {};
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
});
