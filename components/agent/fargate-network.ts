import type * as ec2 from '@pulumi/aws/ec2';
import type * as vpc from '@pulumi/aws/vpc';
import type * as pulumi from '@pulumi/pulumi';

import { aws } from '../aws/provider';
import { childOptions } from '../common';
import { checkedNetwork } from '../managed';
import { adminPort, peerPort } from './conf';
import type { FargateSyncAgentArgs } from './fargate-args';

export interface Part {
  readonly parent: pulumi.Resource;
  /** First part of its children's names. */
  readonly name: string;
  /** AWS' name. */
  readonly region: string;
  readonly args: FargateSyncAgentArgs;
}

export interface Groups {
  readonly agent: ec2.SecurityGroup;
  readonly balancer: ec2.SecurityGroup;
  readonly journal: ec2.SecurityGroup;
}

const nfsPort = 2049;
const redisPortDefault = 6379;

/**
 * Peers → load balancer → agent → journal, and the agent to wherever its peers, its Redis and AWS' services are: their addresses are names, which security groups
 * don't know. The rules are resources of their own: rules inside of a security group and beside it undo each other.
 */
export function createGroups({ parent, name, region, args }: Part): Groups {
  const { tags } = args;
  const options = childOptions(parent);
  const group = (suffix: string, description: string) =>
    new aws.ec2.SecurityGroup(`${name}-${suffix}`, { region, vpcId: args.vpcId, description, tags }, options);
  const tcp = (port: pulumi.Input<number>) => ({ region, tags, ipProtocol: 'tcp', fromPort: port, toPort: port });
  const letIn = (
    rule: string,
    to: pulumi.Input<string>,
    port: pulumi.Input<number>,
    from: Partial<vpc.SecurityGroupIngressRuleArgs>,
  ) => new aws.vpc.SecurityGroupIngressRule(`${name}-${rule}`, { ...tcp(port), securityGroupId: to, ...from }, options);
  const letInAll = (
    kind: string,
    to: ec2.SecurityGroup,
    port: number,
    ids: FargateSyncAgentArgs['peerSecurityGroups'] = {},
    cidrs: FargateSyncAgentArgs['peerCidrs'] = {},
  ): void => {
    for (const [from, referencedSecurityGroupId] of Object.entries(ids))
      letIn(`${kind}-from-${from}`, to.id, port, { referencedSecurityGroupId });
    for (const [from, cidr] of Object.entries(cidrs))
      letIn(`${kind}-from-${from}`, to.id, port, { cidrIpv4: checkedNetwork(`${kind}Cidrs.${from}`, cidr) });
  };

  const agent = group('agent', `Sync agent ${name}`);
  const balancer = group('balancer', `Peers of sync agent ${name}`);
  const journal = group('journal', `Journal of sync agent ${name}`);

  letInAll('peer', balancer, peerPort, args.peerSecurityGroups, args.peerCidrs);
  letInAll('admin', agent, adminPort, args.adminSecurityGroups, args.adminCidrs);
  for (const [kind, port] of Object.entries({ peers: peerPort, health: adminPort })) {
    letIn(`${kind}-from-balancer`, agent.id, port, { referencedSecurityGroupId: balancer.id });
    new aws.vpc.SecurityGroupEgressRule(
      `${name}-${kind}-to-agent`,
      { ...tcp(port), securityGroupId: balancer.id, referencedSecurityGroupId: agent.id },
      options,
    );
  }
  letIn('journal-from-agent', journal.id, nfsPort, { referencedSecurityGroupId: agent.id });
  if (args.redisSecurityGroupId !== undefined)
    letIn('redis-from-agent', args.redisSecurityGroupId, args.redisPort ?? redisPortDefault, {
      referencedSecurityGroupId: agent.id,
    });
  new aws.vpc.SecurityGroupEgressRule(
    `${name}-out`,
    { ...tcp(0), toPort: 65_535, securityGroupId: agent.id, cidrIpv4: '0.0.0.0/0' },
    options,
  );
  return { agent, balancer, journal };
}

/**
 * The peers' address. A name of Cloud Map is known in its VPC only, while that of a load balancer resolves everywhere, and its addresses stay: other regions
 * come by peering or a transit gateway. TLS passes through, for the agents know each other by it.
 */
export function createBalancer({ parent, name, region, args }: Part, { balancer }: Groups) {
  const { tags } = args;
  const options = childOptions(parent);
  const loadBalancer = new aws.lb.LoadBalancer(
    name,
    {
      region,
      loadBalancerType: 'network',
      internal: true,
      subnets: Object.values(args.subnetIds),
      securityGroups: [balancer.id],
      // The one agent is in one zone: the addresses of the others lead there too.
      enableCrossZoneLoadBalancing: true,
      tags,
    },
    options,
  );
  const targetGroup = new aws.lb.TargetGroup(
    name,
    {
      region,
      vpcId: args.vpcId,
      targetType: 'ip',
      protocol: 'TCP',
      port: peerPort,
      // ECS waits for so long before it tells the agent to end: links open again by themselves, and waiting gains nothing.
      deregistrationDelay: 0,
      connectionTermination: true,
      healthCheck: {
        protocol: 'HTTP',
        port: String(adminPort),
        path: '/healthz',
        matcher: '200',
        interval: 10,
        timeout: 5,
        healthyThreshold: 2,
        unhealthyThreshold: 6,
      },
      tags,
    },
    options,
  );
  const listener = new aws.lb.Listener(
    name,
    {
      region,
      loadBalancerArn: loadBalancer.arn,
      port: peerPort,
      protocol: 'TCP',
      defaultActions: [{ type: 'forward', targetGroupArn: targetGroup.arn }],
      tags,
    },
    options,
  );
  return { targetGroup, listener, host: loadBalancer.dnsName };
}
