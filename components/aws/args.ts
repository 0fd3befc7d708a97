import type * as pulumi from '@pulumi/pulumi';

import { Capture, type ConfigIssue, demandIssues } from '../../model';
import { dnsLabel, namesList, oneOf, rule, whole } from '../common';
import { RedisUse } from '../kubernetes/args';
import { accountsOf, captureOf, eventIssues, eventsOf, networkIssues } from '../managed';

/** What ElastiCache runs. */
export const ElastiCacheEngine = {
  Valkey: 'valkey',
  /** Redis OSS, up to 7.1. */
  Redis: 'redis',
} as const;
export type ElastiCacheEngine = (typeof ElastiCacheEngine)[keyof typeof ElastiCacheEngine];

/** The part of a Global Datastore that stands in another region. */
export interface ElastiCacheSecondaryArgs {
  /** VPC in that region. */
  vpcId: pulumi.Input<string>;
  /** Subnets in that region, in two zones or more. */
  subnetIds: pulumi.Input<pulumi.Input<string>[]>;
  /** Security groups in that region whose members may connect, by names of your choice. Default: none. */
  clientSecurityGroups?: { [name: string]: pulumi.Input<string> };
  /** IPv4 networks from which clients may connect, by names of your choice; never 0.0.0.0/0. Default: none. */
  clientCidrs?: { [name: string]: pulumi.Input<string> };
  /** ARN of a KMS key in that region, for data at rest. Default: ElastiCache's own key. It can't be changed later. */
  kmsKeyArn?: pulumi.Input<string>;
}

export interface ElastiCacheRedisArgs extends ElastiCacheNodesArgs {
  /** Name of the region in the stack. */
  region: string;
  /** `userPasswords` of RedisSecurity. */
  userPasswords: pulumi.Input<{ [user: string]: string[] }>;
  /**
   * Users of the applications and their rules on commands, on all keys. Plain, for each is a resource. The sync agent and the exporter have
   * users of their own; `default` is disabled. Default: app (`+@read +@write`), read (`+@read`), admin (`+@all`).
   */
  users?: { [user: string]: string[] };
  /**
   * How the sync agent learns of changes; a Capture. `psync` is refused by ElastiCache. Default: notifications; `none` for a Redis beside the
   * mesh, which then pays for no notifications.
   */
  capture?: Capture;
  /** The slots of each shard of a new cluster, such as `['0-8191', '8192-16383']`; they are not moved later. Default: as ElastiCache gives them out. */
  slots?: string[];
  /** A RedisUse: whether a full Redis evicts (`maxmemory-policy`). Default: data. */
  use?: RedisUse;
  /** Refuse to delete the data: replication groups and the Global Datastore. For production. Default: false. */
  protect?: boolean;
  /**
   * Leave the data alone when it leaves the program, and what it can't run without. Rules that let clients in are deleted all the same.
   * For production. Default: false.
   */
  retainOnDelete?: boolean;
}

/** Where an ElastiCache is, and what can be chosen about it. */
export interface ElastiCacheNodesArgs {
  /** AWS' name of the region, set at every resource, whatever the provider's default is. Default: `region`. */
  providerRegion?: string;
  /** VPC of the region. */
  vpcId: pulumi.Input<string>;
  /** Subnets, in two zones or more: primary and replica stand in different ones. A change makes a new, empty Redis. */
  subnetIds: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * Security groups whose members may connect (applications, the sync agent, the exporter), by names of your choice: each is a rule of
   * its own, so that one comes and goes without the others. Default: none, and nobody can connect.
   */
  clientSecurityGroups?: { [name: string]: pulumi.Input<string> };
  /** IPv4 networks from which clients may connect, by names of your choice; /8 or narrower, never 0.0.0.0/0. Default: none. */
  clientCidrs?: { [name: string]: pulumi.Input<string> };

  /**
   * Accept two passwords of each user, so that no client is refused while one is replaced. They then go by the ordinary argument, encrypted in
   * Pulumi's state, inputs and outputs. False: the first password alone, by ElastiCache's write-only argument, which no refresh and no output
   * shows; from the moment it is replaced, new connections need the new one. Default: false.
   */
  passwordOverlap?: boolean;
  /**
   * First part of the IDs of users and their group, which are unique in an AWS account and region. Default: the component's name. Give
   * one when two stacks in one account call a component the same.
   */
  idPrefix?: string;

  /** `notify-keyspace-events`. With capture by notifications it has A, K and E at least. Default: `AKE` with it, else none. */
  notifyKeyspaceEvents?: string;

