import * as pulumi from '@pulumi/pulumi';

import { links } from '../../model';
import { topologyOf } from '../agent';
import { alicloud } from '../aliyun/provider';
import { checkArguments, checkPackages, childOptions, componentType } from '../common';
import { kubernetes } from '../common/kubernetes';
import { CertificateIssuer, RedisSecurity } from '../security';
import { TencentProvider } from '../tencent';
import { RegionalTraffic } from '../traffic';
import { type ActiveActiveRedisArgs, backendOf, isInCluster, type MeshRegion } from './args';
import { meshPlanIssues, regionArgs, securityArgs, trafficArgs } from './plan';
import { RedisRegion } from './region';
import { packagesOf, RegionBackend } from './region-args';

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
  /** Whom each region sends changes to, by region. */
  public readonly links: pulumi.Output<{ [region: string]: string[] }>;
  /** PEM of the authorities that clients have to trust; empty with issuer `cert-manager`, whose root they trust then. */
  public readonly caBundlePem: pulumi.Output<string>;
  /** The passwords of each user; the first is the one to use. Secret. */
  public readonly userPasswords: pulumi.Output<{ [user: string]: string[] }>;

  constructor(name: string, args: ActiveActiveRedisArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments('ActiveActiveRedis', name, args, ['stack', 'regions', 'agentImage'], () =>
      meshPlanIssues(name, args),
    );
    checkPackages('ActiveActiveRedis', name, args.regions.flatMap(packagesOf));
    super(componentType('ActiveActiveRedis'), name, args, opts);

    const { regions, traffic } = args;
    const names = regions.map((region) => region.name);
    const graph = topologyOf(args);
    const security = new RedisSecurity(`${name}-security`, securityArgs(args), childOptions(this));

    // Load balancers of agents in Fargate, which peers are told before they are made: links go both ways.
    const balancers = new Map(
      regions
        .filter((region) => !isInCluster(region))
        .map((region) => [region.name, pulumi.deferredOutput<string>()] as const),
    );
    const farHostOf = (peer: MeshRegion): pulumi.Input<string> => peer.agentHost ?? balancers.get(peer.name)?.[0] ?? '';

    const made = regions.map((region) => {
      const options = pulumi.mergeOptions(childOptions(this), this.providersOf(name, region));
      const told = regionArgs(name, region, args, security, farHostOf);
      const child = new RedisRegion(`${name}-${region.name}`, told, options);
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
    this.links = pulumi.output(links(graph, names));
    this.caBundlePem = args.issuer === CertificateIssuer.CertManager ? pulumi.output('') : security.caBundlePem;
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
        new kubernetes.Provider(
          child,
          {
            ...(context === undefined ? {} : { context }),
            ...(kubeconfig === undefined ? {} : { kubeconfig }),
            // Else a new password, certificate or config is a Secret or ConfigMap that is deleted and made anew.
            enableConfigMapMutable: true,
            enableSecretMutable: true,
          },
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
