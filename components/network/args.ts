import type * as pulumi from '@pulumi/pulumi';

import { type ConfigIssue, peersOf } from '../../model';
import { PeerTopology, topologyOf } from '../agent/args';
import { dnsLabel, namesList, oneOf, rule } from '../common';

/** The service mesh of the cluster. */
export const Mesh = {
  None: 'none',
  /** Istio with a proxy in each pod. */
  Sidecar: 'sidecar',
  /** Istio with a proxy on each node: traffic between pods is tunnelled through port 15008. */
  Ambient: 'ambient',
} as const;
export type Mesh = (typeof Mesh)[keyof typeof Mesh];

export interface RedisNetworkPolicyArgs extends NetworkTuningArgs {
  /** Name of the region, one of `regions`. */
  region: string;
  /** Namespace of the region. */
  namespace: pulumi.Input<string>;
  /** All regions of the mesh, in the stack's order. */
  regions: string[];
  /** A PeerTopology, as at SyncAgent. Default: mesh. */
  topology?: PeerTopology;
  /** The middle of a star; needed with topology star only. */
  hub?: string;
  /** Namespaces of the regions that are in this very cluster, by region: their agents are known by their labels. Default: none. */
  peerNamespaces?: { [region: string]: pulumi.Input<string> };
  /** Addresses of the agents of other regions, or of the gateways before them, in CIDR notation, by region. Default: none. */
  peerCidrs?: { [region: string]: pulumi.Input<string[]> };
  /** Ports at those addresses, by region. Default: 7600, the agent's own. */
  peerPorts?: { [region: string]: pulumi.Input<number> };
  /** Networks of a managed Redis, in CIDR notation; then there are no pods of Redis and Sentinels. Default: none, Redis is pods. */
  redisCidrs?: pulumi.Input<string[]>;
  /** A Mesh: what it needs is allowed. Default: none. */
  mesh?: Mesh;
}

/** Who else may reach a region's pods, and whom they reach: all of it has a default. */
export interface NetworkTuningArgs {
  /** Labels of the pods that may use Redis, in the namespaces of `clientNamespaceLabels`. Default: `meridian.redis/client: "true"`. */
  clientPodLabels?: pulumi.Input<{ [label: string]: string }>;
  /** Labels of the namespaces that clients may be in. Default: none, which is every namespace. */
  clientNamespaceLabels?: pulumi.Input<{ [label: string]: string }>;
  /** Namespace of Prometheus, which may read metrics. Default: monitoring. */
  monitoringNamespace?: pulumi.Input<string>;
  /** Namespace of the cluster's DNS. Default: kube-system. */
  dnsNamespace?: pulumi.Input<string>;
  /** Where else DNS is, in CIDR notation: a cache on each node, such as NodeLocal DNSCache at 169.254.20.10/32, is in no namespace. Default: nowhere. */
  dnsCidrs?: pulumi.Input<string[]>;
  /** Where the API server is, in CIDR notation, for the role's side-car. Default: anywhere, on ports 443 and 6443, as clouds don't tell. */
  apiServerCidrs?: pulumi.Input<string[]>;
  /** Namespace of Istio's control plane and gateways. Default: istio-system. */
  istioNamespace?: pulumi.Input<string>;
}

/** Everything that is wrong with the plain arguments. */
export function issuesOf(args: RedisNetworkPolicyArgs): ConfigIssue[] {
  const known = args.regions.join(', ');
  const isStar = args.topology === PeerTopology.Star;
  const issues = [
    ...dnsLabel('region', args.region),
    ...namesList('regions', args.regions, 2),
    ...rule(args.regions.includes(args.region), 'region', args.region, `a name in regions: ${known}`),
    ...oneOf('topology', args.topology, PeerTopology),
    ...oneOf('mesh', args.mesh, Mesh),
    ...rule(!isStar || args.regions.includes(args.hub ?? ''), 'hub', args.hub, `a name in regions: ${known}`),
  ];
  if (issues.length > 0) return issues;
  const isThere = (peer: string): boolean =>
    args.peerNamespaces?.[peer] !== undefined || args.peerCidrs?.[peer] !== undefined;
  const nowhere = peersOf(args.region, topologyOf(args), args.regions).filter((peer) => !isThere(peer));
  return rule(
    nowhere.length === 0,
    'peerCidrs',
    `nothing for ${nowhere.join(', ')}, and no namespace either`,
    'addresses, or a namespace in peerNamespaces, for each linked region',
  );
}
