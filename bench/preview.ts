/** How a stack's program grows with its regions: time, resources, links. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

import { renderTable } from '../local/table';

const run = promisify(execFile);

export interface Preview {
  readonly stack: string;
  readonly regions: number;
  /** Registered with the engine, components included. */
  readonly resources: number;
  /** Pairs of regions, both ways. */
  readonly links: number;
  /** From the program's start until every resource is registered; loading the components' code is not in it, nor are an engine and its providers. */
  readonly seconds: number;
  /** The most memory of the process. */
  readonly rssBytes: number;
}

/** One after the other, each in a process of its own. */
export async function measurePreviews(stacks: readonly string[], sizes: readonly number[]): Promise<Preview[]> {
  const previews: Preview[] = [];
  for (const stack of stacks)
    for (const size of sizes) {
      const { stdout } = await run(process.execPath, [path.join(__dirname, 'preview-run.js'), stack, String(size)]);
      previews.push(JSON.parse(stdout) as Preview);
    }
  return previews;
}

export function renderPreviews(previews: readonly Preview[]): string[] {
  const columns = ['REGIONS', 'RESOURCES', 'LINKS', 'SECONDS', 'MEMORY'].map((title) => ({ title, right: true }));
  const rows = previews.map(({ stack, regions, resources, links, seconds, rssBytes }) => [
    stack,
    ...[regions, resources, links].map(String),
    seconds.toFixed(1),
    `${Math.round(rssBytes / 2 ** 20)} MB`,
  ]);
  return renderTable([{ title: 'STACK' }, ...columns], rows);
}
