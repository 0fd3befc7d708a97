import * as pulumi from '@pulumi/pulumi';
import { RedisRegion } from 'meridian-redis';

/** All regions, the same list in every stack; a region's stack is called as the region. */
interface Member {
  name: string;
  weight: number;
  primary?: boolean;
  /** Where agents of the other clusters reach its agent, `host:port`: its load balancer. */
  agentHost: string;
  /** The networks behind that. */
  agentCidrs: string[];
}

const config = new pulumi.Config();
const members = config.requireObject<Member[]>('members');
const region = pulumi.getStack();
const others = members.filter(({ name }) => name !== region);
const own = members.find(({ name }) => name === region);
if (own === undefined) throw new pulumi.RunError(`members: found no ${region}; allowed: the stack's name among them`);

// The one place that the regions share: a new one needs nothing of the others' stacks but a changed list of members.
const shared = new pulumi.StackReference(config.require('shared'));

const redis = new RedisRegion('redis', {
  region,
  stack: shared.requireOutput('mesh') as pulumi.Output<string>,
  agentImage: config.require('agentImage'),
  members: members.map(({ name, weight, primary }) => ({ name, weight, primary })),
  peerHosts: Object.fromEntries(others.map(({ name, agentHost }) => [name, agentHost])),
  peerCidrs: Object.fromEntries(others.map(({ name, agentCidrs }) => [name, agentCidrs])),
  agentHosts: [own.agentHost.replace(/:\d+$/, '')],
  userPasswords: shared.requireOutput('userPasswords') as pulumi.Output<Record<string, string[]>>,
  caBundlePem: shared.requireOutput('caBundlePem') as pulumi.Output<string>,
  caCertPem: shared.requireOutput('caCertPem') as pulumi.Output<string>,
  caPrivateKeyPem: shared.requireOutput('caPrivateKeyPem') as pulumi.Output<string>,
});

/** Where the region's applications connect. */
export const host = redis.host;
export const port = redis.port;
