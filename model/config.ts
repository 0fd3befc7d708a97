import type * as z from 'zod';

import { check } from './checks';
import { type ConfigIssue, namespace, pathOf, show, suggest } from './explain';
import { type regionSchema, regionsSchema } from './regions';
import {
  failoverSchema,
  kubernetesSchema,
  localSchema,
  monitoringSchema,
  redisSchema,
  replicationSchema,
  securitySchema,
  trafficSchema,
} from './schema';
import { type Topology } from './topology';
import { apportion } from './weights';

const sectionNames = [
  'regions',
  'replication',
  'redis',
  'failover',
  'traffic',
  'security',
  'kubernetes',
  'monitoring',
  'local',
] as const;
type SectionName = (typeof sectionNames)[number];

type ParsedRegion = z.output<typeof regionSchema>;

/** One region, every default filled in. */
export type RegionConfig = Omit<ParsedRegion, Completed> & Required<Pick<ParsedRegion, Completed>>;
/** Those whose default depends on the rest of the config. */
type Completed = 'weight' | 'providerRegion' | 'locality' | 'mode';
export type ReplicationConfig = z.output<typeof replicationSchema>;
export type RedisConfig = z.output<typeof redisSchema>;
export type FailoverConfig = z.output<typeof failoverSchema>;
export type TrafficConfig = z.output<typeof trafficSchema>;
export type SecurityConfig = z.output<typeof securitySchema>;
export type KubernetesConfig = z.output<typeof kubernetesSchema>;
export type MonitoringConfig = z.output<typeof monitoringSchema>;
export type LocalConfig = z.output<typeof localSchema>;

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
  readonly local: LocalConfig;
}

export type ConfigResult =
  { readonly ok: true; readonly config: StackConfig } | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

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
  const local = read('local', localSchema);

  issues.push(...check({ regions, replication, redis, failover, traffic, security, kubernetes, monitoring, local }));

  const others = { replication, redis, failover, traffic, security, kubernetes, monitoring, local };
  if (issues.length > 0 || !regions || !isComplete(others)) return { ok: false, issues };
  return { ok: true, config: { regions: complete(regions, others.replication), ...others } };
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
    ...(chosen[i] ?? {
      backend: model?.backend,
      capture: model?.capture,
      mode: model?.mode,
      replicas: model?.replicas,
      replicasMax: model?.replicasMax,
    }),
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

function valueAt(value: unknown, keys: readonly PropertyKey[]): unknown {
  return keys.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined),
    value,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function complete(regions: readonly ParsedRegion[], { mode }: ReplicationConfig): RegionConfig[] {
  const equal = apportion(regions.map(() => 1));
  return regions.map((region, i) => {
    const providerRegion = region.providerRegion ?? region.name;
    return {
      ...region,
      weight: region.weight ?? equal[i] ?? 0,
      mode: region.mode ?? mode,
      providerRegion,
      locality: region.locality ?? providerRegion,
    };
  });
}
