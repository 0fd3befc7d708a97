/** What the nodes of a Redis Cluster say of each other. https://redis.io/docs/latest/commands/cluster-nodes/ */
import { formatSlots, hasSlot, parseSlots, type SlotRange } from '../../model/slots';

export interface ClusterNode {
  id: string;
  /** Where clients reach it: the name that it announces, else its address; empty where a node does not know its own yet. */
  host: string;
  port: number;
  isPrimary: boolean;
  /** The node that was asked. */
  isMyself: boolean;
  /** Others take it for dead, or it has just been met. */
  isDoubtful: boolean;
  /** Of its configuration: of two that claim a slot, the higher one has it. */
  epoch: number;
  /** The slots that it serves. */
  slots: SlotRange[];
  /** Slots that it is giving away or getting. Only told of the node that was asked. */
  moving: number[];
}

/** From the text of CLUSTER NODES. @returns null where it is none */
export function parseNodes(text: string): ClusterNode[] | null {
  const nodes: ClusterNode[] = [];
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    const [id, address, flags, , , , epoch, , ...ranges] = line.trim().split(' ');
    // ip:port@cport[,name[,more=…]]; an IPv6 address has colons itself.
    const match = /^(.*):(\d+)(?:@\d+)?(?:,([^,=]*))?(?:,.*)?$/.exec(address ?? '');
    const slots = parseSlots(ranges.filter((range) => !range.startsWith('[')).join(' '));
    if (id === undefined || match === null || flags === undefined || slots === null) return null;
    const words = flags.split(',');
    const [, ip, port, name] = match;
    nodes.push({
      id,
      host: name === undefined || name === '' || name === '?' ? ip! : name,
      port: Number(port),
      isPrimary: words.includes('master'),
      isMyself: words.includes('myself'),
      isDoubtful: ['fail', 'fail?', 'handshake', 'noaddr'].some((word) => words.includes(word)),
      epoch: Number(epoch),
      slots,
      moving: ranges.filter((range) => range.startsWith('[')).map((range) => Number.parseInt(range.slice(1), 10)),
    });
  }
  return nodes.length === 0 ? null : nodes;
}

/**
 * The primary of these slots, by what several nodes say: after a failover that of the highest epoch.
 * @param views what each of them answered
 * @returns a sentence where there is none
 */
export function findShard(
  views: readonly { asked: string; nodes: ClusterNode[] }[],
  slots: readonly SlotRange[],
): { host: string; port: number } | string {
  const wanted = formatSlots(slots);
  let found: { host: string; port: number; epoch: number } | null = null;
  let instead: string | null = null;
  for (const { asked, nodes } of views)
    for (const node of nodes) {
      // Also at the other end: a primary that was promoted in between knows nothing of it.
      if (node.moving.some((slot) => hasSlot(slots, slot))) return MOVING;
      if (!node.isPrimary || node.isDoubtful) continue;
      const has = formatSlots(node.slots);
      // A node that has met nobody does not know its own address.
      const host = node.host === '' ? asked : node.host;
      if (has === wanted) {
        if (found === null || node.epoch > found.epoch) found = { host, port: node.port, epoch: node.epoch };
      } else if (overlap(node.slots, slots)) instead ??= `${host}:${node.port} has the slots ${has}`;
    }
  if (found !== null) return { host: found.host, port: found.port };
  const why = instead ?? `of ${views.length} nodes that answered none names a primary of them`;
  return `no node of the cluster has just the slots ${wanted} (redis.cluster.slots): ${why}`;
}

const MOVING = 'slots are being moved to or from this node: nothing is replicated until that is over';

/** Why the node that was asked is not the place for these slots at the moment; null: it has them, all of them, and no other. */
export function whyNot(nodes: readonly ClusterNode[] | null, slots: readonly SlotRange[]): string | null {
  const myself = nodes?.find((node) => node.isMyself);
  if (myself === undefined) return 'this Redis does not answer CLUSTER NODES as a node of a cluster does';
  if (!myself.isPrimary) return 'this Redis is a replica';
  if (myself.moving.length > 0) return MOVING;
  const has = formatSlots(myself.slots);
  if (has === formatSlots(slots)) return null;
  return `this node has ${has === '' ? 'no slots' : `the slots ${has}`}, and not ${formatSlots(slots)} (redis.cluster.slots)`;
}

function overlap(a: readonly SlotRange[], b: readonly SlotRange[]): boolean {
  return a.some(([from, to]) => b.some((other) => from <= other[1] && other[0] <= to));
}