  /** An ElastiCacheEngine. A change from redis to valkey is an upgrade in place; the reverse makes a new, empty one. Default: valkey. */
  engine?: ElastiCacheEngine;
  /**
   * Version, `major.minor`. Going back makes a new, empty one. A key is read back in the engine's own form (DUMP), which older engines refuse:
   * no region of the mesh should be much older. Default: 8.0 of Valkey, 7.1 of Redis.
   */
  engineVersion?: string;
  /** Size of a node. Default: cache.r7g.xlarge, 26 GiB, of which ElastiCache reserves a quarter: 16 GiB of data fit. */
  nodeType?: pulumi.Input<string>;
  /** Replicas of each primary, 1 to 5. ElastiCache promotes one when the primary or its zone fails. Default: 1. */
  replicas?: number;
  /** Shards, 1 to 90; more than one is a cluster, with a sync agent for each (docs/cluster.md), none of them in Fargate. Default: 1. */
  shards?: number;
  /** ARN of a KMS key for data at rest. Default: ElastiCache's own key. A change makes a new, empty Redis. */
  kmsKeyArn?: pulumi.Input<string>;

  /** How long daily snapshots are kept, in days, 0 to 35; 0: none are made. Default: 7, and 1 in a cache. */
  snapshotRetentionDays?: number;
  /** When the daily snapshot is made, UTC, at least an hour. Default: 03:00-04:00. */
  snapshotWindow?: pulumi.Input<string>;
  /** Name of a snapshot that is made when this Redis is deleted; it must be free at that time. Default: none is made. */
  finalSnapshotName?: pulumi.Input<string>;
  /** When AWS may restart nodes, UTC, at least an hour, apart from the snapshot. Default: sun:05:00-sun:06:00. */
  maintenanceWindow?: pulumi.Input<string>;
  /** Make changes at once, rather than in the maintenance window. Default: false, as some restart nodes. */
  applyImmediately?: pulumi.Input<boolean>;
  /** How long the slow log and the engine's log are kept in CloudWatch, in days, of those that CloudWatch knows. Default: 30. */
  logRetentionDays?: pulumi.Input<number>;

  /**
   * Copies in other regions by a Global Datastore, by AWS' names of the regions, two at the most. They only read: AWS promotes one by hand or API
   * when this region is lost. No members of the mesh, but a place to recover this member from. Needs nodes of the m5, r5 families or newer.
   * Default: none.
   */
  globalSecondaries?: { [region: string]: ElastiCacheSecondaryArgs };

