import readline from 'node:readline/promises';

import Redis from 'ioredis';

import { escapeBytes } from './bytes';
import { errorText } from './errors';

export interface ClientOptions {
  readonly host: string;
  readonly port: number;
  readonly password: string;
  /** For the prompt. */
  readonly name: string;
  /** One command; none: ask for one after the other. */
  readonly args: readonly string[];
  readonly json: boolean;
}

/** A small stand-in for redis-cli. @returns its exit status */
export async function runClient(options: ClientOptions): Promise<number> {
  const { host, port, password, args, name, json } = options;
  const redis = new Redis({ host, port, password, lazyConnect: true, retryStrategy: null, maxRetriesPerRequest: 0 });
  redis.on('error', () => undefined); // the command that failed tells
  const run = async (words: readonly string[]): Promise<boolean> => {
    const [command, ...rest] = words;
    if (command === undefined) return true;
    try {
      const reply: unknown = await redis.callBuffer(command, ...rest);
      process.stdout.write(`${json ? JSON.stringify(plain(reply)) : formatReply(reply)}\n`);
      return true;
    } catch (error) {
      process.stdout.write(`(error) ${errorText(error)}\n`);
      return false;
    }
  };
  try {
    await redis.connect();
    if (args.length > 0) return (await run(args)) ? 0 : 1;
    const input = readline.createInterface({
      input: process.stdin,
      output: process.stdout,
      terminal: process.stdin.isTTY,
    });
    input.setPrompt(process.stdin.isTTY ? `${name}> ` : '');
    input.prompt();
    for await (const line of input) {
      const words = splitWords(line);
      if (words === undefined) process.stdout.write('Invalid argument(s): a quote is not closed\n');
      else if (/^(quit|exit)$/i.test(words[0] ?? '')) break;
      else await run(words);
      input.prompt();
    }
    input.close();
    return 0;
  } catch (error) {
    process.stderr.write(`meridian: ${name} at ${host}:${port} can't be reached: ${errorText(error)}\n`);
    return 1;
  } finally {
    redis.disconnect();
  }
}

/** The words of a line, quoted as in redis-cli; undefined when a quote is not closed. */
export function splitWords(line: string): string[] | undefined {
  const words: string[] = [];
  const pattern = /\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"']+))(?=\s|$)/y;
  const trimmed = line.trimEnd();
  while (pattern.lastIndex < trimmed.length) {
    const match = pattern.exec(trimmed);
    if (match === null) return undefined;
    const [, double, single, bare] = match;
    words.push(double === undefined ? (single?.replaceAll("\\'", "'") ?? bare ?? '') : unescape(double));
  }
  return words;
}

function unescape(text: string): string {
  const named: Record<string, string> = { n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07' };
  return text.replace(/\\(?:x([0-9a-f]{2})|(.))/gi, (_, hex: string | undefined, char: string | undefined) =>
    hex === undefined ? (named[char ?? ''] ?? char ?? '') : String.fromCharCode(parseInt(hex, 16)),
  );
}

/** As redis-cli shows a reply at a terminal. */
export function formatReply(reply: unknown, indent = ''): string {
  if (reply === null || reply === undefined) return '(nil)';
  if (typeof reply === 'number' || typeof reply === 'bigint') return `(integer) ${reply}`;
  if (Buffer.isBuffer(reply)) return escapeBytes(reply);
  if (typeof reply === 'string') return reply;
  if (reply instanceof Error) return `(error) ${reply.message}`;
  if (!Array.isArray(reply)) return JSON.stringify(reply);
  if (reply.length === 0) return '(empty array)';
  const width = String(reply.length).length;
  return reply
    .map((item, i) => {
      const label = `${String(i + 1).padStart(width)}) `;
      return `${i === 0 ? '' : indent}${label}${formatReply(item, `${indent}${' '.repeat(label.length)}`)}`;
    })
    .join('\n');
}

function plain(reply: unknown): unknown {
  if (Buffer.isBuffer(reply)) return reply.toString('utf8');
  if (reply instanceof Error) return { error: reply.message };
  return Array.isArray(reply) ? reply.map(plain) : reply;
}
