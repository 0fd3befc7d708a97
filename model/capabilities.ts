import { Capture } from './capture';
import { type ConfigIssue } from './explain';
import { type Backend } from './regions';

/**
 * What runs Redis. A backend of a stack's config, or a form of one that can do less than its name says. What each can do is data,
 * with the page that says so; what a region demands is compared with it before anything is made.
 */
export type Service = Backend | 'elasticache-serverless';

/** Something a service can or can't do, and who says so. */
export interface Fact<Value> {
  readonly is: Value;
  /** A page of the service's own documentation, or of Redis'. */
  readonly source: string;
}

export interface Capabilities {
  /** Whether a region of it can be a member of a mesh of sync agents, and if not, why. */
  readonly mesh: Fact<true> | (Fact<false> & { readonly reason: string });
  /** Answers PSYNC, and so gives its replication stream to an agent. */
  readonly psync: Fact<boolean>;
  /** How `notify-keyspace-events` is set: by CONFIG SET or redis.conf, by the service's own parameters, or not at all. */
  readonly notifications: Fact<'config' | 'parameters' | 'none'>;
  /** CONFIG SET over the wire. */
  readonly config: Fact<boolean>;
  /** Users with ACL rules, or accounts that either only read or read and write. */
  readonly users: Fact<'rules' | 'read-write'>;
  /** How a user logs in: `AUTH name password`, or by a password that begins with the name and a separator. */
  readonly login: Fact<'name' | 'name:password' | 'name@password'>;
  /** Passwords that a user may have at a time. With one, clients that still have the old one are refused in a rotation. */
  readonly passwords: Fact<1 | 2>;
  /** Whose certificates it shows: those of the stack's own authority, or the provider's. */
  readonly tls: Fact<'own' | 'provider'>;
  /** Backups made by the service. On Kubernetes they are ours to make. */
  readonly snapshots: Fact<boolean>;
  /** Whether the data is spread over shards by slots. */
  readonly cluster: Fact<'never' | 'optional' | 'always'>;
  /** Primary and replica may stand in different zones. */
  readonly zones: Fact<boolean>;
  /** What it lacks beyond that, for people. */
  readonly limits: readonly string[];
}

const redisDocs = 'https://redis.io/docs/latest';
const awsDocs = 'https://docs.aws.amazon.com';
const elasticacheDocs = `${awsDocs}/AmazonElastiCache/latest/dg`;
const memorydbDocs = `${awsDocs}/memorydb/latest/devguide`;
const aliyunDocs = 'https://www.alibabacloud.com/help/en/redis/user-guide';
const tencentDocs = 'https://www.tencentcloud.com/document/product/239';

const fact = <const Value>(is: Value, source: string): Fact<Value> => ({ is, source });

/** Redis itself, which we configure. */
const own: Capabilities = {
  mesh: fact(true, `${redisDocs}/operate/oss_and_stack/management/replication/`),
  psync: fact(true, `${redisDocs}/commands/psync/`),
  notifications: fact('config', `${redisDocs}/develop/pubsub/keyspace-notifications/`),
  config: fact(true, `${redisDocs}/commands/config-set/`),
  users: fact('rules', `${redisDocs}/operate/oss_and_stack/management/security/acl/`),
  login: fact('name', `${redisDocs}/commands/auth/`),
  passwords: fact(2, `${redisDocs}/operate/oss_and_stack/management/security/acl/`),
  tls: fact('own', `${redisDocs}/operate/oss_and_stack/management/security/encryption/`),
  snapshots: fact(false, `${redisDocs}/operate/oss_and_stack/management/persistence/`),
  cluster: fact('optional', `${redisDocs}/operate/oss_and_stack/management/scaling/`),
  zones: fact(true, 'https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/'),
  limits: [],
};

