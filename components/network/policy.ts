import type * as k8s from '@pulumi/kubernetes';
import * as pulumi from '@pulumi/pulumi';

import { peersOf } from '../../model';
import { topologyOf } from '../agent/args';
import { adminPort, peerPort, replicaPort } from '../agent/conf';
import { checkArguments, checkPackages, childOptions, componentType, labelsOf, Role, selectorOf } from '../common';
import { kubernetes } from '../common/kubernetes';
import { clusterBusPort, redisPort, sentinelPort } from '../kubernetes/conf';
import { exporterPort } from '../kubernetes/pods';
import { issuesOf, Mesh, type RedisNetworkPolicyArgs } from './args';

type Peer = k8s.types.input.networking.v1.NetworkPolicyPeer;
type Port = k8s.types.input.networking.v1.NetworkPolicyPort;
type Rule = k8s.types.input.networking.v1.NetworkPolicyEgressRule;
type Spec = k8s.types.input.networking.v1.NetworkPolicySpec;

const tcp = (...ports: number[]): Port[] => ports.map((port) => ({ protocol: 'TCP', port }));
const namespaceOf = (name: pulumi.Input<string>): Peer => ({
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } },
});

/** Istio: https://istio.io/latest/docs/ops/deployment/application-requirements/ */
const istiodPort = 15_012;
const eastWestPort = 15_443;
const hbonePort = 15_008;

/**
 * Who may talk to the pods of one region. Nothing is allowed that is not written here: see `${name}-deny`. Agents talk to the agents that the peer graph links
 * them with, and to no others.
 */
export class RedisNetworkPolicy extends pulumi.ComponentResource {
  /** Regions that this region's agent is linked with. */
  public readonly peers: pulumi.Output<string[]>;

  constructor(name: string, args: RedisNetworkPolicyArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments('RedisNetworkPolicy', name, args, ['namespace', 'region', 'regions'], () => issuesOf(args));
    checkPackages('RedisNetworkPolicy', name, ['@pulumi/kubernetes']);
    super(componentType('RedisNetworkPolicy'), name, args, opts);

    const { region, namespace } = args;
    const peers = peersOf(region, topologyOf(args), args.regions);
    const istio = namespaceOf(args.istioNamespace ?? 'istio-system');
    const hasMesh = args.mesh !== undefined && args.mesh !== Mesh.None;
    const ours = (role: Role): Peer => ({ podSelector: { matchLabels: selectorOf(role, region) } });
    const [redis, sentinel, agent, slots] = [ours(Role.Redis), ours(Role.Sentinel), ours(Role.Agent), ours(Role.Slots)];
    const clients: Peer = {
      // An empty `matchLabels` is not kept by the API server: every deployment would then change the policy.
      namespaceSelector: pulumi
        .output(args.clientNamespaceLabels ?? {})
        .apply((matchLabels) => (Object.keys(matchLabels).length === 0 ? {} : { matchLabels })),
      podSelector: { matchLabels: args.clientPodLabels ?? { 'meridian.redis/client': 'true' } },
    };
    const monitoring = namespaceOf(args.monitoringNamespace ?? 'monitoring');
    const others = otherAgents(peers, args);
    // What comes from another cluster through the mesh comes from its east-west gateway.
    const gateway = hasMesh ? [istio] : [];

    const create = (suffix: string, spec: Omit<Spec, 'podSelector'>, matchLabels: Record<string, string>): void => {
      const metadata = { name: `${name}-${suffix}`, namespace, labels: labelsOf(Role.Redis, region) };
      new kubernetes.networking.v1.NetworkPolicy(
        `${name}-${suffix}`,
        { metadata, spec: { podSelector: { matchLabels }, ...spec } },
        childOptions(this),
      );
    };
    const { 'app.kubernetes.io/component': _, ...everyPod } = selectorOf(Role.Redis, region);

    create('deny', { policyTypes: ['Ingress', 'Egress'] }, everyPod);
    create(
      'dns',
      {
        policyTypes: ['Egress'],
        egress: [
          {
            to: dnsOf(args),
            ports: [...tcp(53), { protocol: 'UDP', port: 53 }],
          },
        ],
      },
      everyPod,
    );
    if (hasMesh) {
      // Without these the synchronisation dies without a word.
      const isAmbient = args.mesh === Mesh.Ambient;
      const tunnel = isAmbient ? [{ ports: tcp(hbonePort) }] : [];
      create(
        'mesh',
        {
          policyTypes: ['Ingress', 'Egress'],
          ingress: tunnel,
          egress: [{ to: [istio], ports: tcp(istiodPort, eastWestPort) }, ...tunnel],
        },
        everyPod,
      );
    }
    const createForPods = (): void => {
      create(
        'redis',
        {
          policyTypes: ['Ingress', 'Egress'],
          ingress: [
            { from: [redis, sentinel, agent, slots, clients, ...gateway], ports: tcp(redisPort) },
            { from: [redis], ports: tcp(clusterBusPort) },
            { from: [monitoring], ports: tcp(exporterPort) },
          ],
          egress: [
            { to: [redis], ports: tcp(redisPort, clusterBusPort) },
            { to: [sentinel], ports: tcp(sentinelPort) },
            // The side-car that keeps the role's label.
            {
              to: blocksOf('apiServerCidrs', args.apiServerCidrs ?? ['0.0.0.0/0']),
              ports: tcp(443, 6443),
            },
          ],
        },
        selectorOf(Role.Redis, region),
      );
      create(
        'sentinel',
        {
          policyTypes: ['Ingress', 'Egress'],
          ingress: [{ from: [redis, sentinel, agent, clients], ports: tcp(sentinelPort) }],
          egress: [
            { to: [redis], ports: tcp(redisPort) },
            { to: [sentinel], ports: tcp(sentinelPort) },
            { to: [agent], ports: tcp(replicaPort) },
          ],
        },
        selectorOf(Role.Sentinel, region),
      );
      create(
        'slots',
        { policyTypes: ['Egress'], egress: [{ to: [redis], ports: tcp(redisPort) }] },
        selectorOf(Role.Slots, region),
      );
    };
    const { redisCidrs } = args;
    const toRedis: Rule =
      redisCidrs === undefined
        ? { to: [redis], ports: tcp(redisPort) }
        : { to: blocksOf('redisCidrs', redisCidrs), ports: tcp(redisPort) };
    if (redisCidrs !== undefined)
      // Of a managed Redis there is but the exporter here.
      create(
        'exporter',
        {
          policyTypes: ['Ingress', 'Egress'],
          ingress: [{ from: [monitoring], ports: tcp(exporterPort) }],
          egress: [toRedis],
        },
        selectorOf(Role.Exporter, region),
      );
    else createForPods();
    create(
      'agent',
      {
        policyTypes: ['Ingress', 'Egress'],
        ingress: [
          ...others.map(({ from }) => ({ from: fromAndGateway(from, gateway), ports: tcp(peerPort) })),
          ...(redisCidrs === undefined ? [{ from: [redis, sentinel], ports: tcp(replicaPort) }] : []),
          { from: [monitoring], ports: tcp(adminPort) },
        ],
        egress: [
          toRedis,
          ...(redisCidrs === undefined ? [{ to: [sentinel], ports: tcp(sentinelPort) }] : []),
          ...others.map(({ from, ports }) => ({ to: from, ports })),
        ],
      },
      selectorOf(Role.Agent, region),
    );

    this.peers = pulumi.output(peers);
    this.registerOutputs({ peers: this.peers });
  }
}

