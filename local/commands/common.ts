import { type StateDir, stateDirOf } from '../layout';
import { stateDirPath } from '../stack';

/** Options of every command. */
export interface CommonOptions {
  readonly stack: string;
  readonly stateDir?: string;
  readonly json?: boolean;
}

export function dirOf(options: CommonOptions): StateDir {
  return stateDirOf(stateDirPath(options.stack, options.stateDir));
}

/** To stdout: a person's lines, or one JSON text. */
export function print(options: CommonOptions, json: unknown, lines: readonly string[]): void {
  process.stdout.write(options.json ? `${JSON.stringify(json)}\n` : lines.map((line) => `${line}\n`).join(''));
}
