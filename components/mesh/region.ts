import * as pulumi from '@pulumi/pulumi';

import { SystemUser } from '../../model';
import { SyncAgent, type SyncAgentArgs } from '../agent';
import { addressOf, peerPort } from '../agent/conf';
import {
  checkArguments,
  checkPackages,
  checksum,
  childOptions,
  componentType,
  dataOptions,
  labelsOf,
  type Passwords,
  pickPasswords,
  Role,
} from '../common';
import { kubernetes } from '../common/kubernetes';
import { KubernetesRedis, redisHostsOf } from '../kubernetes';
import { RedisMonitoring } from '../monitoring';
import { RedisNetworkPolicy } from '../network';
import { RedisCredentials, type RedisCredentialsArgs } from '../security';
import { createExporter } from './exporter';
import { createFargateAgent } from './fargate';
import { createManagedRedis } from './managed';
import { agentPart, certificatePart, monitoringPart, networkPart, redisPart, regionPlanIssues } from './parts';
import { agentNameOf, isManaged, namespaceOf, packagesOf, RegionBackend, type RedisRegionArgs } from './region-args';
import { agentShardsOf, hostOfShard, shardMark, shardsOf } from './shards';

/** What a region says of itself. */
type Outputs = Pick<RedisRegion, 'host' | 'replicaHost' | 'port' | 'agentHost' | 'namespace' | 'userSecretNames'>;

/** A region's Redis and what its agent has to know of it. */
interface Nodes {
  readonly host: pulumi.Output<string>;
  readonly replicaHost: pulumi.Output<string>;
  readonly port: pulumi.Output<number>;
  readonly credentials: RedisCredentials;
  readonly agent: Partial<SyncAgentArgs>;
  /** What its primary waits for; 0: nothing. */
  readonly minReplicasToWrite: number | pulumi.Input<number>;
}

interface Place {
  readonly region: string;
  readonly namespace: pulumi.Output<string>;
}

/**
 * One region of the mesh: Redis, its users and certificates, the agent beside it, and who may talk to whom. Redis is pods or a provider's service; the
 * agent is a pod in the region's Kubernetes cluster either way, or with ElastiCache a service in Fargate. The rest of the mesh need not be in the same stack: names and certificates
 * are all that regions know of each other.
 */
export class RedisRegion extends pulumi.ComponentResource {
  /** Where applications of the region connect, and write. */
  public readonly host: pulumi.Output<string>;
  /** Where reads may go that can be a moment old. */
  public readonly replicaHost: pulumi.Output<string>;
  /** Port of both. */
  public readonly port: pulumi.Output<number>;
  /** Where agents in the same cluster reach this region's, with `{shard}` in it where Redis is a cluster; with `fargate` all, by a load balancer in its VPC. */
  public readonly agentHost: pulumi.Output<string>;
  /** Namespace of everything in its cluster; with `fargate` empty. */
  public readonly namespace: pulumi.Output<string>;
  /** Secrets with user and password, in the region's namespace, by user; with `fargate` none. */
  public readonly userSecretNames: pulumi.Output<{ [user: string]: string }>;

  constructor(name: string, args: RedisRegionArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments(
      'RedisRegion',
      name,
      args,
      ['region', 'stack', 'members', 'peerHosts', 'agentImage', 'userPasswords'],
      () => regionPlanIssues(name, args),
    );
    checkPackages('RedisRegion', name, packagesOf(args));
    // Agents tell each other their load balancers' names, both ways, and a component waits for its inputs: they are none.
    super(componentType('RedisRegion'), name, { ...args, peerHosts: undefined }, opts);

    const made = args.fargate === undefined ? this.createInCluster(name, args) : this.createInFargate(name, args);
    this.host = made.host;
    this.replicaHost = made.replicaHost;
    this.port = made.port;
    this.agentHost = made.agentHost;
    this.namespace = made.namespace;
    this.userSecretNames = made.userSecretNames;
    this.registerOutputs({
      host: this.host,
      replicaHost: this.replicaHost,
      port: this.port,
      agentHost: this.agentHost,
      namespace: this.namespace,
      userSecretNames: this.userSecretNames,
    });
  }

  /** Everything but ElastiCache itself in AWS, too. */
  private createInFargate(name: string, args: RedisRegionArgs): Outputs {
    const redis = createManagedRedis(this, name, args);
    const agent = createFargateAgent(this, name, args, redis);
    const { host, replicaHost, port } = redis;
    return {
      ...{ host, replicaHost, port },
      agentHost: agent.host,
      namespace: pulumi.output(''),
      userSecretNames: pulumi.output<{ [user: string]: string }>({}),
    };
  }

