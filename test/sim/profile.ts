/** What takes part in the schedule of one seed: regions, commands, faults. */
import type { Mix } from './clients';
import { Random } from './random';

export const REGIONS_MAX = 5;
/** Such schedules take several times as long as others. */
const BRISK = 0.04;

export interface Profile {
  regions: number;
  events: number;
  mix: Mix;
  crashes: boolean;
  restarts: boolean;
  failovers: boolean;
  /** Redis and its agent die together, and Redis loses the last of its data. */
  outages: boolean;
  partitions: boolean;
  relayOnly: boolean;
  skew: boolean;
  trims: boolean;
  /** Half-way all comes to rest: what clients do then meets what has left the window. */
  rests: boolean;
  /** Peers send what they have sent before. */
  repeats: boolean;
  /** An outage may hit a region while another one has not come back from one. */
  pairs: boolean;
  leaves: boolean;
  joins: boolean;
  /** Agents keep up with the clients: keys are settled between their writes. */
  brisk: boolean;
}

/** Of a profile's parts, those that a schedule may be told to do without. */
export const faults = [
  ...(['crashes', 'restarts', 'failovers', 'outages', 'pairs', 'partitions', 'relayOnly'] as const),
  ...(['repeats', 'leaves', 'joins', 'skew', 'trims', 'rests'] as const),
] satisfies (keyof Profile)[];
export const families = [
  ...(['strings', 'counters', 'decimals', 'hashes', 'sets', 'zsets', 'lists', 'moves', 'bitmaps', 'logs'] as const),
  ...([
    'queues',
    'streams',
    'ttl',
    'deletes',
    'transactions',
    'otherTypes',
    'appends',
    'otherDbs',
    'functions',
  ] as const),
] satisfies (keyof Mix)[];

/** @param random the seed's, at its beginning */
export function profileOf(seed: number, random: Random, regions?: number): Profile {
  const maybe = (p: number): boolean => random.chance(p);
  const profile: Profile = {
    regions: regions ?? (maybe(0.5) ? 2 : 3),
    events: random.pick([40, 80, 150, 300]),
    mix: {
      keysPerType: random.pick([1, 1, 2, 3]),
      strings: maybe(0.7),
      counters: maybe(0.6),
      hashes: maybe(0.6),
      sets: maybe(0.6),
      zsets: maybe(0.5),
      lists: maybe(0.3),
      decimals: maybe(0.4),
      moves: maybe(0.4),
      bitmaps: maybe(0.2),
      logs: maybe(0.2),
      queues: maybe(0.2),
      streams: maybe(0.4),
      ttl: maybe(0.4),
      ttlShare: random.pick([0.2, 0.2, 0.5]),
      deletes: maybe(0.6),
      transactions: maybe(0.5),
      otherTypes: maybe(0.25),
      appends: maybe(0.15),
      otherDbs: maybe(0.2),
      functions: false,
      grows: false,
    },
    crashes: maybe(0.5),
    restarts: maybe(0.25),
    failovers: maybe(0.3),
    outages: maybe(0.3),
    partitions: maybe(0.5),
    relayOnly: maybe(0.2),
    skew: maybe(0.5),
    trims: maybe(0.5),
    rests: maybe(0.4),
    repeats: false,
    pairs: false,
    leaves: false,
    joins: false,
    brisk: false,
  };
  // In some all meet on one key.
  if (maybe(0.25)) {
    const { mix } = profile;
    const kinds = [
      ...(['strings', 'counters', 'decimals', 'hashes', 'sets', 'zsets', 'lists'] as const),
      ...(['lists', 'bitmaps', 'logs', 'queues', 'streams'] as const),
    ];
    const only = random.pick(kinds);
    for (const kind of kinds) mix[kind] = kind === only;
    mix.keysPerType = only === 'lists' && mix.moves ? 2 : 1;
    mix.ttl = maybe(0.7);
  }
  // By themselves, so that a seed without them is what it was before there were any.
  const more = new Random(seed ^ 0x5bd1e995);
  if (regions === undefined && more.chance(0.15)) profile.regions = more.pick([4, 4, 5]);
  profile.repeats = more.chance(0.3);
  profile.pairs = profile.outages && more.chance(0.3);
  profile.leaves = more.chance(0.15);
  profile.joins = more.chance(0.15);
  profile.mix.functions = more.chance(0.3);
  if (more.chance(BRISK)) {
    profile.brisk = true;
    profile.events *= 2;
    // In some, elements move between lists all the time.
    if (more.chance(0.5)) {
      const { mix } = profile;
      for (const kind of families) mix[kind] = kind === 'lists' || kind === 'moves' || kind === 'transactions';
      mix.keysPerType = more.between(2, 4);
    }
  }
  return profile;
}

/** Clients write streams, to which they mostly add: what all is kept of them until everybody has seen it. */
export function onlyStreams(profile: Profile): void {
  const { mix } = profile;
  const { ttl, deletes, transactions, otherTypes, otherDbs } = mix;
  for (const kind of families) mix[kind] = false;
  // Now and then all else that can happen to one.
  const isMixed = mix.keysPerType === 1 || otherTypes;
  Object.assign(mix, {
    ...{ keysPerType: 1, streams: true, strings: otherTypes, otherTypes, otherDbs, transactions },
    ...{ ttl: ttl && isMixed, deletes: deletes && isMixed, grows: !(deletes && isMixed) },
  });
}
