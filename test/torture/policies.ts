/** Keys to which the stack's config gives a conflict policy, where such types are written. */
import type { ConflictPolicyRule } from '../../model';
import type { Type } from './families';

export function policiesFor(types: readonly Type[], regions: readonly string[]): ConflictPolicyRule[] {
  return [
    ...(types.includes('last-writers')
      ? (['last:*', 'lasts:*'] as const).map((keys) => ({ keys, policy: 'lww' as const }))
      : []),
    ...(types.includes('owned')
      ? regions.map((region) => ({ keys: `owned:${region}:*`, policy: `region:${region}` as const }))
      : []),
  ];
}
