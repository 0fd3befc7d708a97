/** The agents of a region: one, or where its Redis is a cluster one for each shard, linked with those of the same slots elsewhere. */
import * as pulumi from '@pulumi/pulumi';

import { type ConfigIssue, evenSlots, formatSlots, parseSlots } from '../../model';
import { rule } from '../common';
import { RedisTopology } from '../kubernetes';
import { RegionBackend, type RedisRegionArgs } from './region-args';

/** Stands in an agent's host for the number of the shard. */
export const shardMark = '{shard}';

type Sharded = Pick<RedisRegionArgs, 'backend' | 'redis' | 'elasticache' | 'slots'>;

/** How many shards its Redis has; 1: it is no cluster. */
export function shardsOf({
  backend = RegionBackend.Kubernetes,
  redis = {},
  elasticache,
}: Omit<Sharded, 'slots'>): number {
  if (backend === RegionBackend.ElastiCache) return elasticache?.shards ?? 1;
  return backend === RegionBackend.Kubernetes && redis.topology === RedisTopology.Cluster ? (redis.shards ?? 3) : 1;
}

/** Of each shard. */
export function slotsOf(args: Sharded): string[] {
  return args.slots ?? evenSlots(shardsOf(args)).map((range) => formatSlots([range]));
}

/** What tells each of its agents from the others. */
export function agentShardsOf(args: Sharded): { shard?: number; slots?: string }[] {
  return shardsOf(args) === 1 ? [{}] : slotsOf(args).map((slots, shard) => ({ shard, slots }));
}

/** A host, or `host:port`, of the agents of a region: that of one shard. */
export function hostOfShard(host: pulumi.Input<string>, shard: number | undefined): pulumi.Output<string> {
  return pulumi.output(host).apply((found) => {
    if (shard === undefined) return found;
    if (!found.includes(shardMark))
      throw new pulumi.RunError(`RedisRegion: peerHosts: found ${found}; allowed: ${markedHost}`);
    return found.replaceAll(shardMark, String(shard));
  });
}

/** What an agent's host has to be in a cluster, in words. */
export const markedHost = `a host with ${shardMark} in it, for each shard of a cluster has an agent of its own`;

/** What can't be of a region's shards. */
export function shardIssues(args: RedisRegionArgs): ConfigIssue[] {
  const { slots, fargate, peerHosts } = args;
  const shards = shardsOf(args);
  const isCluster = shards > 1;
  const given = (slots ?? []).map((text) => parseSlots(text));
  const all = parseSlots((slots ?? []).join(' '));
  const plain = Object.entries(peerHosts).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return [
    ...rule(!isCluster || fargate === undefined, 'elasticache.shards', shards, '1, with fargate: its agent is one'),
    ...rule(isCluster || slots === undefined, 'slots', 'a value, without a cluster', 'only where Redis is a cluster'),
    ...rule(
      slots === undefined || slots.length === shards,
      'slots',
      `${slots?.length ?? 0} of ${shards} shards`,
      'the slots of each shard',
    ),
    ...rule(
      slots === undefined || (given.every((ranges) => (ranges?.length ?? 0) > 0) && all !== null),
      'slots',
      slots?.join('; '),
      'slots such as 0-5460, each of one shard',
    ),
    ...plain.flatMap(([peer, host]) =>
      rule(!isCluster || host.includes(shardMark), `peerHosts.${peer}`, JSON.stringify(host), markedHost),
    ),
  ];
}
