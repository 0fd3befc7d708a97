import { createHash, randomBytes } from 'node:crypto';

import { LocalError } from './errors';
import { readIfThere, writeAtomically } from './files';
import { type StateDir } from './layout';

export interface Secrets {
  /** Of the user `default`, who may do everything, and of the users of the config. */
  readonly password: string;
  /** Of the user that agents and replicas log in as. */
  readonly agentPassword: string;
}

/** The passwords of a stack, made at its first start and kept in files that only their owner can read. */
export function provideSecrets(dir: StateDir): Secrets {
  return { password: provide(dir.password), agentPassword: provide(dir.agentPassword) };
}

/** The passwords of a stack that was started before; undefined when they are gone. */
function readSecrets(dir: StateDir): Secrets | undefined {
  const [password, agentPassword] = [readIfThere(dir.password), readIfThere(dir.agentPassword)];
  if (password === undefined || agentPassword === undefined) return undefined;
  return { password: password.trim(), agentPassword: agentPassword.trim() };
}

/** @throws LocalError STATE_DIR when it is gone */
export function requirePassword(dir: StateDir): string {
  const password = readSecrets(dir)?.password;
  if (password !== undefined && password !== '') return password;
  throw new LocalError(
    'STATE_DIR',
    `A password of ${dir.root} is missing (${dir.password} or ${dir.agentPassword}): stop the stack with \`meridian down\` and start it again.`,
  );
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function provide(file: string): string {
  const there = readIfThere(file)?.trim();
  if (there !== undefined && there !== '') return there;
  // base64url: nothing that a shell, a URL or redis.conf would read as anything else.
  const secret = randomBytes(24).toString('base64url');
  writeAtomically(file, `${secret}\n`);
  return secret;
}
