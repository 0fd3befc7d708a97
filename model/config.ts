import { type z } from 'zod';

import { nearest } from './nearest';
import {
  type Backend,
  failoverSchema,
  kubernetesSchema,
  monitoringSchema,
  redisSchema,
  type regionSchema,
  regionsSchema,
  replicationSchema,
  securitySchema,
  trafficSchema,
} from './schema';
import { type Topology } from './topology';
import { apportion } from './weights';

/** The namespace of our keys in a stack's config: the project's name in Pulumi.yaml. */
const namespace = 'meridian';

const sectionNames = [
  'regions',
  'replication',
  'redis',
  'failover',
  'traffic',
  'security',
  'kubernetes',
  'monitoring',
] as const;
type SectionName = (typeof sectionNames)[number];

type ParsedRegion = z.output<typeof regionSchema>;

/** One region, every default filled in. */
export type RegionConfig = Omit<ParsedRegion, 'weight' | 'providerRegion' | 'locality'> &
  Required<Pick<ParsedRegion, 'weight' | 'providerRegion' | 'locality'>>;
export type ReplicationConfig = z.output<typeof replicationSchema>;
export type RedisConfig = z.output<typeof redisSchema>;
export type FailoverConfig = z.output<typeof failoverSchema>;
export type TrafficConfig = z.output<typeof trafficSchema>;
export type SecurityConfig = z.output<typeof securitySchema>;
export type KubernetesConfig = z.output<typeof kubernetesSchema>;
export type MonitoringConfig = z.output<typeof monitoringSchema>;

/** A stack's config as written in `Pulumi.<stack>.yaml`, checked, every default filled in. Sizes are bytes. */
export interface StackConfig {
  /** In the order of the file. */
  readonly regions: readonly RegionConfig[];
  readonly replication: ReplicationConfig;
  readonly redis: RedisConfig;
  readonly failover: FailoverConfig;
  readonly traffic: TrafficConfig;
  readonly security: SecurityConfig;
  readonly kubernetes: KubernetesConfig;
  readonly monitoring: MonitoringConfig;
}

/** One thing wrong with a config. */
export interface ConfigIssue {
  /** Where, such as `meridian:regions[1].weight`. */
  readonly path: string;
  /** What is there, shortened. */
  readonly found: string;
  /** What may be there, in words. */
  readonly allowed: string;
}

export type ConfigResult =
  { readonly ok: true; readonly config: StackConfig } | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

/** One line per issue, for a person. */
export function formatIssues(issues: readonly ConfigIssue[]): string {
  return issues.map(({ path, found, allowed }) => `${path}: found ${found}; allowed: ${allowed}`).join('\n');
}

/**
 * Checks a stack's config and fills in the defaults.
 *
 * @param raw the `config:` mapping of `Pulumi.<stack>.yaml`, or what Pulumi's runtime gives, where objects are JSON text. Keys
 * of other namespaces (`aws:region`, …) belong to others and are left alone.
 * @returns the config, or everything that is wrong with it at once
 */
export function parseStackConfig(raw: unknown): ConfigResult {
  if (!isRecord(raw)) {
    return {
      ok: false,
      issues: [{ path: 'config', found: show(raw), allowed: `a mapping with ${namespace}:regions, …` }],
    };
  }
  const issues: ConfigIssue[] = [];
  const values = readSections(raw, issues);

  const read = <Schema extends z.ZodType>(name: SectionName, schema: Schema): z.output<Schema> | undefined => {
    // Every section but the regions may be left out, and is then all defaults.
    const value = values.get(name) ?? (name === 'regions' ? undefined : {});
    const result = schema.safeParse(value);
    if (!result.success) issues.push(...result.error.issues.flatMap((issue) => explain(name, value, issue)));
    return result.data;
  };
  const regions = read('regions', regionsSchema);
  const replication = read('replication', replicationSchema);
  const redis = read('redis', redisSchema);
  const failover = read('failover', failoverSchema);
  const traffic = read('traffic', trafficSchema);
  const security = read('security', securitySchema);
  const kubernetes = read('kubernetes', kubernetesSchema);
  const monitoring = read('monitoring', monitoringSchema);

  // Each check looks at what is readable, so that a mistake in one section doesn't hide one in another.
  if (regions !== undefined) {
    checkRegions(regions, issues);
    if (replication !== undefined) checkReplication(replication, regions, issues);
    if (traffic !== undefined) checkTraffic(traffic, regions, issues);
  }
  if (replication !== undefined) checkJournal(replication, issues);
  if (redis !== undefined) checkRedis(redis, issues);
  if (failover !== undefined) checkFailover(failover, issues);
  if (monitoring !== undefined) checkMonitoring(monitoring, issues);

  const others = { replication, redis, failover, traffic, security, kubernetes, monitoring };
  if (issues.length > 0 || !regions || !isComplete(others)) return { ok: false, issues };
  return { ok: true, config: { regions: complete(regions), ...others } };
}

