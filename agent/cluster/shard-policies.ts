import { type ConflictPolicyRule, ConflictPolicies } from '../../model/conflict-policies';
import { hasSlot, slotOf, type SlotRange } from '../../model/slots';

/**
 * Conflict policies on a node of a cluster: keys of other shards are not replicated. There are none, but for those that were on their way from one node to
 * another: what its stream then has of them is no client's doing, and in the other regions this node's counterpart has no such keys.
 */
export class ShardPolicies extends ConflictPolicies {
  constructor(
    rules: readonly ConflictPolicyRule[],
    private readonly slots: readonly SlotRange[],
  ) {
    super(rules);
  }

  override get isActive(): boolean {
    return true;
  }

  override ignores(db: number, bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    return this.isElsewhere(bytes, start, end) || super.ignores(db, bytes, start, end);
  }

  override keeps(region: string, db: number, bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    return this.isElsewhere(bytes, start, end) || super.keeps(region, db, bytes, start, end);
  }

  private isElsewhere(bytes: Uint8Array, start: number, end: number): boolean {
    return !hasSlot(this.slots, slotOf(bytes, start, end));
  }
}