/** True of every service that gives no replication stream. */
const withoutStream: readonly string[] = [
  'Whole keys are merged, the last writer wins; counters do not add up (replication.acceptWholeKeyMerge).',
  'The agent is no replica there: it can hold back no acknowledgement, so that WAIT and min-replicas-to-write say nothing of other regions.',
];

export const capabilities: Readonly<Record<Service, Capabilities>> = {
  kubernetes: own,
  local: { ...own, zones: fact(false, `${redisDocs}/operate/oss_and_stack/management/replication/`) },
  elasticache: {
    mesh: fact(true, `${elasticacheDocs}/SupportedCommands.html`),
    psync: fact(false, `${elasticacheDocs}/SupportedCommands.html`),
    notifications: fact('parameters', 'https://repost.aws/knowledge-center/elasticache-redis-keyspace-notifications'),
    config: fact(false, `${elasticacheDocs}/SupportedCommands.html`),
    users: fact('rules', `${elasticacheDocs}/Clusters.RBAC.html`),
    login: fact('name', `${elasticacheDocs}/Clusters.RBAC.html`),
    passwords: fact(2, `${elasticacheDocs}/Clusters.RBAC.html`),
    tls: fact('provider', `${elasticacheDocs}/in-transit-encryption.html`),
    snapshots: fact(true, `${elasticacheDocs}/backups.html`),
    cluster: fact('optional', `${elasticacheDocs}/Replication.Redis-RedisCluster.html`),
    zones: fact(true, `${elasticacheDocs}/AutoFailover.html`),
    limits: [
      ...withoutStream,
      'There is no append-only file: what the last snapshot lacks is gone when primary and replica are lost together.',
      'A Global Datastore takes writes in one region only, and has at most two others.',
    ],
  },
  'elasticache-serverless': {
    mesh: {
      ...fact(false, `${awsDocs}/AmazonElastiCache/latest/APIReference/API_CreateServerlessCache.html`),
      reason: 'a serverless cache has no parameter group: notify-keyspace-events cannot be set, and PSYNC is refused',
    },
    psync: fact(false, `${elasticacheDocs}/SupportedCommands.html`),
    notifications: fact('none', `${awsDocs}/AmazonElastiCache/latest/APIReference/API_CreateServerlessCache.html`),
    config: fact(false, `${elasticacheDocs}/SupportedCommands.html`),
    users: fact('rules', `${elasticacheDocs}/Clusters.RBAC.html`),
    login: fact('name', `${elasticacheDocs}/Clusters.RBAC.html`),
    passwords: fact(2, `${elasticacheDocs}/Clusters.RBAC.html`),
    tls: fact('provider', `${elasticacheDocs}/in-transit-encryption.html`),
    snapshots: fact(true, `${elasticacheDocs}/backups.html`),
    cluster: fact('always', `${elasticacheDocs}/WorkingWithRedis.html`),
    zones: fact(true, `${elasticacheDocs}/WhatIs.deployment.html`),
    limits: withoutStream,
  },
  memorydb: {
    mesh: {
      ...fact(false, `${memorydbDocs}/clusters.html`),
      reason:
        'a MemoryDB is always a cluster of shards whose slots the service gives out, and its own multi-Region replication writes beside the agents',
    },
    psync: fact(false, `${memorydbDocs}/restrictedcommands.html`),
    notifications: fact('parameters', `${memorydbDocs}/parametergroups.redis.html`),
    config: fact(false, `${memorydbDocs}/restrictedcommands.html`),
    users: fact('rules', `${memorydbDocs}/clusters.acls.html`),
    login: fact('name', `${memorydbDocs}/clusters.acls.html`),
    passwords: fact(2, `${memorydbDocs}/clusters.acls.html`),
    tls: fact('provider', `${memorydbDocs}/in-transit-encryption.html`),
    snapshots: fact(true, `${memorydbDocs}/snapshots.html`),
    cluster: fact('always', `${memorydbDocs}/components.html`),
    zones: fact(true, `${memorydbDocs}/autofailover.html`),
    limits: [...withoutStream, 'MemoryDB Multi-Region knows strings, hashes, sets and sorted sets only.'],
  },
  aliyun: {
    mesh: fact(true, `${aliyunDocs}/supported-parameters`),
    // The service knows accounts with the privilege to replicate, but its provider for Pulumi can't make one.
    psync: fact(false, 'https://www.pulumi.com/registry/packages/alicloud/api-docs/kvstore/account/'),
    notifications: fact('parameters', `${aliyunDocs}/supported-parameters`),
    config: fact(false, `${aliyunDocs}/supported-parameters`),
    users: fact('read-write', `${aliyunDocs}/create-and-manage-database-accounts`),
    login: fact('name:password', `${aliyunDocs}/logon-methods`),
    passwords: fact(1, `${aliyunDocs}/create-and-manage-database-accounts`),
    tls: fact('provider', `${aliyunDocs}/enable-tls-encryption`),
    snapshots: fact(true, `${aliyunDocs}/automatic-or-manual-backup`),
    cluster: fact('optional', `${aliyunDocs}/standard-architecture`),
    zones: fact(true, `${aliyunDocs}/disaster-recovery`),
    limits: [
      ...withoutStream,
      'Accounts read, or read and write: no rules on commands, keys or channels. admin is no more than app, and the exporter can read data.',
      'An account logs in with its name inside the password, `AUTH name:password`.',
      'The account of the instance itself cannot be removed.',
      'Backups are kept for as long as the service says.',
    ],
  },
  tencent: {
    mesh: fact(true, `${tencentDocs}/34590`),
    psync: fact(false, `${tencentDocs}/31959`),
    notifications: fact(
      'parameters',
      'https://registry.terraform.io/providers/tencentcloudstack/tencentcloud/latest/docs/resources/redis_param',
    ),
    config: fact(false, `${tencentDocs}/31959`),
    users: fact('read-write', `${tencentDocs}/34590`),
    login: fact('name@password', `${tencentDocs}/34590`),
    passwords: fact(1, `${tencentDocs}/34590`),
    tls: fact(
      'provider',
      'https://registry.terraform.io/providers/tencentcloudstack/tencentcloud/latest/docs/resources/redis_ssl',
    ),
    snapshots: fact(
      true,
      'https://registry.terraform.io/providers/tencentcloudstack/tencentcloud/latest/docs/resources/redis_backup_config',
    ),
    cluster: fact('optional', `${tencentDocs}/31959`),
    zones: fact(true, `${tencentDocs}/31959`),
    limits: [
      ...withoutStream,
      'Accounts read, or read and write: no rules on commands, keys or channels. admin is no more than app, and the exporter can read data.',
      'An account logs in with its name inside the password, `AUTH name@password`, not by `AUTH name password`.',
      'Clients talk to a proxy of the service, never to Redis itself.',
    ],
  },
};

