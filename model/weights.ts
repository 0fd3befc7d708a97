/**
 * Divides `total` (default 100, percent) in whole numbers in proportion to `shares`, by largest remainder: the sum is
 * exact, nobody is off by one or more, and equal shares differ by at most one, the earlier ones getting the rest.
 * All shares zero count as all equal.
 */
export function apportion(shares: readonly number[], total = 100): number[] {
  const sum = shares.reduce((a, b) => a + b, 0);
  const exact = shares.map((share) => (sum === 0 ? total / shares.length : (share * total) / sum));
  const whole = exact.map(Math.floor);
  const rest = total - whole.reduce((a, b) => a + b, 0);
  const byRemainder = exact
    .map((value, index) => ({ index, remainder: value - Math.floor(value) }))
    .sort((a, b) => b.remainder - a.remainder || a.index - b.index);
  const raised = new Set(byRemainder.slice(0, rest).map(({ index }) => index));
  return whole.map((value, index) => value + (raised.has(index) ? 1 : 0));
}
