import { agentConfigsIn, type FoundAgent, slotsOf, unreadAgentsIn } from '../agents';
import { nameOf, type Placed, PodRole, regionLabel, shardLabel, workloadsOf } from '../kubernetes';
import { textAt } from '../props';
import { type Issue, Level, stackRule } from '../rule';

/** Mandatory: it loses data. Two agents of one region apply the same changes twice, and each forgets what the other still needs. */
export const linkOwners = stackRule({
  name: 'link-owners',
  level: Level.Mandatory,
  what: 'Each sync link has one owner: one agent a region, or a shard of its cluster, one process each, and a peer named once and by both ends.',
  why: 'Two agents of one region apply the same changes twice and move one cursor; a link that one end alone knows carries nothing back.',
  fix: 'Leave the replicas of an agent at 1, and give all agents the same members (`meridian:regions`, `replication.topology`).',
  settings: {},
  check: (resources) => {
    const agents = agentConfigsIn(resources);
    const workloads = workloadsOf(resources).filter(({ role }) => role === PodRole.Agent);
    return [
      ...workloads.flatMap(processIssues),
      ...twice(
        workloads,
        ({ labels }) => `${textAt(labels, regionLabel) ?? ''} ${textAt(labels, shardLabel) ?? ''}`,
        nameOf,
      ),
      ...twice(
        agents,
        ({ config }) => `${config.stack} ${config.region} ${slotsOf(config)}`,
        ({ where }) => where,
      ),
      ...unreadAgentsIn(resources),
      ...agents.flatMap((agent) => [...peerIssues(agent), ...otherEndIssues(agent, agents)]),
    ];
  },
});

function processIssues(workload: Placed): Issue[] {
  const { urn, replicas, kind } = workload;
  const where = `${nameOf(workload)}: spec.replicas`;
  if (kind === 'StatefulSet' && replicas === 1) return [];
  return [{ urn, where, found: `${replicas} of a ${kind}`, allowed: '1 of a StatefulSet' }];
}

/** All but the first of those with the same key. */
function twice<T extends { readonly urn: string }>(
  all: readonly T[],
  keyOf: (one: T) => string,
  name: (one: T) => string,
): Issue[] {
  const first = new Map<string, T>();
  return all.flatMap((one) => {
    const key = keyOf(one);
    const other = first.get(key);
    if (other === undefined) {
      first.set(key, one);
      return [];
    }
    return [
      {
        urn: one.urn,
        where: name(one),
        found: `the region of ${name(other)} again`,
        allowed: 'one agent a region, or a shard of its cluster',
      },
    ];
  });
}

function peerIssues({ config, urn, where }: FoundAgent): Issue[] {
  const peers = config.peers.map(({ region }) => region);
  const members = config.members.map(({ name }) => name);
  return peers.flatMap((peer, i) => {
    const at = { urn, where: `${where}: peers[${i}]` };
    if (peers.indexOf(peer) < i) return [{ ...at, found: `${peer} again`, allowed: 'each peer once' }];
    if (peer === config.region) return [{ ...at, found: 'the region itself', allowed: 'other regions' }];
    return members.includes(peer) ? [] : [{ ...at, found: peer, allowed: `a member: ${members.join(', ')}` }];
  });
}

/** Where the other end is in this stack too. */
function otherEndIssues({ config, urn, where }: FoundAgent, agents: readonly FoundAgent[]): Issue[] {
  return config.peers.flatMap(({ region: peer }) => {
    const other = agents.find(
      (one) =>
        one.config.stack === config.stack && one.config.region === peer && slotsOf(one.config) === slotsOf(config),
    );
    if (other === undefined) return [];
    const isKnown = other.config.peers.some(({ region }) => region === config.region);
    return isKnown
      ? []
      : [{ urn, where, found: `a link to ${peer}, which has none to ${config.region}`, allowed: 'links both ways' }];
  });
}
