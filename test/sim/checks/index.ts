/**
 * What has to be so when the storm is over and all is healed:
 *
 * - all regions hold the same keys, values and times to live, and they are what the naive rule says (`values.ts`);
 * - every effective command of a client that survived was recorded, once, with the right `seen` (`records.ts`), and what was
 *   found without having been recorded is a client's doing (`differences.ts`);
 * - no list lost an element that nobody removed, also of those that no agent had read, no bit is set that nobody set (`additions.ts`).
 */
import { checkAdded, checkBits, checkExposed } from './additions';
import { checkDifferences } from './differences';
import type { Ended } from './ended';
import { checkRecords } from './records';
import { checkValues } from './values';

export function check(ended: Ended): void {
  checkRecords(ended);
  // Of what two regions had lost at once nobody can tell who did it.
  if (!ended.profile.pairs) checkDifferences(ended);
  checkValues(ended);
  if (!ended.profile.pairs) checkExposed(ended);
  if (ended.profile.outages) return;
  checkAdded(ended);
  checkBits(ended);
}
