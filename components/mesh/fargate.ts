import type * as pulumi from '@pulumi/pulumi';

import { type ConfigIssue, SystemUser } from '../../model';
import { FargateSyncAgent, type FargateSyncAgentArgs } from '../agent';
import { issuesOf } from '../agent/fargate-args';
import { childOptions, rule } from '../common';
import { type ManagedRedis } from './managed';
import { type RedisRegionArgs } from './region-args';

/** What of a Redis its agent is told. */
type Beside = Pick<FargateSyncAgentArgs, 'redisHost' | 'redisPort' | 'redisUsername' | 'redisSecurityGroupId'>;

/** Everything that is wrong with the agent in Fargate of a region. */
export function fargateIssues(name: string, args: RedisRegionArgs): ConfigIssue[] {
  const { fargate, peerCidrs = {} } = args;
  if (fargate === undefined) return [];
  const unknown = Object.entries(peerCidrs).filter(([, networks]) => !Array.isArray(networks));
  if (unknown.length > 0)
    return unknown.flatMap(([peer]) =>
      rule(false, `peerCidrs.${peer}`, 'an output', 'a plain list, with fargate: each network is a rule by itself'),
    );
  const names = networksOf(peerCidrs).map(([network]) => network);
  const again = names.filter((network, i) => names.indexOf(network) < i);
  if (again.length > 0)
    return rule(
      false,
      'peerCidrs',
      `rules called ${again.join(', ')} twice`,
      'regions whose names are not those of networks of others',
    );
  return issuesOf(name, argsOf(args, { redisHost: '' })).map(({ path, ...issue }) => ({
    path: path.split(/[.[]/)[0]! in fargate ? `fargate.${path}` : path,
    ...issue,
  }));
}

/** The agent of a region on ElastiCache as a Fargate service: nothing of such a region is in Kubernetes. The arguments are checked. */
export function createFargateAgent(
  parent: pulumi.Resource,
  name: string,
  args: RedisRegionArgs,
  { host, port, userNames, securityGroupId }: ManagedRedis,
): FargateSyncAgent {
  const redisUsername = userNames.apply((names) => names[SystemUser.Agent] ?? SystemUser.Agent);
  const beside = { redisHost: host, redisPort: port, redisUsername, redisSecurityGroupId: securityGroupId };
  // Named as the region: a load balancer has a short name.
  return new FargateSyncAgent(name, argsOf(args, beside), childOptions(parent));
}

function argsOf(args: RedisRegionArgs, beside: Beside): FargateSyncAgentArgs {
  const { fargate, elasticache, agent = {}, peerCidrs = {} } = args;
  if (fargate === undefined || elasticache === undefined) throw new RangeError('the arguments are checked');
  const { maxLagMs, heartbeatMs, compression, conflicts, conflictValues, flush, dryRun } = agent;
  const { journalBytes, journalSegmentBytes, windowBytes, logLevel } = agent;
  const { protect, retainOnDelete } = agent;
  const { region, stack, members, topology, hub, peerHosts } = args;
  const { userPasswords, caBundlePem = '', caCertPem = '', caPrivateKeyPem = '', certificateValidityDays } = args;
  return {
    ...fargate,
    ...{ region, stack, members, topology, hub, peerHosts },
    ...{ userPasswords, caBundlePem, caCertPem, caPrivateKeyPem, certificateValidityDays },
    ...{ maxLagMs, heartbeatMs, compression, conflicts, conflictValues, flush, dryRun },
    ...{ journalBytes, journalSegmentBytes, windowBytes, logLevel, protect, retainOnDelete },
    ...beside,
    providerRegion: elasticache.providerRegion,
    vpcId: elasticache.vpcId,
    image: args.agentImage,
    peerCidrs: Object.fromEntries(networksOf(peerCidrs)),
  };
}

/** One by one, each by a name that stays when another is added. They are plain. */
function networksOf(peerCidrs: NonNullable<RedisRegionArgs['peerCidrs']>): [string, string][] {
  return Object.entries(peerCidrs).flatMap(([peer, networks]) =>
    (networks as string[]).map((network, i): [string, string] => [i === 0 ? peer : `${peer}-${i + 1}`, network]),
  );
}
