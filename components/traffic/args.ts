import type * as pulumi from '@pulumi/pulumi';

import { type ConfigIssue } from '../../model';
import { type Distribution, type Shares } from '../../model/distribution';
import { dnsLabel, namesList, rule, whole } from '../common';

/** A region as the proxies of one cluster see it. */
export interface TrafficRegion {
  /** Name of the region. */
  name: string;
  /** Istio's locality: `region`, `region/zone` or `region/zone/subzone`, as the nodes' topology labels say it. */
  locality: string;
  /**
   * Where connections for this region go: the name of its Redis Service (`host` of KubernetesRedis) where pods reach it directly, the
   * address of its east-west gateway where it is in another network.
   */
  address: pulumi.Input<string>;
  /** Its Istio network (`topology.istio.io/network`). Plain: it decides between Service and gateway. Default: all are in one. */
  network?: string;
}

/** A part of the traffic to be moved. */
export interface TrafficShift {
  /** The region that gets less. */
  from: string;
  /** The region that gets more. */
  to: string;
  /** How much of what `from` gets is moved, in percent, 1 to 100. */
  percent: number;
}

export interface RegionalTrafficArgs extends TrafficTuningArgs {
  /** The region whose clients these rules are for: those in the cluster that the rules are deployed to. */
  region: string;
  /** Namespace of the rules; it must exist. They hold for clients in `exportTo`. */
  namespace: pulumi.Input<string>;
  /**
   * The name by which clients reach Redis wherever they are, such as `redis.prod.meridian`; it needs no DNS record where the
   * proxies answer DNS (`ISTIO_META_DNS_CAPTURE`). The same in every region, for gateways pass connections on by it.
   */
  host: pulumi.Input<string>;
  /** Every region, this one included, in any order. */
  regions: TrafficRegion[];

  /**
   * Percent of the connections that start in a region, by the region they go to: `{ 'us-west-2': { 'us-west-2': 70, 'eu-central-1': 20,
   * 'ap-northeast-1': 10 }, … }`. Every region has an entry, and names every region: Istio gives a locality that isn't named no endpoints at
   * all, not even when all others are down, so that this must be said, by 0. Each entry is 100 in all. One of `distribute`, `failover`, `weights`.
   */
  distribute?: { [from: string]: { [to: string]: number } };
  /**
   * Each region serves its own clients, and when it is down the named one does: `{ 'us-west-2': 'eu-central-1' }`. A region that isn't
   * named fails over to any other: `{}` is allowed. One of `distribute`, `failover`, `weights`.
   */
  failover?: { [from: string]: string };
  /**
   * Percent of this region's connections by region, by weights of the VirtualService: exact also for clients whose locality Istio doesn't know.
   * Without failover: what goes to a region that is down fails until it is drained. 0 to 100, every region named, 100 in all.
   * One of `distribute`, `failover`, `weights`.
   */
  weights?: { [region: string]: number };

  /** Regions that get no connections: maintenance, or doubt. What they got goes to the others in proportion. Default: none. */
  drain?: string[];
  /** Traffic to be moved, in this order, before `drain`. Only with `distribute` or `weights`. Default: none. */
  shift?: TrafficShift[];
}

/** What can be chosen about how connections are balanced and ended: all of it has a default. */
export interface TrafficTuningArgs {
  /** Failures in a row after which an endpoint is taken out, 1 or more. Default: 5. */
  consecutiveErrors?: pulumi.Input<number>;
  /** Between two looks at the endpoints, in seconds. Default: 10. */
  outlierIntervalSeconds?: pulumi.Input<number>;
  /** How long an endpoint stays out, times the number of times it was, in seconds. Default: 30. */
  baseEjectionSeconds?: pulumi.Input<number>;
  /**
   * Of all endpoints, the percent that may be out at a time, 1 to 100. Default: 100, for a region is often one endpoint, a Service or a
   * gateway, and with Istio's own 10 it would never be taken out.
   */
  maxEjectionPercent?: pulumi.Input<number>;
  /**
   * Age at which a connection is closed, in seconds; 0 is never. Balancing is per connection, and Redis clients keep theirs for days: without an
   * end, those that failed over, or that a shift should move, stay where they are. Clients reconnect; a command that is under way fails. Default: 3600.
   */
  maxConnectionSeconds?: pulumi.Input<number>;
  /** Time to connect, in seconds. Default: 3: enough for any two regions, and each failure on the way to taking a region out costs it. */
  connectTimeoutSeconds?: pulumi.Input<number>;

  /** Port of the east-west gateways. Default: 15443, Istio's own. */
  gatewayPort?: pulumi.Input<number>;
  /** Port of Redis, for clients and at the Services. Default: 6379. */
  port?: pulumi.Input<number>;
  /**
   * Redis pods have a sidecar, so that proxies speak mutual TLS to them. Regions in other networks need it: without it Istio passes over their
   * endpoints without a word. Default: true.
   */
  mutualTls?: boolean;
  /** Virtual address of `host`, such as 240.240.0.1. Default: Istio allocates one, which it does where its proxies answer DNS. */
  virtualAddress?: pulumi.Input<string>;
  /**
   * Namespaces whose clients these rules are for. Default: all (`*`), because an east-west gateway must know `host`, too, and it has a
   * namespace of its own. Where several regions share one cluster, each names its own clients', or their rules contradict.
   */
  exportTo?: pulumi.Input<pulumi.Input<string>[]>;
}

/** What decides where a connection goes. */
export type Routing =
  | { readonly by: 'distribute'; readonly distribution: Distribution }
  | { readonly by: 'failover'; readonly failover: Readonly<Record<string, string>> }
  | { readonly by: 'weights'; readonly shares: Shares };