interface OtherAgent {
  readonly from: pulumi.Input<Peer[]>;
  readonly ports: pulumi.Input<Port[]>;
}

/** The agents at the other ends of the links: pods where they are in this cluster, else addresses. */
function otherAgents(peers: readonly string[], args: RedisNetworkPolicyArgs): OtherAgent[] {
  return peers.map((peer) => {
    const inNamespace = args.peerNamespaces?.[peer];
    if (inNamespace !== undefined) {
      const podSelector = { matchLabels: selectorOf(Role.Agent, peer) };
      return { from: [{ ...namespaceOf(inNamespace), podSelector }], ports: tcp(peerPort) };
    }
    return {
      from: blocksOf(`peerCidrs.${peer}`, args.peerCidrs?.[peer] ?? []),
      ports: pulumi.output(args.peerPorts?.[peer] ?? peerPort).apply((port) => tcp(port)),
    };
  });
}

function dnsOf({ dnsNamespace = 'kube-system', dnsCidrs }: RedisNetworkPolicyArgs): pulumi.Input<Peer[]> {
  const servers = [namespaceOf(dnsNamespace)];
  return dnsCidrs === undefined ? servers : blocksOf('dnsCidrs', dnsCidrs).apply((caches) => [...servers, ...caches]);
}

/** Addresses. None would not be nobody but everybody: a rule with an empty list has no condition. */
function blocksOf(path: string, cidrs: pulumi.Input<string[]>): pulumi.Output<Peer[]> {
  return pulumi.output(cidrs).apply((found) => {
    if (found.length === 0)
      throw new pulumi.RunError(`RedisNetworkPolicy: ${path}: found an empty list; allowed: one or more`);
    return found.map((cidr) => ({ ipBlock: { cidr } }));
  });
}

function fromAndGateway(from: pulumi.Input<Peer[]>, gateway: readonly Peer[]): pulumi.Output<Peer[]> {
  return pulumi.output(from).apply((all) => [...(all as Peer[]), ...gateway]);
}
