/** Changes in the own Redis that are in no operation (difference.ts): with whom they have been compared, and when there are none any more. */
import type { AgentContext } from './context';
import type { MeshAnswer } from './difference';

/** Between two looks for a region that can tell what is in no operation here. */
export const EXPLAINED_MS = 1000;

export class Unexplained {
  /** There are such changes. */
  isSo = false;
  /** Between whose data and this that is over, where either had such changes: when it is with all, and they have the states that they asked for, there are none any more. */
  readonly comparedWith = new Set<string>();

  constructor(private readonly context: AgentContext) {}

  /** From here on the next full resync of a region can be compared exactly with this one. @returns whether it is so, from now on */
  end(): boolean {
    const { config } = this.context;
    if (config.members.some(({ name }) => name !== config.region && !this.comparedWith.has(name))) return false;
    this.isSo = false;
    return true;
  }

  /**
   * A region that was out of reach when this one went on, and is not any more, can tell what they are. It has no reason to compare its data with this region's; so this one
   * compares once more. Of two that both went on the later by name does.
   * @returns its name; null: there is none
   * @throws PeerError
   */
  async seek(): Promise<string | null> {
    const { mesh, config } = this.context;
    for (const { peer, state } of mesh.links()) {
      if (state !== 'up' || this.comparedWith.has(peer)) continue;
      const answer = await mesh.request(peer, 'mesh', Buffer.alloc(0), { timeoutMs: 2000 });
      const { established, unexplained } = JSON.parse(answer.toString('utf8')) as MeshAnswer;
      if (established && unexplained !== undefined && !(unexplained && peer > config.region)) return peer;
    }
    return null;
  }
}
