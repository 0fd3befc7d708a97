/**
 * What becomes of a key that several regions may write, by its name: the first of the list that matches, and the merge rule where none does. All regions have to
 * have the same list, for each decides for itself.
 */
import { type Glob, compileGlob } from './glob';

/**
 * - `merge`: the merge rule;
 * - `ignore`: each region has its own, and it is not replicated;
 * - `lww`: the whole key stands as its last writer's region had it;
 * - `region:<name>`: that region owns the key. What clients of others write there is put back.
 */
export const CONFLICT_POLICIES = 'merge, lww, ignore, region:<name of a region>';
export const CONFLICT_POLICY = /^(?:merge|lww|ignore|region:[^]+)$/;

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
  readonly policy: string;
  readonly owner: string | null;
}

const ANY_DB = -1;
const OWNED = 'region:';

export class ConflictPolicies {
  /** The same for lists that say the same; empty where all keys are merged. */
  readonly text: string;
  /** Whether regions own keys. */
  readonly haveOwners: boolean;
  /** Whether there are keys that are their last writer's. */
  readonly haveLastWriters: boolean;
  private readonly rules: readonly Compiled[];
  /** Whether any pattern that isn't `merge` may match what begins with this byte: mostly that is all that has to be looked at. */
  private readonly begins = new Uint8Array(256);
  private readonly matchesEmpty: boolean;

  constructor(rules: readonly ConflictPolicyRule[]) {
    this.rules = rules.map(({ keys, policy, db }) => ({
      glob: compileGlob(latin1(keys)),
      db: db ?? ANY_DB,
      policy,
      owner: ownerIn(policy),
    }));
    const others = this.rules.filter(({ policy }) => policy !== 'merge');
    const say = ({ keys, policy, db }: ConflictPolicyRule): string =>
      `${JSON.stringify(keys)}${db === undefined ? '' : ` db ${db}`}: ${policy}`;
    this.text = others.length === 0 ? '' : rules.map(say).join('; ');
    this.haveOwners = others.some(({ owner }) => owner !== null);
    this.haveLastWriters = others.some(({ policy }) => policy === 'lww');
    for (let byte = 0; byte < 256; byte++)
      this.begins[byte] = others.some(({ glob }) => glob.mayBeginWith(byte)) ? 1 : 0;
    this.matchesEmpty = others.some(({ glob }) => glob.matches(new Uint8Array(0)));
  }

  /** Whether any key is not merged. */
  get isActive(): boolean {
    return this.text !== '';
  }

  /** Whether the key in [start, end) is not replicated. */
  ignores(db: number, bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    return this.find(db, bytes, start, end)?.policy === 'ignore';
  }

  /** Whether the whole key stands as its last writer's region had it. */
  isLastWriters(db: number, bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    return this.haveLastWriters && this.find(db, bytes, start, end)?.policy === 'lww';
  }

  /** The region that owns the key; null: none does. */
  ownerOf(db: number, bytes: Uint8Array, start = 0, end = bytes.length): string | null {
    return this.haveOwners ? (this.find(db, bytes, start, end)?.owner ?? null) : null;
  }

  /** Whether what clients of a region do to the key stays there: it is not replicated, or another region's. */
  keeps(region: string, db: number, bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    const rule = this.find(db, bytes, start, end);
    if (rule === null) return false;
    return rule.policy === 'ignore' || (rule.owner !== null && rule.owner !== region);
  }

  /** As the config says it. */
  nameOf(db: number, key: Uint8Array): string {
    return this.find(db, key, 0, key.length)?.policy ?? 'merge';
  }

  private find(db: number, bytes: Uint8Array, start: number, end: number): Compiled | null {
    if (start === end ? !this.matchesEmpty : this.begins[bytes[start]!] === 0) return null;
    for (const rule of this.rules)
      if ((rule.db === ANY_DB || rule.db === db) && rule.glob.matches(bytes, start, end)) return rule;
    return null;
  }
}

/** What does not fit the rest of a config. */
export interface PolicyIssue {
  /** In the list; null: it is `flush`. */
  readonly index: number | null;
  readonly found: string;
  readonly allowed: string;
}

/**
 * @param regions names of all regions
 * @param flush what a client's FLUSHALL does to other regions: `carry` or `refuse`
 */
export function policyIssues(
  rules: readonly ConflictPolicyRule[],
  regions: readonly string[],
  flush: string,
): PolicyIssue[] {
  const issues: PolicyIssue[] = [];
  rules.forEach((rule, index) => {
    const owner = ownerIn(rule.policy);
    if (owner !== null && !regions.includes(owner))
      issues.push({
        index,
        found: JSON.stringify(rule.policy),
        allowed: `region: and the name of a region: ${regions.join(', ')}`,
      });
  });
  const fragile = rules.find(({ policy }) => policy === 'lww' || ownerIn(policy) !== null);
  if (fragile !== undefined && flush !== 'refuse')
    issues.push({
      index: null,
      found: `${flush}, with policy ${fragile.policy}`,
      allowed: 'refuse: a flush is about databases and not about keys, whoever owns them or wrote them last',
    });
  return issues;
}

function ownerIn(policy: string): string | null {
  return policy.startsWith(OWNED) ? policy.slice(OWNED.length) : null;
}

/** A pattern is text, keys are bytes: those of its UTF-8. */
function latin1(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
