/** Libraries of functions in the simulation: their code, which real servers take too, and FUNCTION RESTORE's payload. */
import { encodeDump, RdbOpcode } from '../../agent/capture/rdb';
import { CommandFailed } from './stream';

/** A library's code, valid Lua; `mark` makes it differ from others. */
export function codeOf(name: string, mark: string, functions: readonly string[]): string {
  const lines = functions.map((f) => `redis.register_function('${f}', function() return '${mark}' end)`);
  return [`#!lua name=${name}`, `-- ${mark}`, ...lines].join('\n');
}

export function nameOf(code: string): string {
  return /^#!lua name=(\w+)\n/.exec(code)![1]!;
}

export function functionsOf(code: string): string[] {
  return [...code.matchAll(/register_function\('(\w+)'/g)].map((match) => match[1]!);
}

/** As FUNCTION DUMP has them; code of 64 to 16,383 bytes. */
export function payloadOf(codes: readonly string[]): string {
  const entries = codes.map((code) => {
    const head = [RdbOpcode.FUNCTION2, 0x40 | (code.length >> 8), code.length & 255];
    return Buffer.concat([Buffer.from(head), Buffer.from(code, 'latin1')]);
  });
  const all = Buffer.concat(entries);
  return encodeDump(RdbOpcode.FUNCTION2, all.subarray(1), 9).toString('latin1');
}

/** The codes in such a payload. */
export function codesIn(payload: string): string[] {
  const codes: string[] = [];
  for (let at = 0; at < payload.length - 10;) {
    const length = ((payload.charCodeAt(at + 1) & 0x3f) << 8) | payload.charCodeAt(at + 2);
    codes.push(payload.slice(at + 3, at + 3 + length));
    at += 3 + length;
  }
  return codes;
}

/** What a Redis has of libraries. */
export class Functions {
  private libraries = new Map<string, string>();

  constructor(from?: Functions) {
    if (from !== undefined) this.libraries = new Map(from.libraries);
  }

  /** Code by name. */
  get all(): ReadonlyMap<string, string> {
    return this.libraries;
  }

  /** Runs FUNCTION LOAD, DELETE, FLUSH or RESTORE. @throws CommandFailed */
  run([, sub, ...args]: readonly string[]): string {
    switch (sub!.toUpperCase()) {
      case 'LOAD':
        this.load(args.at(-1)!, args.length > 1, this.libraries);
        return nameOf(args.at(-1)!);
      case 'DELETE':
        if (!this.libraries.delete(args[0]!)) throw new CommandFailed('ERR Library not found');
        return 'OK';
      case 'FLUSH':
        this.libraries.clear();
        return 'OK';
      case 'RESTORE': {
        const policy = args[1] ?? 'APPEND';
        // All or nothing.
        const next = policy === 'FLUSH' ? new Map<string, string>() : new Map(this.libraries);
        // Those that are replaced go first, together.
        if (policy === 'REPLACE') for (const code of codesIn(args[0]!)) next.delete(nameOf(code));
        for (const code of codesIn(args[0]!)) this.load(code, false, next);
        this.libraries = next;
        return 'OK';
      }
      default:
        throw new Error(`the model of Redis has no FUNCTION ${sub}`);
    }
  }

  private load(code: string, replaces: boolean, into: Map<string, string>): void {
    const name = nameOf(code);
    if (into.has(name) && !replaces) throw new CommandFailed(`ERR Library '${name}' already exists`);
    for (const [other, has] of into)
      for (const found of functionsOf(code))
        if (other !== name && functionsOf(has).includes(found))
          throw new CommandFailed(`ERR Function ${found} already exists`);
    into.set(name, code);
  }
}