const modes = ['distribute', 'failover', 'weights'] as const;

/** Istio's topmost level of a locality; failover is between these. */
export const regionOfLocality = (locality: string): string => locality.split('/')[0] ?? locality;

const isLocality = (text: string): boolean => /^[^/\s*]+(\/[^/\s*]+){0,2}$/.test(text);
/** Whether one contains the other, so that an endpoint would count twice. */
const overlap = (a: string, b: string): boolean => `${a}/`.startsWith(`${b}/`) || `${b}/`.startsWith(`${a}/`);

/** Everything that is wrong with the plain arguments. */
export function issuesOf(args: RegionalTrafficArgs): ConfigIssue[] {
  const names = args.regions.map(({ name }) => name);
  const given = modes.filter((mode) => args[mode] !== undefined);
  const known = (path: string, name: string): ConfigIssue[] =>
    rule(names.includes(name), path, JSON.stringify(name), `a region: ${names.join(', ')}`);
  const drain = args.drain ?? [];
  return [
    ...dnsLabel('region', args.region),
    ...namesList('regions', names, 2),
    ...known('region', args.region),
    ...localityIssues(args),
    ...rule(
      given.length === 1,
      modes.join(', '),
      given.length === 0 ? 'none of them' : given.join(' and '),
      'exactly one of them: Istio refuses distribute and failover together, and weights leave nothing to either',
    ),
    ...Object.entries(args.distribute ?? {}).flatMap(([from, shares]) => [
      ...known(`distribute.${from}`, from),
      ...sharesIssues(`distribute.${from}`, shares, names),
    ]),
    ...(args.distribute === undefined
      ? []
      : names
          .filter((name) => args.distribute?.[name] === undefined)
          .flatMap((name) =>
            rule(
              false,
              `distribute.${name}`,
              'nothing',
              'an entry for each region: clients of a region without one would be sent anywhere',
            ),
          )),
    ...(args.weights === undefined ? [] : sharesIssues('weights', args.weights, names)),
    ...Object.entries(args.failover ?? {}).flatMap(([from, to]) => [
      ...known(`failover.${from}`, from),
      ...known(`failover.${from}`, to),
      ...rule(from !== to, `failover.${from}`, to, 'another region'),
    ]),
    ...drain.flatMap((name, i) => known(`drain[${i}]`, name)),
    ...rule(
      names.some((name) => !drain.includes(name)),
      'drain',
      drain.join(', '),
      'not every region',
    ),
    ...rule(
      args.shift === undefined || args.shift.length === 0 || args.failover === undefined,
      'shift',
      'a value, with failover',
      'only with distribute or weights: with failover a region has all of its own traffic or, drained, none',
    ),
    ...(args.shift ?? []).flatMap(({ from, to, percent }, i) => [
      ...known(`shift[${i}].from`, from),
      ...known(`shift[${i}].to`, to),
      ...rule(from !== to, `shift[${i}].to`, to, 'another region than from'),
      ...rule(!drain.includes(to), `shift[${i}].to`, to, 'a region that is not drained'),
      ...whole(`shift[${i}].percent`, percent, 1, 100, 'percent'),
    ]),
  ];
}

function localityIssues({ regions, region, mutualTls, failover }: RegionalTrafficArgs): ConfigIssue[] {
  const own = regions.find(({ name }) => name === region);
  const someNetwork = regions.some(({ network }) => network !== undefined);
  return regions.flatMap(({ name, locality, network }, i) => {
    const path = `regions[${i}]`;
    const other = regions.slice(0, i).find((earlier) => overlap(earlier.locality, locality));
    const sameRegion = regions
      .slice(0, i)
      .find((earlier) => regionOfLocality(earlier.locality) === regionOfLocality(locality));
    return [
      ...rule(
        isLocality(locality),
        `${path}.locality`,
        JSON.stringify(locality),
        'region, region/zone or region/zone/subzone',
      ),
      ...rule(
        other === undefined,
        `${path}.locality`,
        locality,
        `one beside that of ${other?.name ?? ''}, not the same`,
      ),
      ...rule(
        failover === undefined || other !== undefined || sameRegion === undefined,
        `${path}.locality`,
        locality,
        `another first part than that of ${sameRegion?.name ?? ''}: Istio's failover is between those`,
      ),
      ...rule(
        !someNetwork || network !== undefined,
        `${path}.network`,
        `nothing, for ${name}`,
        'a network for each region, or for none: gateways keep to the endpoints of their own network',
      ),
      ...rule(
        network === own?.network || mutualTls !== false,
        'mutualTls',
        `false, with ${name} in another network`,
        'true: Istio passes over endpoints of other networks without it',
      ),
    ];
  });
}

function sharesIssues(path: string, shares: Shares, names: readonly string[]): ConfigIssue[] {
  const percents = Object.values(shares);
  const sum = percents.reduce((a, b) => a + b, 0);
  return [
    ...Object.entries(shares).flatMap(([to, percent]) => [
      ...rule(names.includes(to), `${path}.${to}`, JSON.stringify(to), `a region: ${names.join(', ')}`),
      ...whole(`${path}.${to}`, percent, 0, 100, 'percent'),
    ]),
    ...names
      .filter((name) => shares[name] === undefined)
      .flatMap((name) =>
        rule(
          false,
          `${path}.${name}`,
          'nothing',
          'a percent for each region; 0 says that it gets no connections even when all others are down',
        ),
      ),
    ...rule(sum === 100, path, `${percents.join(' + ')} = ${sum}`, 'percents with a sum of 100'),
  ];
}
