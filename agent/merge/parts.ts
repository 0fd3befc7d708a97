/** What the core's stories (operations of each kind, planning) work on together. */
import type { ConflictPolicies } from '../../model';
import type { Base } from './base';
import type { ConflictNotes } from './conflict-notes';
import type { Corrections } from './corrections';
import type { Flushes } from './flushes';
import type { Insertion } from './insertion';
import type { KeptBytes } from './kept-bytes';
import type { LastWriter } from './last-writer';
import type { OriginTable } from './origins';
import type { Settling } from './settling';
import type { StreamTrims } from './stream-trims';
import type { Window } from './window';

export interface Parts {
  /** The region that this core is of. */
  readonly region: string;
  readonly origins: OriginTable;
  /** By which keys are not replicated; null: all are. */
  readonly policies: ConflictPolicies | null;
  /** Keys that are their last writer's; null: there are none. */
  readonly lastWriter: LastWriter | null;
  readonly window: Window;
  readonly kept: KeptBytes;
  readonly trims: StreamTrims;
  readonly base: Base;
  readonly notes: ConflictNotes;
  readonly settling: Settling;
  readonly corrections: Corrections;
  readonly flushes: Flushes;
  readonly insertion: Insertion;
}
