import type * as pulumi from '@pulumi/pulumi';

import { type RegionalTrafficArgs, type TrafficShift, type TrafficTuningArgs } from '../traffic';

/** What decides which region a client's connection goes to. */
export const TrafficBy = {
  /** A region serves its own clients, and others when it is down; or shares, as `distribute` says. */
  Locality: 'locality',
  /** The regions' weights, wherever a client is. Without failover. */
  Weights: 'weights',
} as const;
export type TrafficBy = (typeof TrafficBy)[keyof typeof TrafficBy];

/** One name for the Redis of all regions. */
export interface MeshTrafficArgs extends TrafficTuningArgs {
  /** The name by which clients reach Redis in whatever region, such as `redis.prod.meridian`; Redis' certificates carry it. */
  host: pulumi.Input<string>;
  /** A TrafficBy. Default: locality. */
  by?: TrafficBy;
  /**
   * Percent of the connections that start in a region, by the region they go to; only by locality. A region that isn't named as a target gets nothing
   * from there; a region without an entry serves its own clients and fails over to the others. Default: none.
   */
  distribute?: { [from: string]: { [to: string]: number } };
  /** Regions that get no connections; what they got goes to the others in proportion. Default: none. */
  drain?: string[];
  /**
   * Traffic to be moved, in this order, before `drain`. Where a region has no entry in `distribute` it then serves its own clients by shares, and not by
   * failover, until the list is empty. Default: none.
   */
  shift?: TrafficShift[];
}

type Routing = Pick<RegionalTrafficArgs, 'distribute' | 'failover' | 'weights' | 'drain' | 'shift'>;

/**
 * The rules for the clients of one region. Each region's cluster gets rules of its own, so that some regions can share their traffic while others
 * fail over; Istio takes no rule that does both.
 * @param weights percent by region, of all regions in their order
 */
export function routingFor(
  region: string,
  weights: Readonly<Record<string, number>>,
  { by, distribute = {}, drain, shift = [] }: MeshTrafficArgs,
): Routing {
  const moves = { ...(drain === undefined ? {} : { drain }), ...(shift.length === 0 ? {} : { shift }) };
  if (by === TrafficBy.Weights) return { weights: { ...weights }, ...moves };
  // Drained, it fails over by itself; a shift needs shares that it can move.
  if (distribute[region] === undefined && shift.length === 0) return { failover: {}, ...moves };
  const names = Object.keys(weights);
  const complete = (from: string): Record<string, number> => {
    const shares = distribute[from] ?? { [from]: 100 };
    return { ...Object.fromEntries(names.map((name) => [name, 0])), ...shares };
  };
  return { distribute: Object.fromEntries(names.map((from) => [from, complete(from)])), ...moves };
}
