import { apportion } from './weights';

/**
 * Where the requests that start in a region go, in percent: by the region they start in, then by the one they go to. What goes to
 * a region that isn't named, or has 0, is nothing.
 */
export type Distribution = Readonly<Record<string, Shares>>;
/** Percent by region, 100 in all. */
export type Shares = Readonly<Record<string, number>>;

/** Traffic to be moved from one region to another. */
export interface Shift {
  /** The region that gets less. */
  readonly from: string;
  /** The region that gets more. */
  readonly to: string;
  /** How much of what `from` gets is moved, in percent from 1 to 100. */
  readonly percent: number;
}

/** Moves a part of each region's traffic; at least one percent where there is any, so that a small shift is one. The sum stays. */
export function shifted(shares: Shares, shifts: readonly Shift[]): Shares {
  const next: Record<string, number> = { ...shares };
  for (const { from, to, percent } of shifts) {
    const share = next[from] ?? 0;
    const moved = Math.min(share, Math.max(1, Math.round((share * percent) / 100)));
    next[from] = share - moved;
    next[to] = (next[to] ?? 0) + moved;
  }
  return next;
}

/**
 * Takes regions out: what they got goes to the others, in proportion to what those get; in equal parts where they got nothing.
 * @throws RangeError when nobody is left
 */
export function drained(shares: Shares, regions: readonly string[]): Shares {
  const left = Object.keys(shares).filter((region) => !regions.includes(region));
  if (left.length === 0) throw new RangeError('every region is drained');
  const parts = apportion(left.map((region) => shares[region] ?? 0));
  const byRegion = new Map(left.map((region, i) => [region, parts[i] ?? 0]));
  return Object.fromEntries(Object.keys(shares).map((region) => [region, byRegion.get(region) ?? 0]));
}