  /** Everything but a provider's Redis in the region's Kubernetes cluster. */
  private createInCluster(name: string, args: RedisRegionArgs): Outputs {
    const { region } = args;
    const managed = isManaged(args.backend ?? RegionBackend.Kubernetes);
    const namespaceName = args.namespace ?? namespaceOf(region);
    const namespace =
      args.createNamespace === false ? pulumi.output(namespaceName) : this.createNamespace(name, namespaceName, args);
    const at: Place = { region, namespace };
    const nodes = managed ? this.createManaged(name, args, at) : this.createPods(name, args, at);
    const { credentials } = nodes;

    const agents = agentShardsOf(args).map(
      (each) =>
        new SyncAgent(
          agentNameOf(name, each.shard),
          {
            ...agentPart(args, each.shard),
            ...at,
            redisHost: nodes.host,
            redisPort: nodes.port,
            ...nodes.agent,
            ...each,
            userSecretName: secretOf(credentials, SystemUser.Agent),
            tlsSecretName: credentials.agentTlsSecretName,
            credentialsChecksum: credentials.agentChecksum,
          },
          childOptions(this),
        ),
    );
    if (args.networkPolicy !== false)
      new RedisNetworkPolicy(
        name,
        {
          ...networkPart(args),
          ...at,
          peerPorts: Object.fromEntries(
            Object.entries(args.peerHosts).map(([peer, host]) => [peer, pulumi.output(host).apply(portOf)]),
          ),
        },
        childOptions(this),
      );
    if (args.monitoring !== undefined)
      new RedisMonitoring(
        `${name}-monitoring`,
        { ...monitoringPart(args), ...at, minReplicasToWrite: nodes.minReplicasToWrite },
        childOptions(this),
      );

    const { host, replicaHost, port } = nodes;
    const { userSecretNames } = credentials;
    // All of them differ by the shard's number only.
    const isCluster = agents.length > 1;
    const agentHost = isCluster
      ? agents[0]!.host.apply((first) => first.replace(agentNameOf(name, 0), agentNameOf(name, shardMark)))
      : agents[0]!.host;
    return { ...{ host, replicaHost, port, namespace, userSecretNames }, agentHost };
  }

  /** Redis as pods, with certificates of the stack's authority. */
  private createPods(name: string, args: RedisRegionArgs, at: Place): Nodes {
    const credentials = this.createCredentials(name, args, at, {
      redisHosts: pulumi
        .all([redisHostsOf(name, at.namespace, args.redis?.clusterDomain), args.redisHosts ?? []])
        .apply(([services, more]) => [...services, ...more]),
    });
    const nodeSecretName = secretOf(credentials, SystemUser.Node);
    const part = redisPart(args);
    const { minReplicasToWrite } = part;
    const redis = new KubernetesRedis(
      name,
      {
        ...part,
        ...at,
        aclSecretName: credentials.aclSecretName,
        nodeSecretName,
        exporterSecretName: secretOf(credentials, SystemUser.Exporter),
        tlsSecretName: credentials.redisTlsSecretName,
        credentialsChecksum: credentials.checksum,
      },
      childOptions(this),
    );
    const { host, replicaHost, port, sentinelHosts, sentinelPort, primaryName } = redis;
    const redisTls = args.redis?.tls ?? true;
    // Where a StorageClass is made, the journal's disk is of it, too.
    const isClassForAll = args.redis?.createStorageClass === true && args.agent?.storageClassName === undefined;
    const agent = {
      ...{ redisTls, nodeSecretName },
      ...(shardsOf(args) > 1 ? {} : { sentinelHosts, sentinelPort, primaryName }),
      ...(isClassForAll ? { storageClassName: redis.storageClassName } : {}),
    };
    return { host, replicaHost, port, credentials, agent, minReplicasToWrite };
  }

  /** Redis of a provider, with the provider's certificates; where it is watched, with an exporter of ours. */
  private createManaged(name: string, args: RedisRegionArgs, at: Place): Nodes {
    const redis = createManagedRedis(this, name, args);
    const { host, replicaHost, port, userNames, userPasswords, nameSeparator } = redis;
    const credentials = this.createCredentials(name, args, at, {
      managed: true,
      userPasswords,
      userNames,
      nameSeparator,
    });
    if (args.monitoring !== undefined)
      createExporter(this, `${name}-exporter`, {
        ...at,
        host,
        port,
        secretName: secretOf(credentials, SystemUser.Exporter),
        credentials: checksum(
          pulumi.output(userPasswords).apply((all: Passwords) => pickPasswords(all, SystemUser.Exporter)[0]),
        ),
        caPem: args.redisCaPem,
        image: args.redis?.exporterImage,
        imagePullPolicy: args.agent?.imagePullPolicy,
      });
    const agent: Partial<SyncAgentArgs> = {
      redisUsername:
        nameSeparator === undefined ? userNames.apply((names) => names[SystemUser.Agent] ?? SystemUser.Agent) : '',
      redisCaPem: args.redisCaPem,
    };
    return { host, replicaHost, port, credentials, agent, minReplicasToWrite: 0 };
  }

  private createCredentials(
    name: string,
    args: RedisRegionArgs,
    at: Place,
    more: Partial<RedisCredentialsArgs>,
  ): RedisCredentials {
    return new RedisCredentials(
      `${name}-user`,
      {
        ...at,
        stack: args.stack,
        userPasswords: args.userPasswords,
        caBundlePem: args.caBundlePem,
        caCertPem: args.caCertPem,
        caPrivateKeyPem: args.caPrivateKeyPem,
        ...certificatePart(args),
        agentHosts: pulumi
          .output(args.agentHosts ?? [])
          .apply((hosts) => hosts.flatMap((host) => agentShardsOf(args).map(({ shard }) => hostOfShard(host, shard)))),
        cluster: shardsOf(args) > 1,
        users: args.users,
        ...more,
      },
      childOptions(this),
    );
  }

  /** With the namespace goes what is in it, volumes too: it is kept as the nodes are. */
  private createNamespace(name: string, namespace: string, { region, redis = {} }: RedisRegionArgs) {
    const isPrivileged = redis.kernelTuning === true;
    const created = new kubernetes.core.v1.Namespace(
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

const secretOf = ({ userSecretNames }: RedisCredentials, user: string): pulumi.Output<string> =>
  userSecretNames.apply((names) => names[user] ?? '');

/** Of an agent's `host` or `host:port`. */
const portOf = (host: string): number => addressOf(host, peerPort).port;