function isComplete<Sections extends Record<string, unknown>>(
  sections: Sections,
): sections is { [Name in keyof Sections]: NonNullable<Sections[Name]> } & Sections {
  return Object.values(sections).every((section) => section !== undefined);
}

// --- What follows from a config ----------------------------------------------------------------------------------------

/** The region marked as primary. */
export function primaryOf(config: StackConfig): RegionConfig {
  const primary = config.regions.find((region) => region.primary);
  if (primary === undefined) throw new RangeError('a parsed config has a primary region');
  return primary;
}

/** The shape of the peer graph; a star without a hub has its primary there. */
export function topologyOf(config: StackConfig): Topology {
  const { topology, hub } = config.replication;
  return topology === 'star' ? { kind: 'star', hub: hub ?? primaryOf(config).name } : { kind: topology };
}

/** Redis' `maxmemory-policy`: a data stack never evicts. */
export function maxmemoryPolicy(redis: RedisConfig): 'noeviction' | 'allkeys-lru' {
  return redis.use === 'cache' ? 'allkeys-lru' : 'noeviction';
}

/**
 * Redis' `min-replicas-to-write` for a region. Never more local replicas than the region has, or it could not write at
 * all; and in semi-sync one more, for the agent, which acknowledges as a replica only what other regions hold.
 */
export function minReplicasToWrite(config: StackConfig, region: RegionConfig): number {
  const local = Math.min(config.redis.minReplicas.toWrite, region.replicas);
  return local + (config.replication.mode === 'semi-sync' ? 1 : 0);
}

/** Whether Redis there gives a replication stream (PSYNC). Managed services don't: changes are read key by key. */
export function givesReplicationStream(backend: Backend): boolean {
  return backend === 'kubernetes' || backend === 'local';
}

/**
 * The same stack with other regions, for trying things out: those named, or the first so many. A name the stack doesn't
 * have yet becomes a region like the first one; a count beyond the stack's regions adds `region-4` and so on. Weights keep their
 * proportions; when the primary is not among them, the first becomes it, and what refers to a region that is gone falls back to its default.
 */
export function withRegions(config: StackConfig, wanted: number | readonly string[]): ConfigResult {
  const known = config.regions.map((region) => region.name);
  const names =
    typeof wanted === 'number'
      ? Array.from({ length: wanted }, (_, i) => known[i] ?? `region-${i + 1}`)
      : wanted.map((name) => name.trim());
  const chosen = names.map((name) => config.regions.find((region) => region.name === name));
  const model = config.regions[0];
  const shareNew = 100 / config.regions.length;
  const weights = apportion(chosen.map((region) => region?.weight ?? shareNew));
  const primaryAt = Math.max(
    0,
    chosen.findIndex((region) => region?.primary),
  );
  const regions = names.map((name, i) => ({
    ...(chosen[i] ?? { backend: model?.backend, replicas: model?.replicas, replicasMax: model?.replicasMax }),
    name,
    weight: weights[i],
    primary: i === primaryAt,
  }));

  const { hub, ...replication } = config.replication;
  const distribute = Object.fromEntries(
    Object.entries(config.traffic.distribute).filter(
      ([from, to]) => names.includes(from) && Object.keys(to).every((name) => names.includes(name)),
    ),
  );
  return parseStackConfig({
    ...config,
    regions,
    replication: {
      ...replication,
      ...(hub !== undefined && names.includes(hub) ? { hub } : {}),
      semiSyncRegions: Math.max(1, Math.min(replication.semiSyncRegions, names.length - 1)),
    },
    traffic: { ...config.traffic, distribute },
  });
}

// --- Reading -----------------------------------------------------------------------------------------------------------

