import * as pulumi from '@pulumi/pulumi';

import { checkArguments, checkPackages, childOptions, componentType, labelsOf, regionLabel, Role } from '../common';
import { kubernetes } from '../common/kubernetes';
import { issuesOf, type RegionalTrafficArgs } from './args';
import { localitySetting, routingOf } from './rules';

const apiVersion = 'networking.istio.io/v1';
/** Redis is no HTTP: the name of the port tells Istio so, and only `tcp` routes match it. */
const portName = 'tcp-redis';
const seconds = (value: pulumi.Input<number>): pulumi.Output<string> => pulumi.interpolate`${value}s`;

/**
 * Which region's Redis the clients of one cluster reach, by Istio: one name for all regions, with an endpoint in each. Deployed to each region's
 * cluster. It sees connections only: a Redis that is read-only, or whose data is old, looks healthy to it, and moving
 * traffic away from it (`drain`) is up to who knows. For Istio's sidecars.
 */
export class RegionalTraffic extends pulumi.ComponentResource {
  /** The name that clients connect to. */
  public readonly host: pulumi.Output<string>;
  /** Port of it. */
  public readonly port: pulumi.Output<number>;

  constructor(name: string, args: RegionalTrafficArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments('RegionalTraffic', name, args, ['namespace', 'region', 'regions', 'host'], () => issuesOf(args));
    checkPackages('RegionalTraffic', name, ['@pulumi/kubernetes']);
    super(componentType('RegionalTraffic'), name, args, opts);

    const { namespace, host, region } = args;
    const port = pulumi.output(args.port ?? 6379);
    const exportTo = args.exportTo ?? ['*'];
    const metadata = {
      name,
      namespace,
      labels: { ...labelsOf(Role.Redis, region), 'app.kubernetes.io/component': 'traffic' },
    };
    const routing = routingOf(args);
    const isReachable = (other: string): boolean => routing.by !== 'failover' || !(args.drain ?? []).includes(other);
    const ownNetwork = args.regions.find((one) => one.name === region)?.network;

    new kubernetes.apiextensions.CustomResource(
      `${name}-entry`,
      {
        apiVersion,
        kind: 'ServiceEntry',
        metadata,
        spec: {
          hosts: [host],
          exportTo,
          ...(args.virtualAddress === undefined ? {} : { addresses: [args.virtualAddress] }),
          location: 'MESH_INTERNAL',
          // Addresses are names: Services inside, load balancers of gateways outside.
          resolution: 'DNS',
          ports: [{ number: port, name: portName, protocol: 'TCP' }],
          endpoints: args.regions
            // Failover knows priorities, no weights: a drained region is one that isn't there.
            .filter((one) => isReachable(one.name))
            .map((one) => ({
              address: one.address,
              ports: { [portName]: one.network === ownNetwork ? port : (args.gatewayPort ?? 15443) },
              locality: one.locality,
              ...(one.network === undefined ? {} : { network: one.network }),
              labels: {
                [regionLabel]: one.name,
                ...(args.mutualTls === false ? {} : { 'security.istio.io/tlsMode': 'istio' }),
              },
            })),
        },
      },
      childOptions(this),
    );

    const locality = localitySetting(routing, args.regions);
    const errors = args.consecutiveErrors ?? 5;
    const connectionAge = pulumi
      .output(args.maxConnectionSeconds ?? 3600)
      .apply((age) => (age === 0 ? undefined : `${age}s`));
    new kubernetes.apiextensions.CustomResource(
      `${name}-rule`,
      {
        apiVersion,
        kind: 'DestinationRule',
        metadata,
        spec: {
          host,
          exportTo,
          trafficPolicy: {
            loadBalancer: {
              simple: 'LEAST_REQUEST',
              ...(locality === undefined ? {} : { localityLbSetting: locality }),
            },
            connectionPool: {
              tcp: {
                connectTimeout: seconds(args.connectTimeoutSeconds ?? 3),
                maxConnectionDuration: connectionAge,
                // A region that vanishes closes nothing: its connections would hang for the kernel's two hours.
                tcpKeepalive: { time: '30s', interval: '10s', probes: 3 },
              },
            },
            // Always there: it alone makes Istio look at localities at all.
            outlierDetection: {
              // Failures to connect, which is all there is to see of TCP. Istio also counts them as 5xx, from 5 on by default, before
              // our number is reached: off.
              splitExternalLocalOriginErrors: true,
              consecutiveLocalOriginFailures: errors,
              consecutiveGatewayErrors: errors,
              consecutive5xxErrors: 0,
              interval: seconds(args.outlierIntervalSeconds ?? 10),
              baseEjectionTime: seconds(args.baseEjectionSeconds ?? 30),
              maxEjectionPercent: args.maxEjectionPercent ?? 100,
            },
          },
          ...(routing.by === 'weights'
            ? { subsets: args.regions.map((one) => ({ name: one.name, labels: { [regionLabel]: one.name } })) }
            : {}),
        },
      },
      childOptions(this),
    );

    const destination = (subset?: string): object => ({
      host,
      port: { number: port },
      ...(subset === undefined ? {} : { subset }),
    });
    new kubernetes.apiextensions.CustomResource(
      `${name}-route`,
      {
        apiVersion,
        kind: 'VirtualService',
        metadata,
        spec: {
          hosts: [host],
          exportTo,
          tcp: [
            {
              match: [{ port }],
              route:
                routing.by === 'weights'
                  ? Object.entries(routing.shares)
                      .filter(([, weight]) => weight > 0)
                      .map(([to, weight]) => ({ destination: destination(to), weight }))
                  : [{ destination: destination() }],
            },
          ],
        },
      },
      childOptions(this),
    );

    this.host = pulumi.output(host);
    this.port = port;
    this.registerOutputs({ host: this.host, port: this.port });
  }
}
