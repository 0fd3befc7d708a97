import { drained, shifted, type Shares } from '../../model/distribution';
import { type RegionalTrafficArgs, regionOfLocality, type Routing, type TrafficRegion } from './args';

/** What is left of the arguments when shifts and drains are done. The arguments are valid. */
export function routingOf(args: RegionalTrafficArgs): Routing {
  const drain = args.drain ?? [];
  const move = (shares: Shares): Shares => drained(shifted(shares, args.shift ?? []), drain);
  if (args.distribute !== undefined) {
    const entries = Object.entries(args.distribute).map(([from, shares]) => [from, move(shares)] as const);
    return { by: 'distribute', distribution: Object.fromEntries(entries) };
  }
  if (args.weights !== undefined) return { by: 'weights', shares: move(args.weights) };
  const entries = Object.entries(args.failover ?? {}).filter(([, to]) => !drain.includes(to));
  return { by: 'failover', failover: Object.fromEntries(entries) };
}

/** Of `region/zone`, all that is in it. */
const pattern = (locality: string): string => (locality.split('/').length < 3 ? `${locality}/*` : locality);

/** `localityLbSetting` of a DestinationRule: distribute or failover, never both. Nothing where the VirtualService decides. */
export function localitySetting(routing: Routing, regions: readonly TrafficRegion[]): object | undefined {
  const localityOf = (name: string): string => regions.find((region) => region.name === name)?.locality ?? name;
  switch (routing.by) {
    case 'weights':
      return undefined;
    case 'distribute':
      return {
        enabled: true,
        distribute: Object.entries(routing.distribution).map(([from, shares]) => ({
          from: pattern(localityOf(from)),
          // Istio allows 1 to 100. A locality that is left out gets no endpoints, which is what 0 means.
          to: Object.fromEntries(
            Object.entries(shares)
              .filter(([, percent]) => percent > 0)
              .map(([to, percent]) => [pattern(localityOf(to)), percent]),
          ),
        })),
      };
    case 'failover': {
      const entries = Object.entries(routing.failover).map(([from, to]) => ({
        from: regionOfLocality(localityOf(from)),
        to: regionOfLocality(localityOf(to)),
      }));
      return { enabled: true, ...(entries.length > 0 ? { failover: entries } : {}) };
    }
  }
}
