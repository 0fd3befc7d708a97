/** What members have reported to have seen. */
import { raise, seenAt, type Seen } from './origins';

export class Reports {
  private readonly reports = new Map<string, number[]>();

  constructor(members: readonly string[]) {
    for (const member of members) this.reports.set(member, []);
  }

  /**
   * @param own the member's own origin and the position in it that the report belongs to
   * @returns false where it is no member
   */
  raise(member: string, seen: Seen, own: { origin: number; position: number }): boolean {
    const report = this.reports.get(member);
    if (report === undefined) return false;
    for (let o = 0; o < seen.length; o++) raise(report, o, seen[o]!);
    raise(report, own.origin, own.position);
    return true;
  }

  /** Up to where all members have seen an origin; below 0: not all have reported on it. */
  lowOf(origin: number): number {
    let low = Infinity;
    for (const positions of this.reports.values()) low = Math.min(low, seenAt(positions, origin));
    return low;
  }

  of(member: string): Seen {
    return this.reports.get(member) ?? [];
  }

  /** Members that have not reported to have seen an operation. */
  unseenBy(origin: number, position: number): string[] {
    return [...this.reports].filter(([, report]) => seenAt(report, origin) < position).map(([member]) => member);
  }
}
