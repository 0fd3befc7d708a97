/** The policies of one seed: some keys are not replicated. */
import { type ConflictPolicyRule } from '../../model';
import { Random } from './random';

const KINDS = ['string', 'counter', 'decimal', 'hash', 'set', 'zset', 'list', 'bitmap', 'log', 'queue', 'stream'];

export function policiesOf(seed: number): ConflictPolicyRule[] {
  const random = new Random(seed * 7919);
  return KINDS.map((kind) => ({
    keys: `${kind}${random.pick(['*', '0', '[0-1]', '?'])}`,
    policy: random.pick(['merge', 'ignore']),
    ...(random.chance(0.2) ? { db: random.pick([0, 1]) } : {}),
  }));
}
