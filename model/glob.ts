/**
 * Redis' glob patterns, as in KEYS, SCAN MATCH and PSUBSCRIBE (stringmatchlen in util.c), compiled once and matched on bytes: `*`, `?`, `[abc]`, `[^a]`,
 * `[a-z]`, and `\` before a character that stands for itself. One star at a time is tried again, so that no pattern takes longer
 * than its length times the key's.
 */
export interface Glob {
  readonly pattern: string;
  /** Whether the bytes in [start, end) match as a whole. */
  matches(bytes: Uint8Array, start?: number, end?: number): boolean;
  /** Whether a text that begins with this byte can match; by it most are told apart at once. */
  mayBeginWith(byte: number): boolean;
}

/** Any number of bytes. */
const STAR = -1;
/** Any one byte. */
const ANY = -2;
/** From here down: a set of bytes, by its place in `sets`. */
const SET = -3;

/** @param pattern one byte a character: Latin-1 */
export function compileGlob(pattern: string): Glob {
  const { steps, sets } = parse(pattern);
  const takes = (step: number, byte: number): boolean =>
    step >= 0 ? step === byte : step === ANY || (step <= SET && sets[SET - step]![byte] === 1);
  const first = steps[0];
  return {
    pattern,
    mayBeginWith: (byte) => first !== undefined && (first === STAR || takes(first, byte)),
    matches(bytes, start = 0, end = bytes.length) {
      let at = start;
      let step = 0;
      let star = -1;
      let from = 0;
      while (at < end) {
        const wanted = steps[step];
        if (wanted === STAR) {
          star = step++;
          from = at;
        } else if (wanted !== undefined && takes(wanted, bytes[at]!)) {
          step++;
          at++;
        } else if (star >= 0) {
          step = star + 1;
          at = ++from;
        } else return false;
      }
      while (steps[step] === STAR) step++;
      return step === steps.length;
    },
  };
}

function parse(pattern: string): { steps: number[]; sets: Uint8Array[] } {
  const steps: number[] = [];
  const sets: Uint8Array[] = [];
  const code = (i: number): number => pattern.charCodeAt(i) & 0xff;
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i];
    if (c === '*') {
      if (steps.at(-1) !== STAR) steps.push(STAR);
    } else if (c === '?') steps.push(ANY);
    else if (c === '\\' && i + 1 < pattern.length) steps.push(code(++i));
    else if (c === '[') {
      const set = new Uint8Array(256);
      const isNot = pattern[i + 1] === '^';
      if (isNot) i++;
      // As Redis: one that is never closed reaches to the pattern's end.
      for (i++; i < pattern.length && pattern[i] !== ']'; i++) {
        if (pattern[i] === '\\' && i + 1 < pattern.length) set[code(++i)] = 1;
        else if (pattern[i + 1] === '-' && i + 2 < pattern.length) {
          const [a, b] = [code(i), code(i + 2)];
          for (let byte = Math.min(a, b); byte <= Math.max(a, b); byte++) set[byte] = 1;
          i += 2;
        } else set[code(i)] = 1;
      }
      if (isNot) for (let byte = 0; byte < 256; byte++) set[byte] = 1 - set[byte]!;
      steps.push(SET - sets.length);
      sets.push(set);
    } else steps.push(code(i));
  }
  return { steps, sets };
}
