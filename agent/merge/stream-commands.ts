/**
 * Commands on streams, in the terms of the merge rule (the rule: stream-entries.ts).
 *
 * `XADD *` arrives with the ID that it got, `~` as the exact limit that it came to. How many entries MAXLEN leaves depends on what its
 * region held: elsewhere it is left out, and the region that trimmed says where its stream begins (stream-trims.ts).
 */
import { type Args, argText } from './args';
import { Code, findCommand } from './commands';
import type { Effect } from './effects';
import { Type } from './element';
import type { OpRecord } from '../record';
import { CommandScanner, CommandWriter, encodeCommand } from '../resp';
import { parseStreamId } from './stream-id';

/** @returns false for a form that is not understood */
export function decodeStream(code: Code, args: Args, out: Effect[]): boolean {
  const { argc } = args;
  if (argc < 3) return false;
  const key = argText(args, 1);
  switch (code) {
    case Code.xadd:
      return decodeXadd(key, args, out);
    case Code.xdel: {
      const names: string[] = [];
      for (let i = 2; i < argc; i++) {
        const id = parseStreamId(argText(args, i));
        if (id === null) return false;
        names.push(id);
      }
      out.push({ kind: 'remove', key, type: Type.stream, names });
      return true;
    }
    case Code.xdelex: {
      // [KEEPREF|DELREF|ACKED] IDS count id …. Of several it is not told which were acknowledged, and so removed.
      const at = skipOptions(args, 2);
      const isSure = wordAt(args, 2) !== 'ACKED' || argc === at + 3;
      if (!isSure || wordAt(args, at) !== 'IDS') return false;
      const names = Array.from({ length: argc - at - 2 }, (_, i) => parseStreamId(argText(args, at + 2 + i)));
      if (!names.every((id) => id !== null)) return false;
      out.push({ kind: 'remove', key, type: Type.stream, names });
      return true;
    }
    case Code.xtrim: {
      const limit = trimAt(args, 2);
      if (limit === null) return false;
      const effect = limit.effect(key);
      const next = skipOptions(args, limit.next);
      if (effect.kind === 'trim' && wordAt(args, next) === KEEP)
        out.push({ ...effect, keep: Array.from({ length: argc - next - 1 }, (_, i) => argText(args, next + 1 + i)) });
      else if (next === argc) out.push(effect);
      else return false;
      return true;
    }
    case Code.xsetid: {
      const id = parseStreamId(argText(args, 2));
      if (id === null) return false;
      out.push({ kind: 'lastId', key, id });
      return true;
    }
    case Code.xgroup: {
      const isNew = argc >= 6 && argText(args, 1).toUpperCase() === 'CREATE';
      let makesKey = false;
      for (let i = 5; isNew && i < argc; i++) makesKey ||= argText(args, i).toUpperCase() === 'MKSTREAM';
      out.push({ kind: 'group', key: argText(args, 2), makesKey });
      return true;
    }
    case Code.xclaim:
      out.push({ kind: 'group', key, makesKey: false });
      return true;
    default:
      return false;
  }
}

function decodeXadd(key: string, args: Args, out: Effect[]): boolean {
  const { argc } = args;
  let trim: Effect | null = null;
  let i = 2;
  for (; i < argc;) {
    const limit = trimAt(args, i);
    if (limit !== null) {
      trim = limit.effect(key);
      i = limit.next;
      continue;
    }
    const next = skipOptions(args, i);
    if (next === i) break;
    i = next;
  }
  const fields = argc - i - 1;
  if (fields < 2 || fields % 2 !== 0) return false;
  const id = parseStreamId(argText(args, i));
  if (id === null) return false;
  // The arguments as they stand there, in RESP.
  const value = args.buf.subarray(args.argEnd[i]! + 2, args.argEnd[argc - 1]! + 2);
  out.push({ kind: 'put', key, type: Type.stream, names: [id], values: [value] });
  if (trim !== null) out.push(trim);
  return true;
}

