import * as k8s from '@pulumi/kubernetes';
import * as pulumi from '@pulumi/pulumi';

import { type ConfigIssue, links, peersOf } from '../../model';
import { type AgentMember, type AgentTuningArgs, type PeerTopology, topologyOf } from '../agent';
import { checkArguments, childOptions, componentType, namesList, rule } from '../common';
import { type RedisNodesArgs } from '../kubernetes';
import { type Mesh } from '../network';
import { RedisSecurity } from '../security';
import { agentNameOf, namespaceOf, RedisRegion } from './region';

/** One region of an ActiveActiveRedis. */
export interface MeshRegion {
  /** Its name: a DNS label, unique in the mesh. Another name is another region. */
  name: string;
  /** Its share of the traffic, in percent. Default: 0. */
  weight?: number;
  /** Whether failover decisions start from it, and it begins the mesh. Exactly one is. Default: false. */
  primary?: boolean;
  /** Context of the kubeconfig for the region's cluster. Default: the current one, or the provider that the component was given. */
  context?: string;
  /** Kubeconfig of the region's cluster, its text or its path. Default: the one in the environment. */
  kubeconfig?: pulumi.Input<string>;
  /** Namespace of everything. Default: `redis-` and the region's name. */
  namespace?: string;
  /** Make the namespace. Default: true. */
  createNamespace?: boolean;
  /**
   * Where the agents in other clusters reach this region's agent, `host` or `host:port`: a gateway's or load balancer's. Needed where linked regions
   * are in different clusters. Default: its Service, which only its own cluster knows.
   */
  agentHost?: string;
  /** Addresses behind `agentHost`, in CIDR notation, for the others' NetworkPolicies. Default: none. */
  agentCidrs?: pulumi.Input<string[]>;
  /** Replicas of the primary; more than `redis.replicas` says for all. Default: that. */
  replicas?: number;
  /** The most replicas that autoscaling may add up to. Default: as `redis.replicasMax`. */
  replicasMax?: number;
}

export interface ActiveActiveRedisArgs {
  /** Name of the stack, in certificates; agents of different stacks refuse each other. */
  stack: string;
  /** The regions, at least two, in an order that decides the neighbours in a ring. */
  regions: MeshRegion[];
  /** A PeerTopology: who talks to whom. Default: mesh, the least lag. */
  topology?: PeerTopology;
  /** The middle of a star; needed with topology star only. */
  hub?: string;
  /** Image of the agent, in production by digest. */
  agentImage: pulumi.Input<string>;
  /** Users of the applications and their rules on commands. Default: app, read, admin, as at RedisCredentials. */
  users?: { [user: string]: string[] };
  /** Certificate authorities, by names of your choice; see RedisSecurity. Default: `[a]`. */
  authorities?: string[];
  /** Passwords of each user, by names of your choice; see RedisSecurity. Default: `[a, b]`. */
  passwords?: string[];
  /** Let only the mesh, its clients and monitoring reach the pods. Default: true. */
  networkPolicy?: boolean;
  /** The service mesh of the clusters, a Mesh. Default: none. */
  serviceMesh?: Mesh;
  /** The nodes of every region's Redis. Default: what KubernetesRedis has. */
  redis?: RedisNodesArgs;
  /** Every region's agent. Default: what SyncAgent has. */
  agent?: AgentTuningArgs;
}

/** Where a region's Redis is. */
export interface RegionEndpoint {
  /** Where applications of the region connect, and write. */
  host: string;
  /** Where reads may go that can be a moment old. */
  replicaHost: string;
  /** Port of both. */
  port: number;
}

/** The whole mesh: every region takes reads and writes, and all end up equal. */
export class ActiveActiveRedis extends pulumi.ComponentResource {
  /** Where each region's Redis is, by region. */
  public readonly endpoints: pulumi.Output<{ [region: string]: RegionEndpoint }>;
  /** Who sends changes to whom: pairs of regions. */
  public readonly links: pulumi.Output<string[][]>;
  /** PEM of the authorities that clients have to trust. */
  public readonly caBundlePem: pulumi.Output<string>;
  /** The passwords of each user; the first is the one to use. Secret. */
  public readonly userPasswords: pulumi.Output<{ [user: string]: string[] }>;

