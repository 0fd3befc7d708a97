/**
 * What becomes of a key that several regions may write, by its name: the first of the list that matches, and the merge rule where none does. All regions have to
 * have the same list, for each decides for itself.
 */
import { type Glob, compileGlob } from './glob';

/** `ignore`: each region has its own, and it is not replicated. */
export const CONFLICT_POLICIES = ['merge', 'ignore'] as const;

export interface ConflictPolicyRule {
  /** A glob pattern, as in KEYS. */
  readonly keys: string;
  /** One of CONFLICT_POLICIES. */
  readonly policy: string;
  /** The database it is for; absent: all. */
  readonly db?: number | undefined;
}

interface Compiled {
  readonly glob: Glob;
  readonly db: number;
  readonly isIgnored: boolean;
}

const ANY_DB = -1;

export class ConflictPolicies {
  /** The same for lists that say the same; empty where all keys are merged. */
  readonly text: string;
  private readonly rules: readonly Compiled[];
  /** Whether any pattern that isn't `merge` may match what begins with this byte: mostly that is all that has to be looked at. */
  private readonly begins = new Uint8Array(256);
  private readonly matchesEmpty: boolean;

  constructor(rules: readonly ConflictPolicyRule[]) {
    this.rules = rules.map(({ keys, policy, db }) => ({
      glob: compileGlob(latin1(keys)),
      db: db ?? ANY_DB,
      isIgnored: policy === 'ignore',
    }));
    const ignoring = this.rules.filter(({ isIgnored }) => isIgnored);
    const say = ({ keys, policy, db }: ConflictPolicyRule): string =>
      `${JSON.stringify(keys)}${db === undefined ? '' : ` db ${db}`}: ${policy}`;
    this.text = ignoring.length === 0 ? '' : rules.map(say).join('; ');
    for (let byte = 0; byte < 256; byte++)
      this.begins[byte] = ignoring.some(({ glob }) => glob.mayBeginWith(byte)) ? 1 : 0;
    this.matchesEmpty = ignoring.some(({ glob }) => glob.matches(new Uint8Array(0)));
  }

  /** Whether any key is not merged. */
  get isActive(): boolean {
    return this.text !== '';
  }

  /** Whether the key in [start, end) is not replicated. */
  ignores(db: number, bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    if (start === end ? !this.matchesEmpty : this.begins[bytes[start]!] === 0) return false;
    for (const rule of this.rules)
      if ((rule.db === ANY_DB || rule.db === db) && rule.glob.matches(bytes, start, end)) return rule.isIgnored;
    return false;
  }

  /** As the config says it. */
  nameOf(db: number, key: Uint8Array): string {
    return this.ignores(db, key) ? 'ignore' : 'merge';
  }
}

/** A pattern is text, keys are bytes: those of its UTF-8. */
function latin1(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
