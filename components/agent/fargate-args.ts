import type * as pulumi from '@pulumi/pulumi';

import { Capture, type ConfigIssue } from '../../model';
import { dnsLabel, namesList, oneOf, rule } from '../common';
import { networkIssues } from '../managed';
import { type AgentMember, type ConflictPolicyArgs, issuesOf as agentIssues, type PeerTopology } from './args';

/** What the image is built for. */
export const FargateArchitecture = {
  X86: 'X86_64',
  /** Graviton: cheaper by the hour; the image must be built for it. */
  Arm: 'ARM64',
} as const;
export type FargateArchitecture = (typeof FargateArchitecture)[keyof typeof FargateArchitecture];

export interface FargateSyncAgentArgs extends FargateTaskArgs {
  /** Name of the region in the stack, one of `members`. */
  region: string;
  /** AWS' name of the region, set at every resource that has one, whatever the provider's default is. Default: `region`. */
  providerRegion?: string;
  /** Name of the stack; agents of different stacks refuse each other. */
  stack: pulumi.Input<string>;
  /** VPC of the region: that of its Redis, or one that reaches it. */
  vpcId: pulumi.Input<string>;
  /** Image of the agent, in production by digest; it has `node` and `/app/dist/agent/main.js`. */
  image: pulumi.Input<string>;

  /** All regions of the mesh, in the stack's order: it decides the neighbours in a ring. */
  members: AgentMember[];
  /** A PeerTopology. Default: mesh. */
  topology?: PeerTopology;
  /** The middle of a star; needed with topology star only. */
  hub?: string;
  /** Where the agents of the other regions are reached, `host` or `host:port`, by region: of those at least that this one is linked with. */
  peerHosts: { [region: string]: pulumi.Input<string> };
  /** IPv4 networks from which peers connect: those of the other regions, by names of your choice; /8 or narrower. Default: none. */
  peerCidrs?: { [name: string]: pulumi.Input<string> };

  /** Where Redis is: `host` of ElastiCacheRedis. It speaks TLS, with a certificate that any system trusts. */
  redisHost: pulumi.Input<string>;
  /** Its port. Default: 6379. */
  redisPort?: pulumi.Input<number>;
  /** The agent's name at Redis. Default: meridian-agent. */
  redisUsername?: pulumi.Input<string>;
  /** `securityGroupId` of ElastiCacheRedis: the agent gets a rule there that lets it in. Default: it is let in some other way. */
  redisSecurityGroupId?: pulumi.Input<string>;
  /** `userPasswords` of RedisSecurity; only the agent's own is used. */
  userPasswords: pulumi.Input<{ [user: string]: string[] }>;
  /** `caBundlePem` of RedisSecurity: whom the agent trusts as a peer. */
  caBundlePem: pulumi.Input<string>;
  /** `caCertPem` of RedisSecurity: it signs the agent's certificate. */
  caCertPem: pulumi.Input<string>;
  /** `caPrivateKeyPem` of RedisSecurity. It is used by Pulumi only, and not handed to AWS. */
  caPrivateKeyPem: pulumi.Input<string>;
  /** Validity of the agent's certificate, in days. Default: 365. It is renewed by `pulumi up` in the last twelfth of it. */
  certificateValidityDays?: pulumi.Input<number>;

  /** The lag beyond which a region counts as behind, in milliseconds. Default: 1000. */
  maxLagMs?: pulumi.Input<number>;
  /** Between two heartbeats, in milliseconds: the resolution of stamps and of the measured lag. Default: 25. */
  heartbeatMs?: pulumi.Input<number>;
  /** Of what travels between regions: auto, none, deflate. Default: auto. */
  compression?: pulumi.Input<string>;
  /** What becomes of keys by their names, by the first pattern that matches; the same at all agents of a mesh. Default: none; all keys merge. */
  conflicts?: ConflictPolicyArgs[];
  /** What the conflict journal keeps of values: full, digest, none. Default: digest, for they may be secret. */
  conflictValues?: pulumi.Input<string>;
  /** What a client's FLUSHALL does to the other regions: carry, or refuse (its region then gets its data back). Default: carry. */
  flush?: pulumi.Input<string>;
  /** A trial: the agent reads and reports what it would do, and writes nothing to Redis (docs/dry-run.md). Default: false. */
  dryRun?: pulumi.Input<boolean>;
  /** Size from which the journal counts as full, in bytes; EFS grows with it. Default: 8 GiB. */
  journalBytes?: pulumi.Input<number>;
  /** Size of one of its files, in bytes; at most a quarter of it. Default: 64 MiB. */
  journalSegmentBytes?: pulumi.Input<number>;
  /**
   * Memory for what not every region has seen yet, in bytes; beyond it the oldest goes to the volume of the journal. Default: 256 MiB. More
   * where regions are seconds apart under much load.
   */
  windowBytes?: pulumi.Input<number>;
  /** What is logged: trace, debug, info, warn, error. Default: info. */
  logLevel?: pulumi.Input<string>;
  /** Refuse to delete the journal. For production. Default: false. */
  protect?: boolean;
  /** Leave the journal alone when it leaves the program. For production. Default: false. */
  retainOnDelete?: boolean;
}