  /** Tags of everything. Default: none besides the provider's own. */
  tags?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

/** What is plain in the arguments, with its defaults. */
export interface Shape {
  readonly awsRegion: string;
  readonly capture: Capture;
  readonly events: string;
  readonly use: RedisUse;
  readonly engine: ElastiCacheEngine;
  readonly version: string;
  /** Of the parameters that a version knows. */
  readonly family: string;
  readonly replicas: number;
  readonly shards: number;
  readonly snapshotDays: number;
  readonly idPrefix: string;
  readonly secondaries: readonly string[];
}

export function shapeOf(name: string, args: ElastiCacheRedisArgs): Shape {
  const use = args.use ?? RedisUse.Data;
  const engine = args.engine ?? ElastiCacheEngine.Valkey;
  const version = args.engineVersion ?? (engine === ElastiCacheEngine.Valkey ? '8.0' : '7.1');
  return {
    awsRegion: args.providerRegion ?? args.region,
    capture: captureOf(args),
    events: eventsOf(args),
    use,
    engine,
    version,
    family: `${engine}${version.split('.')[0] ?? ''}`,
    replicas: args.replicas ?? 1,
    shards: args.shards ?? 1,
    snapshotDays: args.snapshotRetentionDays ?? (use === RedisUse.Data ? 7 : 1),
    idPrefix: args.idPrefix ?? name,
    secondaries: Object.keys(args.globalSecondaries ?? {}),
  };
}

/** What is set of the engine's parameters: https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/ParameterGroups.Engine.html */
export function parametersOf({ use, events, shards }: Shape): { name: string; value: string }[] {
  return [
    { name: 'maxmemory-policy', value: use === RedisUse.Cache ? 'allkeys-lru' : 'noeviction' },
    // Absent rather than empty: what is absent is set back to the engine's default, which is none.
    ...(events === '' ? [] : [{ name: 'notify-keyspace-events', value: events }]),
    ...(shards > 1 ? [{ name: 'cluster-enabled', value: 'yes' }] : []),
  ];
}

const versions: Record<ElastiCacheEngine, { pattern: RegExp; words: string }> = {
  valkey: { pattern: /^(7\.2|[89]\.\d+)$/, words: 'a version of Valkey from 7.2 on, such as 8.0' },
  redis: { pattern: /^7\.[01]$/, words: '7.0 or 7.1: newer ones are Valkey' },
};

const secondariesMax = 2;
/** Of IDs of users and replication groups. */
const idLengthMax = 40;
/** What Pulumi puts behind a name to make it unique. */
const suffixLength = 8;
/** Small nodes can't be in a Global Datastore. */
const smallNode = /^cache\.(t\d|m[1-4]|r[1-4])/;
const windowPattern = /^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$/;
const weeklyPattern = /^(mon|tue|wed|thu|fri|sat|sun):\d\d:\d\d-(mon|tue|wed|thu|fri|sat|sun):\d\d:\d\d$/;

/** Everything that is wrong with the plain arguments. */
export function issuesOf(name: string, args: ElastiCacheRedisArgs): ConfigIssue[] {
  const shape = shapeOf(name, args);
  const { engine, version, secondaries } = shape;
  const accounts = Object.keys(accountsOf(args.users));
  const { globalSecondaries = {} } = args;
  const longestBase = Math.max(name.length, ...secondaries.map((region) => `${name}-${region}`.length));
  const longestId = [shape.idPrefix, ...accounts.map((user) => `${shape.idPrefix}-${user}`)].reduce((a, b) =>
    b.length > a.length ? b : a,
  );
  const hasSecondaries = secondaries.length > 0;
  return [
    ...dnsLabel('region', args.region),
    ...dnsLabel('providerRegion', shape.awsRegion),
    ...dnsLabel('name', name, idLengthMax - suffixLength),
    ...rule(
      !name.includes('--') && longestBase <= idLengthMax - suffixLength,
      'name',
      `"${name}", ${longestBase} characters with the longest region`,
      `up to ${idLengthMax - suffixLength}, without two hyphens in a row`,
    ),
    ...dnsLabel('idPrefix', shape.idPrefix),
    ...rule(
      !shape.idPrefix.includes('--') && longestId.length <= idLengthMax,
      'idPrefix',
      `the ID ${longestId}`,
      `IDs of up to ${idLengthMax} characters, without two hyphens in a row`,
    ),
    ...namesList('users', Object.keys(args.users ?? {}), 0),
    ...rule(
      !Object.keys(args.users ?? {}).some((user) => user === 'default' || user.startsWith('meridian')),
      'users',
      Object.keys(args.users ?? {}).join(', '),
      'none of `default` and `meridian…`, which are taken',
    ),
    ...clientIssues('', args),
    ...secondaries.flatMap((region) => clientIssues(`globalSecondaries.${region}.`, globalSecondaries[region] ?? {})),

    ...oneOf('capture', args.capture, Capture),
    ...oneOf('use', args.use, RedisUse),
    ...oneOf('engine', args.engine, ElastiCacheEngine),
    ...rule(
      versions[engine]?.pattern.test(version) ?? true,
      'engineVersion',
      `"${version}", with engine ${engine}`,
      versions[engine]?.words ?? '',
    ),
    ...eventIssues(args),
    ...whole('replicas', args.replicas, 1, 5),
    ...whole('shards', args.shards, 1, 90),
    ...rule(
      args.slots === undefined || args.slots.length === shape.shards,
      'slots',
      `${args.slots?.length ?? 0} of ${shape.shards} shards`,
      'the slots of each shard',
    ),
    ...demandIssues('elasticache', {
      capture: shape.capture,
      shards: shape.shards,
      replicas: shape.replicas,
      zones: true,
      userRules: true,
      passwordOverlap: args.passwordOverlap === true,
      snapshots: shape.snapshotDays > 0,
    }),
    ...whole('snapshotRetentionDays', args.snapshotRetentionDays, 0, 35, 'days'),
    ...matches('snapshotWindow', args.snapshotWindow, windowPattern, 'hh:mm-hh:mm, UTC'),
    ...matches('maintenanceWindow', args.maintenanceWindow, weeklyPattern, 'ddd:hh:mm-ddd:hh:mm, UTC'),

    ...rule(
      secondaries.length <= secondariesMax,
      'globalSecondaries',
      `${secondaries.length} regions`,
      `up to ${secondariesMax}: a Global Datastore has one region that writes and two that read`,
    ),
    ...rule(
      !secondaries.includes(shape.awsRegion),
      'globalSecondaries',
      shape.awsRegion,
      'other regions than its own: a Global Datastore has one part in a region',
    ),
    ...secondaries.flatMap((region) => dnsLabel('globalSecondaries', region)),
    ...rule(!hasSecondaries || shape.shards === 1, 'shards', shape.shards, '1, with globalSecondaries'),
    ...rule(
      !hasSecondaries || typeof args.nodeType !== 'string' || !smallNode.test(args.nodeType),
      'nodeType',
      args.nodeType,
      'a node of the m5, r5 families or newer, with globalSecondaries',
    ),
  ];
}

function matches(path: string, value: unknown, pattern: RegExp, words: string): ConfigIssue[] {
  return rule(typeof value !== 'string' || pattern.test(value), path, value, words);
}

type Clients = Pick<ElastiCacheSecondaryArgs, 'clientSecurityGroups' | 'clientCidrs'>;

function clientIssues(path: string, { clientSecurityGroups = {}, clientCidrs = {} }: Clients): ConfigIssue[] {
  return [
    // One list of names, for both become rules of one security group.
    ...namesList(`${path}clients`, [...Object.keys(clientSecurityGroups), ...Object.keys(clientCidrs)], 0),
    ...networkIssues(`${path}clientCidrs`, clientCidrs),
  ];
}
