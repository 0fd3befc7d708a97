import * as k8s from '@pulumi/kubernetes';
import * as pulumi from '@pulumi/pulumi';

import { minReplicas, peersOf } from '../../model';
import {
  type AgentMember,
  type AgentTuningArgs,
  type PeerTopology,
  ReplicationMode,
  SyncAgent,
  topologyOf,
} from '../agent';
import { addressOf, peerPort } from '../agent/conf';
import { checkArguments, childOptions, componentType, dataOptions, dnsLabel, labelsOf, Role } from '../common';
import { KubernetesRedis, redisHostsOf, type RedisNodesArgs, RedisTopology, RedisUse } from '../kubernetes';
import { type MonitoringTuningArgs, RedisMonitoring } from '../monitoring';
import { type Mesh, type NetworkTuningArgs, RedisNetworkPolicy } from '../network';
import { RedisCredentials } from '../security';

export interface RedisRegionArgs {
  /** Name of the region, one of `members`. */
  region: string;
  /** Name of the stack; agents of different stacks refuse each other. */
  stack: pulumi.Input<string>;
  /** Namespace of everything. One region each. Default: `redis-` and the region's name. */
  namespace?: string;
  /** Make the namespace. Default: true. */
  createNamespace?: boolean;
  /** Image of the agent, in production by digest. */
  agentImage: pulumi.Input<string>;

  /** All regions of the mesh, in the stack's order. */
  members: AgentMember[];
  /** A PeerTopology. Default: mesh. */
  topology?: PeerTopology;
  /** The middle of a star; needed with topology star only. */
  hub?: string;
  /** Where the agents of the other regions are reached, `host` or `host:port`, by region: of those at least that this one is linked with. */
  peerHosts: { [region: string]: pulumi.Input<string> };
  /** Namespaces of the regions that are in this very cluster, by region, for the NetworkPolicies. Default: none. */
  peerNamespaces?: { [region: string]: pulumi.Input<string> };
  /** Addresses of the agents of regions that are not, in CIDR notation, by region. Default: none. */
  peerCidrs?: { [region: string]: pulumi.Input<string[]> };
  /** Names by which other clusters reach this region's agent, for its certificate. Default: none. */
  agentHosts?: pulumi.Input<pulumi.Input<string>[]>;
  /** More names by which clients reach its Redis, for its certificate, such as `host` of RegionalTraffic. Default: none but its Services. */
  redisHosts?: pulumi.Input<string>[];

  /** `userPasswords` of RedisSecurity. */
  userPasswords: pulumi.Input<{ [user: string]: string[] }>;
  /** `caBundlePem` of RedisSecurity. */
  caBundlePem: pulumi.Input<string>;
  /** `caCertPem` of RedisSecurity. */
  caCertPem: pulumi.Input<string>;
  /** `caPrivateKeyPem` of RedisSecurity. */
  caPrivateKeyPem: pulumi.Input<string>;
  /** Users of the applications and their rules on commands, as at RedisCredentials. Default: app, read, admin. */
  users?: { [user: string]: string[] };
  /** Let only the mesh, its clients and monitoring reach the pods. Default: true. */
  networkPolicy?: boolean;
  /** Who else may reach the pods, and whom they reach. Default: what RedisNetworkPolicy has. */
  network?: NetworkTuningArgs;
  /** The service mesh of the cluster, a Mesh: what it needs is allowed. Default: none. */
  serviceMesh?: Mesh;

  /**
   * The nodes of its Redis. Default: what KubernetesRedis has; but `minReplicasToWrite` follows from `replicas` and the agent's mode: one of the replicas, and in
   * semi-sync the agent too.
   */
  redis?: RedisNodesArgs;
  /** Its agent. Default: what SyncAgent has. */
  agent?: AgentTuningArgs;
  /**
   * What watches it, by the Prometheus operator: a RedisMonitoring, `{}` for one with its defaults. What follows from Redis and the agent is filled in. Default: none.
   */
  monitoring?: MonitoringTuningArgs;
}

/** The namespace that a region has by default. */
export const namespaceOf = (region: string): string => `redis-${region}`;

/** What the agent of the region component `name` is called. */
export const agentNameOf = (name: string): string => `${name}-agent`;

/**
 * One region of the mesh, on Kubernetes: Redis, its users and certificates, the agent beside it, and who may talk to whom. The rest of the mesh need not
 * be in the same stack: names and certificates are all that regions know of each other.
 */
export class RedisRegion extends pulumi.ComponentResource {
  /** Where applications of the region connect, and write. */
  public readonly host: pulumi.Output<string>;
  /** Where reads may go that can be a moment old. */
  public readonly replicaHost: pulumi.Output<string>;
  /** Port of both. */
  public readonly port: pulumi.Output<number>;
  /** Where agents in the same cluster reach this region's. */
  public readonly agentHost: pulumi.Output<string>;
  /** Namespace of everything. */
  public readonly namespace: pulumi.Output<string>;
  /** Secrets with user and password, in the region's namespace, by user. */
  public readonly userSecretNames: pulumi.Output<{ [user: string]: string }>;