/** Picks our keys, with or without the namespace, and reads JSON text where Pulumi gives it. */
function readSections(raw: Record<string, unknown>, issues: ConfigIssue[]): Map<SectionName, unknown> {
  const values = new Map<SectionName, unknown>();
  for (const [key, given] of Object.entries(raw)) {
    const [space, ...rest] = key.includes(':') ? key.split(':') : [namespace, key];
    if (space !== namespace) continue;
    const name = rest.join(':');
    const path = `${namespace}:${name}`;
    if (!isSectionName(name)) {
      issues.push({ path, found: 'an unknown section', allowed: suggest(name, sectionNames) });
      continue;
    }
    if (values.has(name)) {
      issues.push({ path, found: `both '${name}' and '${path}'`, allowed: 'one of them' });
      continue;
    }
    // A key with nothing behind it is the same as no key: YAML makes it null.
    if (given === null || given === undefined) continue;
    const value = typeof given === 'string' ? (readJson(given) ?? given) : given;
    if (isRecord(value) && typeof value['secure'] === 'string') {
      issues.push({ path, found: 'an encrypted value', allowed: 'plain text: there are no secrets in this section' });
      continue;
    }
    values.set(name, value);
  }
  return values;
}

function isSectionName(name: string): name is SectionName {
  return (sectionNames as readonly string[]).includes(name);
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Turns what zod reports into path, found and allowed; an unknown key is one issue each. */
function explain(name: SectionName, value: unknown, issue: z.core.$ZodIssue): ConfigIssue[] {
  const at = (keys: readonly PropertyKey[]): string => pathOf(name, keys);
  if (issue.code === 'unrecognized_keys') {
    const known = issue.message.split(', ');
    return issue.keys.map((key) => ({
      path: at([...issue.path, key]),
      found: 'an unknown key',
      allowed: suggest(key, known),
    }));
  }
  // A record's bad key carries the reason in an issue of its own.
  if (issue.code === 'invalid_key') {
    const key = String(issue.path.at(-1));
    return [{ path: at(issue.path), found: show(key), allowed: issue.issues[0]?.message ?? issue.message }];
  }
  return [{ path: at(issue.path), found: show(valueAt(value, issue.path)), allowed: issue.message }];
}

function pathOf(name: SectionName, keys: readonly PropertyKey[]): string {
  const steps = keys.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`));
  return `${namespace}:${name}${steps.join('')}`;
}

function valueAt(value: unknown, keys: readonly PropertyKey[]): unknown {
  return keys.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined),
    value,
  );
}

function suggest(word: string, known: readonly string[]): string {
  const meant = nearest(word, known);
  return meant === undefined ? known.join(', ') : `${known.join(', ')} (did you mean '${meant}'?)`;
}

function show(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

// --- What must fit together --------------------------------------------------------------------------------------------

function checkRegions(regions: readonly ParsedRegion[], issues: ConfigIssue[]): void {
  const path = (...keys: PropertyKey[]): string => pathOf('regions', keys);

  const firstOf = new Map<string, number>();
  regions.forEach(({ name }, i) => {
    const first = firstOf.get(name);
    if (first === undefined) firstOf.set(name, i);
    else
      issues.push({
        path: path(i, 'name'),
        found: `${show(name)}, the name of ${path(first)} too`,
        allowed: 'a name of its own',
      });
  });

  const primaries = regions.filter((region) => region.primary).map((region) => region.name);
  if (primaries.length !== 1) {
    const found = primaries.length === 0 ? 'no region with primary: true' : `primary: true at ${primaries.join(', ')}`;
    issues.push({ path: path(), found, allowed: 'primary: true at exactly one region' });
  }

  const weights = regions.map((region) => region.weight);
  const withWeight = weights.filter((weight) => weight !== undefined);
  const sum = withWeight.reduce((a, b) => a + b, 0);
  if (withWeight.length > 0 && withWeight.length < regions.length) {
    const without = regions.filter((region) => region.weight === undefined).map((region) => region.name);
    issues.push({
      path: path(),
      found: `no weight at ${without.join(', ')}`,
      allowed: 'a weight at every region, or at none (equal parts)',
    });
  } else if (withWeight.length > 0 && sum !== 100) {
    issues.push({
      path: path(),
      found: `weights ${withWeight.join(' + ')} = ${sum}`,
      allowed: 'weights with a sum of 100',
    });
  }

  const isLocal = (region: ParsedRegion): boolean => region.backend === 'local';
  if (regions.some(isLocal) && !regions.every(isLocal)) {
    const others = regions.filter((region) => !isLocal(region)).map((region) => `${region.name} (${region.backend})`);
    issues.push({
      path: path(),
      found: `backend local beside ${others.join(', ')}`,
      allowed: 'backend local at every region, or at none',
    });
  }

  regions.forEach((region, i) => {
    if (region.redisServer !== undefined && !isLocal(region)) {
      issues.push({
        path: path(i, 'redisServer'),
        found: `a path, with backend ${region.backend}`,
        allowed: 'only with backend local',
      });
    }
    if (region.replicasMax < region.replicas) {
      issues.push({
        path: path(i, 'replicasMax'),
        found: show(region.replicasMax),
        allowed: `replicas (${region.replicas}) or more`,
      });
    }
  });
}

function checkReplication(
  replication: ReplicationConfig,
  regions: readonly ParsedRegion[],
  issues: ConfigIssue[],
): void {
  const path = (...keys: PropertyKey[]): string => pathOf('replication', keys);
  const names = regions.map((region) => region.name);
  const { hub, topology, semiSyncRegions, mode } = replication;
  if (hub !== undefined && topology !== 'star') {
    issues.push({
      path: path('hub'),
      found: `${show(hub)}, with topology ${topology}`,
      allowed: 'only with topology star',
    });
  } else if (hub !== undefined && !names.includes(hub)) {
    issues.push({ path: path('hub'), found: show(hub), allowed: suggest(hub, names) });
  }
  if (mode === 'semi-sync' && semiSyncRegions > regions.length - 1) {
    issues.push({
      path: path('semiSyncRegions'),
      found: show(semiSyncRegions),
      allowed: `1 to ${regions.length - 1}, the other regions`,
    });
  }
  const withoutStream = regions.filter((region) => !givesReplicationStream(region.backend));
  if (withoutStream.length > 0 && !replication.acceptWholeKeyMerge) {
    issues.push({
      path: path('acceptWholeKeyMerge'),
      found: `false, with ${withoutStream.map((r) => `${r.name} (${r.backend})`).join(', ')}`,
      allowed:
        'true: these services give no replication stream, so whole keys are merged there and counters do not add up',
    });
  }
}

function checkJournal({ journal }: ReplicationConfig, issues: ConfigIssue[]): void {
  // Dropped by whole files: with fewer than four a full journal would lose a large part at once.
  if (journal.segmentBytes * 4 > journal.maxBytes) {
    issues.push({
      path: pathOf('replication', ['journal', 'segmentBytes']),
      found: show(journal.segmentBytes),
      allowed: `a quarter of maxBytes (${journal.maxBytes}) or less`,
    });
  }
}

function checkTraffic(traffic: TrafficConfig, regions: readonly ParsedRegion[], issues: ConfigIssue[]): void {
  const names = regions.map((region) => region.name);
  for (const [from, targets] of Object.entries(traffic.distribute)) {
    const path = pathOf('traffic', ['distribute', from]);
    for (const name of new Set([from, ...Object.keys(targets)])) {
      if (names.includes(name)) continue;
      issues.push({
        path: name === from ? path : `${path}.${name}`,
        found: `unknown region ${show(name)}`,
        allowed: suggest(name, names),
      });
    }
    const percents = Object.values(targets);
    const sum = percents.reduce((a, b) => a + b, 0);
    if (sum !== 100) {
      issues.push({
        path,
        found: `${percents.join(' + ') || 'nothing'} = ${sum}`,
        allowed: 'percents with a sum of 100',
      });
    }
  }
}

function checkRedis({ outputBuffer }: RedisConfig, issues: ConfigIssue[]): void {
  if (outputBuffer.soft > outputBuffer.hard) {
    issues.push({
      path: pathOf('redis', ['outputBuffer', 'soft']),
      found: show(outputBuffer.soft),
      allowed: `hard (${outputBuffer.hard}) or less`,
    });
  }
}

function checkFailover({ sentinel }: FailoverConfig, issues: ConfigIssue[]): void {
  if (sentinel.quorum > sentinel.count) {
    issues.push({
      path: pathOf('failover', ['sentinel', 'quorum']),
      found: show(sentinel.quorum),
      allowed: `count (${sentinel.count}) or less`,
    });
  }
}

function checkMonitoring({ critical, warning }: MonitoringConfig, issues: ConfigIssue[]): void {
  for (const key of ['lagMs', 'memory'] as const) {
    if (warning[key] <= critical[key]) continue;
    issues.push({
      path: pathOf('monitoring', ['warning', key]),
      found: show(warning[key]),
      allowed: `critical.${key} (${critical[key]}) or less: a warning comes first`,
    });
  }
}

function complete(regions: readonly ParsedRegion[]): RegionConfig[] {
  const equal = apportion(regions.map(() => 1));
  return regions.map((region, i) => {
    const providerRegion = region.providerRegion ?? region.name;
    return {
      ...region,
      weight: region.weight ?? equal[i] ?? 0,
      providerRegion,
      locality: region.locality ?? providerRegion,
    };
  });
}