/** The least that a service must do for a region. Absent: no matter. */
export interface Demands {
  /** How the sync agent is to learn of changes; `none` for a Redis that is no member of a mesh. */
  readonly capture: Capture;
  /** Shards; more than one is a cluster. */
  readonly shards?: number;
  /** Replicas of each primary. */
  readonly replicas?: number;
  /** Primary and replica in different zones. */
  readonly zones?: boolean;
  /** Users with rules on commands. */
  readonly userRules?: boolean;
  /** Two passwords of a user at a time, for a rotation that nobody notices. */
  readonly passwordOverlap?: boolean;
  /** Certificates of the stack's own authority. */
  readonly ownCertificates?: boolean;
  /** Backups made by the service. */
  readonly snapshots?: boolean;
}

/** What a service can't do of what is demanded. The paths are the names of components' arguments. */
export function demandIssues(service: Service, demands: Demands): ConfigIssue[] {
  const can = capabilities[service];
  const { capture, shards = 1 } = demands;
  const issues: ConfigIssue[] = [];
  const refuse = (path: string, found: string, allowed: string): void => void issues.push({ path, found, allowed });

  const hasAgent = capture !== Capture.None;
  if (hasAgent && !can.mesh.is) {
    refuse('capture', `${capture}, with ${service}`, `none (beside the mesh): ${can.mesh.reason}`);
  } else if (capture === Capture.Psync && !can.psync.is) {
    const instead = can.notifications.is === 'none' ? Capture.None : Capture.Notifications;
    refuse('capture', `psync, with ${service}`, `${instead}: the service refuses PSYNC (${can.psync.source})`);
  } else if (capture === Capture.Notifications && can.notifications.is === 'none') {
    refuse('capture', `notifications, with ${service}`, `none: they cannot be set (${can.notifications.source})`);
  }

  if (shards > 1 && can.cluster.is === 'never') refuse('shards', `${shards}, with ${service}`, '1: it has no cluster');

  if (demands.zones === true && !can.zones.is) refuse('zones', `several, with ${service}`, `one (${can.zones.source})`);
  if (demands.zones === true && demands.replicas === 0)
    refuse('replicas', '0', '1 or more: without a replica there is nothing in the other zone to promote');
  if (demands.userRules === true && can.users.is !== 'rules')
    refuse(
      'users',
      `rules on commands, with ${service}`,
      `accounts that read, or read and write (${can.users.source})`,
    );
  if (demands.passwordOverlap === true && can.passwords.is < 2)
    refuse('passwordOverlap', `true, with ${service}`, `false: a user has one password (${can.passwords.source})`);
  if (demands.ownCertificates === true && can.tls.is !== 'own')
    refuse('tls', `certificates of the stack's own, with ${service}`, `the provider's (${can.tls.source})`);
  if (demands.snapshots === true && !can.snapshots.is)
    refuse('snapshots', `by the service, with ${service}`, `none (${can.snapshots.source})`);
  return issues;
}

