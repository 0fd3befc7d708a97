/** FUNCTION commands, as a stream has them: as the client sent them. https://redis.io/docs/latest/commands/function-load/ */
import { decodeFunctionDump, RdbError } from '../capture/rdb';
import { type Args, argText } from './args';

export type FunctionChange =
  | { readonly kind: 'load'; /** Latin-1. */ readonly name: string; readonly code: Buffer }
  | { readonly kind: 'delete'; readonly name: string }
  | { readonly kind: 'flush' };

/** @returns what it does, in order; null for a form that is not understood */
export function decodeFunction(args: Args): FunctionChange[] | null {
  const { argc } = args;
  const bytes = (i: number): Buffer => Buffer.from(args.buf.subarray(args.argStart[i], args.argEnd[i]));
  switch (argc < 2 ? '' : argText(args, 1).toUpperCase()) {
    case 'LOAD': {
      // FUNCTION LOAD [REPLACE] code
      if (argc < 3 || argc > 4) return null;
      return loads([bytes(argc - 1)]);
    }
    case 'DELETE':
      return argc === 3 ? [{ kind: 'delete', name: argText(args, 2) }] : null;
    case 'FLUSH':
      return [{ kind: 'flush' }];
    case 'RESTORE': {
      // FUNCTION RESTORE payload [FLUSH | APPEND | REPLACE]: what stands in the stream succeeded where it ran.
      if (argc < 3 || argc > 4) return null;
      try {
        const changes = loads(decodeFunctionDump(bytes(2)));
        const isFlush = argc === 4 && argText(args, 3).toUpperCase() === 'FLUSH';
        return changes !== null && isFlush ? [{ kind: 'flush' }, ...changes] : changes;
      } catch (error) {
        if (error instanceof RdbError) return null;
        throw error;
      }
    }
    default:
      return null;
  }
}

function loads(codes: readonly Buffer[]): FunctionChange[] | null {
  const changes: FunctionChange[] = [];
  for (const code of codes) {
    const name = libraryName(code);
    if (name === null) return null;
    changes.push({ kind: 'load', name, code });
  }
  return changes;
}

/** The name in a library's first line, `#!lua name=mylib`, in Latin-1; null: it has none. */
export function libraryName(code: Buffer): string | null {
  const end = code.indexOf(10);
  const line = code.toString('latin1', 0, end < 0 ? code.length : end);
  if (!line.startsWith('#!')) return null;
  for (const word of line.slice(2).trim().split(/\s+/).slice(1)) {
    const text = word.replace(/["']/g, '');
    if (/^name=/i.test(text)) return text.slice(5);
  }
  return null;
}

const FUNCTION = Buffer.from('$8\r\n');
const NAME = Buffer.from('function\r\n');

/** Whether a record may hold a FUNCTION command. */
export function mayChangeLibraries(payload: Buffer): boolean {
  for (let at = payload.indexOf(FUNCTION); at >= 0; at = payload.indexOf(FUNCTION, at + 4)) {
    let i = 0;
    while (i < NAME.length && ((payload[at + 4 + i] ?? 0) | (i < 8 ? 0x20 : 0)) === NAME[i]) i++;
    if (i === NAME.length) return true;
  }
  return false;
}
