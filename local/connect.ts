import path from 'node:path';

import { type StateDir, type StackLayout } from './layout';
import { packageRoot } from './package-root';

/** How the reader of a message can call this program: from a checkout, or of a package that a program depends on, it is on nobody's PATH. */
function programName(): string {
  return process.env['npm_command'] === 'exec' || process.cwd() === packageRoot() ? 'npx meridian' : 'meridian';
}

/** A path as short as it can be said from the current folder. */
function shortPath(file: string): string {
  const relative = path.relative(process.cwd(), file);
  return relative !== '' && !relative.startsWith('..') ? relative : file;
}

/** How to reach a stack's regions, for a person. The password itself is never printed. */
export function renderConnect(layout: StackLayout): string[] {
  const password = shortPath(layout.dir.password);
  const [first] = layout.regions;
  const ports = layout.regions.map((region) => `${region.name} ${region.redis.port}`).join(', ');
  return [
    `  Connect   ${commandOf('cli', layout.stack, layout.dir)} ${first?.name}`,
    `            REDISCLI_AUTH=$(cat ${quoteForShell(password)}) redis-cli -p ${first?.redis.port}   (ports: ${ports})`,
    `            redis://default:PASSWORD@127.0.0.1:${first?.redis.port}, with the password in ${password}`,
  ];
}

/** What to type for a subcommand of the same stack. */
export function commandOf(subcommand: string, stack: string, dir: StateDir): string {
  return `${programName()} ${subcommand}${stackOptions(stack, dir)}`;
}

/** The options by which another command finds the same stack. */
function stackOptions(stack: string, dir: StateDir): string {
  const isUsual = dir.root === path.resolve('.meridian', stack);
  return `${stack === 'local' ? '' : ` --stack ${stack}`}${isUsual ? '' : ` --state-dir ${quoteForShell(shortPath(dir.root))}`}`;
}

function quoteForShell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
