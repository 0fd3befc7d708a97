/** Looks at keys: the commands, and what their replies say. */
import { type CommandWriter, type Reply, ReplyError } from '../../resp';
import { LinkError } from '../errors';

export interface KeyName {
  db: number;
  /** Latin-1. */
  key: string;
}

/** A key as it was at one moment. */
export interface Look {
  /** DUMP's answer; null: there is no such key. */
  dump: Buffer | null;
  /** Unix time in ms; 0 for none. */
  expireAtMs: number;
}

/** Adds the commands that look at the keys; database 0 is selected behind them. @returns the number of commands */
export function writeLooks(writer: CommandWriter, keys: readonly KeyName[]): number {
  const before = writer.commands;
  let selected = -1;
  for (const { db, key } of keys) {
    const bytes = Buffer.from(key, 'latin1');
    if (db !== selected) writer.command(['SELECT', db]);
    selected = db;
    writer.command(['DUMP', bytes]).command(['PEXPIRETIME', bytes]);
  }
  if (selected > 0) writer.command(['SELECT', 0]);
  return writer.commands - before;
}

/** Visits what `writeLooks`' commands were answered. @throws LinkError where one was refused */
export function readLooks(
  keys: readonly KeyName[],
  replies: readonly Reply[],
  visit: (name: KeyName, look: Look) => void,
): void {
  let at = 0;
  let selected = -1;
  for (const name of keys) {
    if (name.db !== selected) at++;
    selected = name.db;
    const dump = replies[at++];
    const expireAt = replies[at++];
    if (dump instanceof ReplyError || typeof expireAt !== 'number')
      throw new LinkError(
        'PROTOCOL',
        `Redis does not let this agent read keys back: ${expireAt instanceof ReplyError ? expireAt.message : dump instanceof ReplyError ? dump.message : 'PEXPIRETIME (Redis 7.0 and on) gave no number'}; its user needs DUMP and PEXPIRETIME on all keys`,
      );
    visit(name, { dump: Buffer.isBuffer(dump) ? dump : null, expireAtMs: expireAt > 0 ? expireAt : 0 });
  }
}

/** TIME's answer in ms. */
export function timeOf(reply: Reply | undefined): number {
  const [seconds, microseconds] = Array.isArray(reply) ? reply.map(String) : [];
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