/** MAXLEN or MINID [=|~] threshold [LIMIT count] from argument `i` on. */
function trimAt(args: Args, i: number): { effect: (key: string) => Effect; next: number } | null {
  const word = wordAt(args, i);
  if (word !== 'MAXLEN' && word !== 'MINID') return null;
  let at = i + 1;
  const sign = wordAt(args, at);
  if (sign === '=' || sign === '~') at++;
  if (at >= args.argc) return null;
  const threshold = argText(args, at);
  const next = wordAt(args, at + 1) === 'LIMIT' ? at + 3 : at + 1;
  if (word === 'MAXLEN')
    return {
      next,
      effect: (key) => (/^0+$/.test(threshold) ? { kind: 'trim', key, minId: null, keep: [] } : { kind: 'cap', key }),
    };
  const minId = parseStreamId(threshold);
  return minId === null ? null : { next, effect: (key) => ({ kind: 'trim', key, minId, keep: [] }) };
}

/** Behind options that say nothing of the entries' value: references of groups (8.2), identity of the producer (8.6). */
function skipOptions(args: Args, from: number): number {
  for (let i = from; ; i++)
    switch (wordAt(args, i)) {
      case 'NOMKSTREAM':
      case 'KEEPREF':
      case 'DELREF':
      case 'ACKED':
        continue;
      case 'IDMPAUTO':
        i++;
        continue;
      case 'IDMP':
        i += 2;
        continue;
      default:
        return i;
    }
}

function wordAt(args: Args, i: number): string {
  if (i >= args.argc || args.argEnd[i]! - args.argStart[i]! > 10) return '';
  return argText(args, i).toUpperCase();
}

/** Whether a command says the same whatever stream it meets, and is one that a client may send. */
export function isExactOnStream(code: Code, args: Args): boolean {
  if (code === Code.xadd) {
    const first = args.buf[args.argStart[2]!]!;
    return first >= 48 && first <= 57;
  }
  return code !== Code.xtrim && code !== Code.xdelex;
}

/** Fields and values as they stand in an XADD. */
export function encodeFields(fields: readonly Buffer[]): Buffer {
  const bytes = encodeCommand(fields);
  return bytes.subarray(bytes.indexOf('\r\n') + 2);
}

/** How many they are. */
export function countFields(value: Buffer): number {
  let count = 0;
  for (let at = 0; at < value.length; count++) {
    const end = value.indexOf('\r\n', at);
    at = end + 4 + Number(value.toString('latin1', at + 1, end));
  }
  return count;
}

const WORDS = ['$6\r\nmaxlen', '$5\r\nminid'].map((text) => ({
  head: Buffer.from(text.slice(0, 4)),
  word: Buffer.from(text.slice(4)),
}));

/** Whether a record may hold a trim, which the region that ran it has to look after. */
export function mayTrim(payload: Buffer): boolean {
  return WORDS.some(({ head, word }) => {
    for (let at = payload.indexOf(head); at >= 0; at = payload.indexOf(head, at + 4)) {
      let i = 0;
      while (i < word.length && ((payload[at + 4 + i] ?? 0) | 0x20) === word[i]) i++;
      if (i === word.length) return true;
    }
    return false;
  });
}

/** Where a stream begins that its region has cut, and what it holds below all the same: what came after the cut. */
export interface Beginning {
  readonly first: string;
  readonly keep: readonly string[];
}

/** Not of Redis: only regions tell each other so. */
const KEEP = 'KEEP';

/** What a region says of streams that it has cut, as the payload of a state. */
export function trimReport(beginnings: readonly (Beginning & { readonly key: string })[]): Buffer {
  const writer = new CommandWriter(256);
  for (const { key, first, keep } of beginnings) {
    const more = keep.length === 0 ? [] : [KEEP, ...keep];
    writer.command(['XTRIM', Buffer.from(key, 'latin1'), 'MINID', first, ...more]);
  }
  return writer.take();
}

export function isTrimReport({ payload }: OpRecord): boolean {
  const scanner = new CommandScanner();
  scanner.push(payload);
  return scanner.next() && findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!)?.code === Code.xtrim;
}