/** Where a region's agent runs in Fargate, and what can be chosen about that. */
export interface FargateTaskArgs {
  /**
   * Private subnets for the agent, its journal and its load balancer, each in a zone of its own, by names of your choice, such as the zone's. Two or more: the
   * agent starts again in another when a zone fails. From there the image's registry, Secrets Manager and CloudWatch Logs must be reached: by NAT or VPC endpoints.
   */
  subnetIds: { [zone: string]: pulumi.Input<string> };
  /** ARN of an ECS cluster. Default: one is made, which costs nothing by itself. */
  clusterArn?: pulumi.Input<string>;
  /** ARN of the image's repository in ECR, from which alone may be pulled. Default: none; the image's registry asks for no login. */
  repositoryArn?: pulumi.Input<string>;
  /** A FargateArchitecture, that of the image. Default: X86_64. */
  architecture?: FargateArchitecture;
  /** CPU, in units of 1/1024: 512, 1024, 2048 or 4096. Default: 1024. */
  cpu?: number;
  /**
   * Memory, in MiB, beyond which the agent is killed; Fargate has steps of 1024, from two to eight times `cpu`. While a region is away the agent remembers the keys
   * written meanwhile. Default: twice `cpu`, the least: 2048.
   */
  memoryMb?: number;

  /** Security groups of this VPC whose members may connect as peers, by names of your choice; links are mutual TLS. Default: none. */
  peerSecurityGroups?: { [name: string]: pulumi.Input<string> };
  /** Security groups whose members may read /metrics and /status, by names of your choice; the port has no password. Default: none. */
  adminSecurityGroups?: { [name: string]: pulumi.Input<string> };
  /** IPv4 networks from which /metrics and /status may be read, by names of your choice; /8 or narrower. Default: none. */
  adminCidrs?: { [name: string]: pulumi.Input<string> };

  /** How long the log is kept in CloudWatch, in days, of those that CloudWatch knows. Default: 30. */
  logRetentionDays?: pulumi.Input<number>;
  /** ARN of a KMS key for journal and secrets. Default: AWS' own keys. A change makes a new, empty journal, which `protect` refuses. */
  kmsKeyArn?: pulumi.Input<string>;
  /** Tags of everything that takes some. Default: none besides the provider's own. */
  tags?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

/** What is plain in the arguments, with its defaults. */
export function sizeOf({ cpu = 1024, memoryMb = 2 * cpu }: Pick<FargateSyncAgentArgs, 'cpu' | 'memoryMb'>) {
  return { cpu, memoryMb };
}

export const awsRegionOf = ({ region, providerRegion }: FargateSyncAgentArgs): string => providerRegion ?? region;

/** The arguments as those of an agent anywhere: ElastiCache gives no replication stream. */
export const agentArgsOf = (args: FargateSyncAgentArgs) => ({ ...args, capture: Capture.Notifications });

/** https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size */
const cpus = [512, 1024, 2048, 4096];
const memoryStepMb = 1024;

/** Load balancers have names of up to 32 characters, 8 of which Pulumi puts behind a name to make it unique. */
const nameLengthMax = 24;

/** Everything that is wrong with the plain arguments. */
export function issuesOf(name: string, args: FargateSyncAgentArgs): ConfigIssue[] {
  const { cpu, memoryMb } = sizeOf(args);
  const { peerSecurityGroups = {}, peerCidrs = {}, adminSecurityGroups = {}, adminCidrs = {} } = args;
  const both = (...maps: object[]): string[] => maps.flatMap((map) => Object.keys(map));
  return [
    ...dnsLabel('name', name, nameLengthMax),
    ...rule(!name.startsWith('internal-'), 'name', name, 'not internal-…, which AWS keeps for itself'),
    ...agentIssues(agentArgsOf(args)),
    ...dnsLabel('providerRegion', awsRegionOf(args)),
    ...namesList('subnetIds', Object.keys(args.subnetIds), 2),
    ...oneOf('architecture', args.architecture, FargateArchitecture),
    ...rule(cpus.includes(cpu), 'cpu', cpu, `${cpus.join(', ')} (units of 1/1024)`),
    ...rule(
      !cpus.includes(cpu) || (memoryMb % memoryStepMb === 0 && memoryMb >= 2 * cpu && memoryMb <= 8 * cpu),
      'memoryMb',
      `${memoryMb}, with cpu ${cpu}`,
      `a multiple of ${memoryStepMb} from ${2 * cpu} to ${8 * cpu} (MiB)`,
    ),
    // One list of names, for both become rules of one security group.
    ...namesList('peers', both(peerSecurityGroups, peerCidrs), 0),
    ...namesList('admins', both(adminSecurityGroups, adminCidrs), 0),
    ...networkIssues('peerCidrs', peerCidrs),
    ...networkIssues('adminCidrs', adminCidrs),
  ];
}
