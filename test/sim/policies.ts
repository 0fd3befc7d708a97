/** The policies of one seed: some keys are not replicated, some are one region's, and some their last writer's. */
import { type ConflictPolicyRule } from '../../model';
import { Random } from './random';

const KINDS = ['string', 'counter', 'decimal', 'hash', 'set', 'zset', 'list', 'bitmap', 'log', 'queue', 'stream'];

export function policiesOf(seed: number): ConflictPolicyRule[] {
  const random = new Random(seed * 7919);
  // With owners there are no flushes: some seeds have none.
  const policies = random.pick([
    ['merge', 'ignore'],
    ['merge', 'region:eu', 'region:us'],
    ['merge', 'ignore', 'region:eu', 'region:us'],
    ['merge', 'lww'],
    ['lww', 'ignore', 'region:eu'],
  ]);
  return KINDS.map((kind) => ({
    keys: `${kind}${random.pick(['*', '0', '[0-1]', '?'])}`,
    policy: random.pick(policies),
    ...(random.chance(0.2) ? { db: random.pick([0, 1]) } : {}),
  }));
}