  constructor(name: string, args: RedisRegionArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments(
      'RedisRegion',
      name,
      dnsLabel('region', args.region),
      args.namespace === undefined ? [] : dnsLabel('namespace', args.namespace, 63),
    );
    super(componentType('RedisRegion'), name, args, opts);

    const { region, stack, members, topology, hub } = args;
    const namespaceName = args.namespace ?? namespaceOf(region);
    const namespace =
      args.createNamespace === false ? pulumi.output(namespaceName) : this.createNamespace(name, namespaceName, args);
    const at = { region, namespace };
    const graph = { ...(topology === undefined ? {} : { topology }), ...(hub === undefined ? {} : { hub }) };

    const credentials = new RedisCredentials(
      `${name}-user`,
      {
        ...at,
        stack,
        userPasswords: args.userPasswords,
        caBundlePem: args.caBundlePem,
        caCertPem: args.caCertPem,
        caPrivateKeyPem: args.caPrivateKeyPem,
        redisHosts: pulumi
          .all([redisHostsOf(name, namespace, args.redis?.clusterDomain), args.redisHosts ?? []])
          .apply(([services, more]) => [...services, ...more]),
        ...(args.agentHosts === undefined ? {} : { agentHosts: args.agentHosts }),
        ...(args.users === undefined ? {} : { users: args.users }),
        cluster: args.redis?.topology === 'cluster',
      },
      childOptions(this),
    );
    const secretOf = (user: string): pulumi.Output<string> =>
      credentials.userSecretNames.apply((names) => names[user] ?? '');
    const nodeSecretName = secretOf('meridian-node');

    const minReplicasToWrite = args.redis?.minReplicasToWrite ?? minReplicasOf(args);
    const redis = new KubernetesRedis(
      name,
      {
        ...args.redis,
        ...at,
        minReplicasToWrite,
        aclSecretName: credentials.aclSecretName,
        nodeSecretName,
        exporterSecretName: secretOf('meridian-exporter'),
        tlsSecretName: credentials.redisTlsSecretName,
        credentialsChecksum: credentials.checksum,
      },
      childOptions(this),
    );
    const agent = new SyncAgent(
      agentNameOf(name),
      {
        ...args.agent,
        ...at,
        ...graph,
        stack,
        members,
        image: args.agentImage,
        peerHosts: args.peerHosts,
        redisHost: redis.host,
        redisPort: redis.port,
        redisTls: args.redis?.tls ?? true,
        sentinelHosts: redis.sentinelHosts,
        sentinelPort: redis.sentinelPort,
        primaryName: redis.primaryName,
        userSecretName: secretOf('meridian-agent'),
        nodeSecretName,
        tlsSecretName: credentials.agentTlsSecretName,
        credentialsChecksum: credentials.agentChecksum,
      },
      childOptions(this),
    );
    if (args.networkPolicy !== false)
      new RedisNetworkPolicy(
        name,
        {
          ...at,
          ...graph,
          regions: members.map((member) => member.name),
          ...args.network,
          peerNamespaces: args.peerNamespaces,
          peerCidrs: args.peerCidrs,
          peerPorts: Object.fromEntries(
            Object.entries(args.peerHosts).map(([peer, host]) => [peer, pulumi.output(host).apply(portOf)]),
          ),
          mesh: args.serviceMesh,
        },
        childOptions(this),
      );
    if (args.monitoring !== undefined)
      new RedisMonitoring(
        `${name}-monitoring`,
        {
          ...at,
          peers: peersOf(
            region,
            topologyOf(graph),
            members.map((member) => member.name),
          ),
          isDataStack: args.redis?.use !== RedisUse.Cache,
          primaries: args.redis?.topology === RedisTopology.Cluster ? (args.redis.shards ?? 3) : 1,
          minReplicasToWrite,
          minReplicasMaxLagSeconds: args.redis?.minReplicasMaxLagSeconds,
          journalBytesMax: args.agent?.journalBytes,
          ...args.monitoring,
        },
        childOptions(this),
      );

    this.host = redis.host;
    this.replicaHost = redis.replicaHost;
    this.port = redis.port;
    this.agentHost = agent.host;
    this.namespace = namespace;
    this.userSecretNames = credentials.userSecretNames;
    this.registerOutputs({
      host: this.host,
      replicaHost: this.replicaHost,
      port: this.port,
      agentHost: this.agentHost,
      namespace: this.namespace,
      userSecretNames: this.userSecretNames,
    });
  }

  /** With the namespace goes what is in it, volumes too: it is kept as the nodes are. */
  private createNamespace(name: string, namespace: string, { region, redis = {} }: RedisRegionArgs) {
    const isPrivileged = redis.kernelTuning === true;
    const created = new k8s.core.v1.Namespace(
      name,
      {
        metadata: {
          name: namespace,
          labels: {
            ...labelsOf(Role.Redis, region),
            'pod-security.kubernetes.io/enforce': isPrivileged ? 'privileged' : 'restricted',
          },
        },
      },
      dataOptions(this, redis),
    );
    return created.metadata.name;
  }
}

/** Of an agent's `host` or `host:port`. */
const portOf = (host: string): number => addressOf(host, peerPort).port;

/** One replica that there is for sure, and in semi-sync the agent; without Sentinels nobody is promoted, and none is needed. */
function minReplicasOf({ redis = {}, agent }: RedisRegionArgs): number {
  const hasSentinel = (redis.topology ?? RedisTopology.PrimaryReplica) === RedisTopology.PrimaryReplica;
  return minReplicas(1, hasSentinel ? (redis.replicas ?? 1) : 0, agent?.mode ?? ReplicationMode.SemiSync);
}
