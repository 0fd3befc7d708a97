/** What is compared of a key. */
export interface KeySummary {
  /** As TYPE says; `none` where there is no such key. */
  readonly type: string;
  /** Bytes of a string, elements of anything else. */
  readonly size: number;
  /** When it expires, in ms since 1970; null: never. */
  readonly expiresAtMs: number | null;
  /** Of its logical content, without times. Only digests of the same reader can be compared. */
  readonly digest: string;
  /** When fields of a hash expire, by field; undefined where the server knows no such thing. */
  readonly fieldsExpireAtMs?: ReadonlyMap<string, number>;
}

export interface Equality {
  /** By which two expiry times may differ. */
  readonly toleranceMs: number;
  /** A cache evicts where it likes: a key that is missing somewhere is no difference. */
  readonly missingIsEqual: boolean;
}

/** Whether a key is the same in all regions. */
export function isSame(summaries: readonly KeySummary[], equality: Equality, nowMs: number): boolean {
  const there = summaries.filter(({ type }) => type !== 'none');
  const [first] = there;
  if (first === undefined) return true;
  if (there.length < summaries.length && !equality.missingIsEqual) {
    // About to expire: some regions have seen it go, others will in a moment.
    return there.every(({ expiresAtMs }) => expiresAtMs !== null && expiresAtMs <= nowMs + equality.toleranceMs);
  }
  return there.every((other) => isPair(first, other, equality.toleranceMs));
}

function isPair(a: KeySummary, b: KeySummary, toleranceMs: number): boolean {
  if (a.type !== b.type || a.size !== b.size || a.digest !== b.digest) return false;
  if (!isTime(a.expiresAtMs, b.expiresAtMs, toleranceMs)) return false;
  const [x, y] = [a.fieldsExpireAtMs, b.fieldsExpireAtMs];
  if (x === undefined || y === undefined) return true;
  return x.size === y.size && [...x].every(([field, at]) => isTime(at, y.get(field) ?? null, toleranceMs));
}

function isTime(a: number | null, b: number | null, toleranceMs: number): boolean {
  return a === null || b === null ? a === b : Math.abs(a - b) <= toleranceMs;
}