  constructor(name: string, args: ActiveActiveRedisArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments('ActiveActiveRedis', name, issuesOf(args));
    super(componentType('ActiveActiveRedis'), name, args, opts);

    const { stack, regions, topology, hub, redis = {} } = args;
    const names = regions.map((region) => region.name);
    const graph = topologyOf(args);
    const members: AgentMember[] = regions.map((region) => ({
      name: region.name,
      weight: region.weight ?? 0,
      primary: region.primary ?? false,
    }));
    const security = new RedisSecurity(
      `${name}-security`,
      {
        stack,
        ...(args.users === undefined ? {} : { users: Object.keys(args.users) }),
        ...(args.authorities === undefined ? {} : { authorities: args.authorities }),
        ...(args.passwords === undefined ? {} : { passwords: args.passwords }),
        ...(redis.protect === undefined ? {} : { protect: redis.protect }),
        ...(redis.retainOnDelete === undefined ? {} : { retainOnDelete: redis.retainOnDelete }),
      },
      childOptions(this),
    );

    const made = regions.map((region) => {
      const peers = regions.filter((peer) => peersOf(region.name, graph, names).includes(peer.name));
      const near = peers.filter((peer) => isSameCluster(peer, region));
      const far = peers.filter((peer) => !isSameCluster(peer, region));
      const child = new RedisRegion(
        `${name}-${region.name}`,
        {
          region: region.name,
          stack,
          ...(region.namespace === undefined ? {} : { namespace: region.namespace }),
          ...(region.createNamespace === undefined ? {} : { createNamespace: region.createNamespace }),
          agentImage: args.agentImage,
          members,
          ...(topology === undefined ? {} : { topology }),
          ...(hub === undefined ? {} : { hub }),
          peerHosts: Object.fromEntries([
            ...near.map((peer) => [peer.name, agentHostOf(name, peer, redis)]),
            ...far.map((peer) => [peer.name, peer.agentHost ?? '']),
          ]) as Record<string, pulumi.Input<string>>,
          peerNamespaces: Object.fromEntries(near.map((peer) => [peer.name, spaceOf(peer)])),
          peerCidrs: Object.fromEntries(far.map((peer) => [peer.name, peer.agentCidrs ?? []])),
          agentHosts: region.agentHost === undefined ? [] : [region.agentHost.replace(/:\d+$/, '')],
          userPasswords: security.userPasswords,
          caBundlePem: security.caBundlePem,
          caCertPem: security.caCertPem,
          caPrivateKeyPem: security.caPrivateKeyPem,
          ...(args.users === undefined ? {} : { users: args.users }),
          ...(args.networkPolicy === undefined ? {} : { networkPolicy: args.networkPolicy }),
          ...(args.serviceMesh === undefined ? {} : { serviceMesh: args.serviceMesh }),
          redis: {
            ...redis,
            ...(region.replicas === undefined ? {} : { replicas: region.replicas }),
            ...(region.replicasMax === undefined ? {} : { replicasMax: region.replicasMax }),
          },
          ...(args.agent === undefined ? {} : { agent: args.agent }),
        },
        pulumi.mergeOptions(childOptions(this), this.providersOf(name, region)),
      );
      return [region.name, child] as const;
    });

    this.endpoints = pulumi.output(
      Object.fromEntries(
        made.map(([region, { host, replicaHost, port }]) => [region, { host, replicaHost, port }] as const),
      ),
    );
    this.links = pulumi.output(links(graph, names).map(([from, to]) => [from, to]));
    this.caBundlePem = security.caBundlePem;
    this.userPasswords = security.userPasswords;
    this.registerOutputs({
      endpoints: this.endpoints,
      links: this.links,
      caBundlePem: this.caBundlePem,
      userPasswords: this.userPasswords,
    });
  }

  /** A region whose cluster is named has a provider of its own; others inherit the component's. */
  private providersOf(
    name: string,
    { name: region, context, kubeconfig }: MeshRegion,
  ): pulumi.ComponentResourceOptions {
    if (context === undefined && kubeconfig === undefined) return {};
    const provider = new k8s.Provider(
      `${name}-${region}`,
      { ...(context === undefined ? {} : { context }), ...(kubeconfig === undefined ? {} : { kubeconfig }) },
      { parent: this },
    );
    return { providers: [provider] };
  }
}

const spaceOf = (region: MeshRegion): string => region.namespace ?? namespaceOf(region.name);

const isSameCluster = (a: MeshRegion, b: MeshRegion): boolean =>
  a.context === b.context && a.kubeconfig === b.kubeconfig;

/** The name of an agent's Service, which is known before the Service is: links go both ways. */
function agentHostOf(name: string, region: MeshRegion, { clusterDomain }: RedisNodesArgs): pulumi.Output<string> {
  const service = `${agentNameOf(`${name}-${region.name}`)}.${spaceOf(region)}`;
  return pulumi.interpolate`${service}.svc.${clusterDomain ?? 'cluster.local'}`;
}

/** Everything that is wrong with the plain arguments. */
function issuesOf(args: ActiveActiveRedisArgs): ConfigIssue[] {
  const { regions } = args;
  const names = regions.map((region) => region.name);
  const spaces = regions.map(
    (region) => `${region.context ?? ''} ${region.kubeconfig === undefined ? '' : region.name} ${spaceOf(region)}`,
  );
  const graph = topologyOf(args);
  const isStar = graph.kind === 'star';
  const issues = [
    ...namesList('regions', names, 2),
    ...rule(
      regions.filter(({ primary }) => primary === true).length === 1,
      'regions',
      'none or several with primary',
      'one with primary',
    ),
    ...spaces.flatMap((space, i) =>
      rule(
        spaces.indexOf(space) === i,
        `regions[${i}].namespace`,
        spaceOf(regions[i]!),
        'a namespace for each region of a cluster',
      ),
    ),
    ...rule(
      !isStar || names.includes(graph.kind === 'star' ? graph.hub : ''),
      'hub',
      args.hub,
      `one of ${names.join(', ')}`,
    ),
  ];
  if (issues.length > 0) return issues;
  return regions.flatMap((region, i) => {
    const far = regions.filter(
      (peer) => peersOf(peer.name, graph, names).includes(region.name) && !isSameCluster(peer, region),
    );
    return rule(
      region.agentHost !== undefined || far.length === 0,
      `regions[${i}].agentHost`,
      'nothing',
      `where the agents of ${far.map((peer) => peer.name).join(', ')}, in other clusters, reach it`,
    );
  });
}
