/**
 * Routes, pure: from which peer each origin is taken, and by which path each region is reached. A path-vector protocol:
 * a peer offers, for each region that it gets live, the path of regions by which it gets it; a path through here is
 * ignored, so no loop can form and a lost region is not counted to infinity.
 */
import { regionOf, type OriginId } from '../record';

/** Regions from the first to the last, both included. */
export type Path = readonly string[];

/** What a connected peer offers. */
export interface PeerOffer {
  readonly paths: ReadonlyMap<string, Path>;
  readonly ends: ReadonlyMap<OriginId, number>;
  /** Origins of which the peer no longer has what is needed here. */
  readonly missing: ReadonlySet<OriginId>;
}

export interface RouteInput {
  readonly region: string;
  readonly peers: ReadonlyMap<string, PeerOffer>;
  /** Position here; -1 when there is nothing. */
  have(origin: OriginId): number;
  /** Whether an origin is to be followed at all. */
  wants(origin: OriginId): boolean;
  /** From whom each origin is taken now: kept where no live path decides. */
  readonly current: ReadonlyMap<OriginId, string>;
}

export interface Routes {
  /** What this region offers: by which path it gets each region, itself included. */
  readonly paths: ReadonlyMap<string, Path>;
  /** The peer that each region comes by. */
  readonly via: ReadonlyMap<string, string>;
  /** The one peer that each origin is taken from. */
  readonly sources: ReadonlyMap<OriginId, string>;
}

/** The longest path that is taken seriously: more regions than a mesh can have. */
const PATH_REGIONS_MAX = 64;

export function computeRoutes(input: RouteInput): Routes {
  const paths = new Map<string, Path>([[input.region, [input.region]]]);
  const via = new Map<string, string>();
  /** Per region its usable peers, best first. */
  const ranked = new Map<string, { peer: string; path: Path }[]>();
  for (const [peer, offer] of input.peers)
    for (const [region, path] of offer.paths) {
      if (region === input.region || path.includes(input.region)) continue;
      const list = ranked.get(region);
      if (list) list.push({ peer, path });
      else ranked.set(region, [{ peer, path }]);
    }
  for (const [region, list] of ranked) {
    // A direct link has the shortest path there is: [region].
    list.sort((a, b) => a.path.length - b.path.length || (a.peer < b.peer ? -1 : 1));
    const best = list[0]!;
    via.set(region, best.peer);
    if (best.path.length < PATH_REGIONS_MAX) paths.set(region, [input.region, ...best.path]);
  }

  const origins = new Set<OriginId>();
  for (const offer of input.peers.values()) for (const origin of offer.ends.keys()) origins.add(origin);
  const sources = new Map<OriginId, string>();
  for (const origin of origins) {
    if (!input.wants(origin)) continue;
    const source =
      ranked.get(regionOf(origin))?.find(({ peer }) => holds(input.peers.get(peer)!, origin))?.peer ??
      keeper(input, origin);
    if (source !== undefined) sources.set(origin, source);
  }
  return { paths, via, sources };
}

function holds(offer: PeerOffer, origin: OriginId): boolean {
  return offer.ends.has(origin) && !offer.missing.has(origin);
}

/**
 * Without a live path to an origin's region, what its records left behind is still spread: the peer that has most of
 * it, if that is more than is here. The present one is kept while it has more, so that two equal keepers don't take turns.
 */
function keeper(input: RouteInput, origin: OriginId): string | undefined {
  const have = input.have(origin);
  const current = input.current.get(origin);
  let best: string | undefined;
  let bestEnd = have;
  for (const [peer, offer] of input.peers) {
    if (!holds(offer, origin)) continue;
    const end = offer.ends.get(origin)!;
    if (end <= have) continue;
    if (peer === current) return peer;
    if (end > bestEnd || (end === bestEnd && best !== undefined && peer < best)) {
      best = peer;
      bestEnd = end;
    }
  }
  return best;
}

/** Why a path that `peer` offers for `region` is not one, or null when it is. */
export function pathFault(peer: string, region: string, path: Path): string | null {
  if (path.length === 0 || path.length > PATH_REGIONS_MAX) return `a path of ${path.length} regions`;
  if (path[0] !== peer) return `a path that does not begin at ${peer}`;
  if (path[path.length - 1] !== region) return `a path that does not end at its region`;
  if (new Set(path).size !== path.length) return 'a path that visits a region twice';
  return null;
}
