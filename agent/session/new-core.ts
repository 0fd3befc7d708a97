/** A core as a session needs it, over its journal and with its window's shelf on its disk. */
import { MergeCore } from '../merge/core';
import type { OriginId } from '../record';
import type { AgentContext } from './context';
import { payloadsOf } from './payloads';
import { DiskShelf } from './shelf-files';

/** @param base of a region that joins: the origin of the data that it loads. Its window has to do with memory. */
export function newCore({ config, journal, log, policies }: AgentContext, base?: OriginId): MergeCore {
  const failed = (error: unknown): void =>
    log.error({ err: error, dir: config.stateDir }, "the window can't go to disk and stays in memory: make room there");
  return new MergeCore({
    region: config.region,
    members: config.members.map((member) => member.name),
    payloads: payloadsOf(journal),
    policies,
    ...(base === undefined
      ? { shelf: { files: new DiskShelf(config.stateDir, failed), budgetBytes: config.limits.windowBytes } }
      : { base }),
  });
}
