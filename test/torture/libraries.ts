/** Libraries of functions: their code, and what they are in the history. */
import { Key } from './command';

/** All of a server's are elements of one key; each has one function, of its own name. */
export const libraries = new Key(0, 'lib:all');
/** Libraries whose function they share with others begin so: they are no such elements. */
export const clashing = 'clash';

/** @param mark tells this load from all others */
export function codeOf(name: string, mark: string, fn: string): string {
  const body = `redis.call('SET', keys[1], args[1]) return '${mark}'`;
  return `#!lua name=${name}\n-- ${mark}\nredis.register_function('${fn}', function(keys, args) ${body} end)`;
}

export function markOf(code: string): string {
  return /^-- (.*)$/m.exec(code)?.[1] ?? code;
}