/** How the agent of a region captures: by the stream where there is one. */
export function captureOf(service: Service): Capture {
  if (!capabilities[service].mesh.is) return Capture.None;
  return capabilities[service].psync.is ? Capture.Psync : Capture.Notifications;
}

/** The same of a region of a stack's config, which may choose where its backend has both. */
export function regionCapture({
  backend,
  capture,
}: {
  readonly backend: Backend;
  readonly capture?: Capture | undefined;
}): Capture {
  return capture ?? captureOf(backend);
}

interface RegionOfBackend {
  readonly name: string;
  readonly backend: Backend;
  readonly replicas: number;
  readonly elasticache?: { readonly serverless: boolean } | undefined;
}

/** What really runs a region's Redis. */
export function serviceOf({ backend, elasticache }: Pick<RegionOfBackend, 'backend' | 'elasticache'>): Service {
  return backend === 'elasticache' && elasticache?.serverless === true ? 'elasticache-serverless' : backend;
}

/**
 * Regions of a stack that can't be what a region of a stack is: a member of the mesh, with what the config asks of it. Beyond
 * what the config itself is checked for (`replication.acceptWholeKeyMerge`).
 */
export function regionIssues({ regions }: { readonly regions: readonly RegionOfBackend[] }): ConfigIssue[] {
  return regions.flatMap((region, i) => {
    const { name, backend, replicas } = region;
    const service = serviceOf(region);
    const path = (key: string): string => `meridian:regions[${i}].${key}`;
    const { mesh, psync } = capabilities[service];
    const issues: ConfigIssue[] = [];
    if (!mesh.is) {
      const allowed = `a backend that joins the mesh: ${mesh.reason}`;
      issues.push({ path: path('backend'), found: `${service}, at ${name}`, allowed });
    }
    // The managed services promote a replica by themselves, or nobody does.
    if (mesh.is && !psync.is && replicas < 1)
      issues.push({ path: path('replicas'), found: `0, with backend ${backend}`, allowed: '1 or more' });
    return issues;
  });
}
