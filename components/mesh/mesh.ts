// By file: all of the provider's types would cost every program seconds of compiling.
import * as alicloud from '@pulumi/alicloud/provider';
import * as k8s from '@pulumi/kubernetes';
import * as pulumi from '@pulumi/pulumi';

import { links, peersOf } from '../../model';
import { type AgentMember, topologyOf } from '../agent';
import { checkArguments, childOptions, componentType } from '../common';
import { type RedisNodesArgs } from '../kubernetes';
import { RedisSecurity } from '../security';
import { RegionalTraffic, type TrafficRegion } from '../traffic';
import { TencentProvider } from '../tencent';
import {
  type ActiveActiveRedisArgs,
  backendOf,
  isInCluster,
  isSameCluster,
  issuesOf,
  type MeshRegion,
  modeOf,
  spaceOf,
} from './args';
import { RedisRegion } from './region';
import { agentNameOf, isManaged, RegionBackend } from './region-args';
import { type MeshTrafficArgs, routingFor } from './traffic';

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

    const { stack, regions, topology, hub, redis = {}, traffic, monitoring } = args;
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

    // Load balancers of agents in Fargate, which peers are told before they are made: links go both ways.
    const balancers = new Map(
      regions
        .filter((region) => !isInCluster(region))
        .map((region) => [region.name, pulumi.deferredOutput<string>()] as const),
    );
    const farHostOf = (peer: MeshRegion): pulumi.Input<string> => peer.agentHost ?? balancers.get(peer.name)?.[0] ?? '';

    const made = regions.map((region) => {
      const peers = regions.filter((peer) => peersOf(region.name, graph, names).includes(peer.name));
      const near = peers.filter((peer) => isSameCluster(peer, region));
      const far = peers.filter((peer) => !isSameCluster(peer, region));
      const options = pulumi.mergeOptions(childOptions(this), this.providersOf(name, region));
      const isFirstOfCluster = regions.find((other) => isSameCluster(other, region)) === region;
      const child = new RedisRegion(
        `${name}-${region.name}`,
        {
          region: region.name,
          stack,
          ...placeOf(region),
          acceptWholeKeyMerge: isManaged(backendOf(region)) ? args.acceptWholeKeyMerge : undefined,
          namespace: region.namespace,
          createNamespace: region.createNamespace,
          agentImage: args.agentImage,
          members,
          topology,
          hub,
          peerHosts: Object.fromEntries([
            ...near.map((peer) => [peer.name, agentHostOf(name, peer, redis)]),
            ...far.map((peer) => [peer.name, farHostOf(peer)]),
          ]) as Record<string, pulumi.Input<string>>,
          peerNamespaces: Object.fromEntries(near.map((peer) => [peer.name, spaceOf(peer)])),
          peerCidrs: Object.fromEntries(far.map((peer) => [peer.name, peer.agentCidrs ?? []])),
          agentHosts: region.agentHost === undefined ? [] : [region.agentHost.replace(/:\d+$/, '')],
          redisHosts: traffic === undefined ? [] : [traffic.host],
          userPasswords: security.userPasswords,
          caBundlePem: security.caBundlePem,
          caCertPem: security.caCertPem,
          caPrivateKeyPem: security.caPrivateKeyPem,
          users: args.users,
          networkPolicy: args.networkPolicy,
          network: args.network,
          serviceMesh: args.serviceMesh,
          redis: {
            ...redis,
            ...(region.replicas === undefined ? {} : { replicas: region.replicas }),
            ...(region.replicasMax === undefined ? {} : { replicasMax: region.replicasMax }),
            ...(region.minReplicasToWrite === undefined ? {} : { minReplicasToWrite: region.minReplicasToWrite }),
          },
          agent: { ...args.agent, mode: modeOf(args, region) },
          ...(monitoring === undefined || !isInCluster(region)
            ? {}
            : { monitoring: { ...monitoring, dashboards: (monitoring.dashboards ?? true) && isFirstOfCluster } }),
        },
        options,
      );
      balancers.get(region.name)?.[1](child.agentHost);
      return { region, child, options };
    });
    if (traffic !== undefined)
      for (const { region, child, options } of made)
        new RegionalTraffic(
          `${name}-${region.name}-traffic`,
          { ...trafficArgs(name, region, args, traffic), namespace: child.namespace },
          options,
        );

    this.endpoints = pulumi.output(
      Object.fromEntries(
        made.map(
          ({ region, child: { host, replicaHost, port } }) => [region.name, { host, replicaHost, port }] as const,
        ),
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

  /**
   * A region whose cluster is named has a provider of its own, and one of a cloud whose resources don't say their region; all else inherits the component's.
   */
  private providersOf(name: string, region: MeshRegion): pulumi.ComponentResourceOptions {
    const { context, kubeconfig } = region;
    const child = `${name}-${region.name}`;
    const place = { region: region.providerRegion ?? region.name };
    const providers: pulumi.ProviderResource[] = [];
    if (context !== undefined || kubeconfig !== undefined)
      providers.push(
        new k8s.Provider(
          child,
          { ...(context === undefined ? {} : { context }), ...(kubeconfig === undefined ? {} : { kubeconfig }) },
          { parent: this },
        ),
      );
    if (backendOf(region) === RegionBackend.Aliyun)
      providers.push(new alicloud.Provider(`${child}-alicloud`, place, { parent: this }));
    if (backendOf(region) === RegionBackend.Tencent)
      providers.push(new TencentProvider(`${child}-tencent`, place, { parent: this }));
    return providers.length === 0 ? {} : { providers };
  }
}

/** What a region says about its Redis, with the cloud's name of the region where it belongs. */
function placeOf(region: MeshRegion) {
  const { backend, providerRegion, elasticache, fargate, aliyun, tencent, redisCaPem, redisCidrs } = region;
  const at = providerRegion === undefined ? {} : { providerRegion };
  return {
    backend,
    elasticache: elasticache && { ...at, ...elasticache },
    fargate,
    aliyun: aliyun && { ...at, ...aliyun },
    tencent: tencent && { ...at, ...tencent },
    redisCaPem,
    redisCidrs,
  };
}

/** The name of an agent's Service, which is known before the Service is: links go both ways. */
function agentHostOf(name: string, region: MeshRegion, nodes: RedisNodesArgs): pulumi.Output<string> {
  return serviceHostOf(agentNameOf(`${name}-${region.name}`), region, nodes);
}

function serviceHostOf(service: string, region: MeshRegion, { clusterDomain }: RedisNodesArgs): pulumi.Output<string> {
  return pulumi.interpolate`${service}.${spaceOf(region)}.svc.${clusterDomain ?? 'cluster.local'}`;
}

/** The rules for the clients of one region: the other regions as its cluster sees them. */
function trafficArgs(
  name: string,
  region: MeshRegion,
  { regions, redis = {} }: ActiveActiveRedisArgs,
  traffic: MeshTrafficArgs,
) {
  const { by: _by, distribute: _distribute, drain: _drain, shift: _shift, ...tuning } = traffic;
  const weights = Object.fromEntries(regions.map((each) => [each.name, each.weight ?? 0]));
  const seen = regions.map((other): TrafficRegion => ({
    name: other.name,
    locality: other.locality ?? other.name,
    address: isSameCluster(other, region)
      ? serviceHostOf(`${name}-${other.name}`, other, redis)
      : (other.trafficHost ?? ''),
    ...(other.istioNetwork === undefined ? {} : { network: other.istioNetwork }),
  }));
  const isAlone = regions.every((other) => other === region || !isSameCluster(other, region));
  const exportTo = region.clientNamespaces ?? (isAlone ? undefined : ['.']);
  return {
    region: region.name,
    regions: seen,
    ...tuning,
    ...routingFor(region.name, weights, traffic),
    ...(exportTo === undefined ? {} : { exportTo }),
  };
}
