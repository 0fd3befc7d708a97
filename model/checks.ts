import type * as z from 'zod';

import { captureOf, regionCapture, regionIssues } from './capabilities';
import { Capture } from './capture';
import { policyIssues } from './conflict-policies';
import { type ConfigIssue, pathOf, show, suggest } from './explain';
import { type Backend, type regionSchema } from './regions';
import {
  type failoverSchema,
  type kubernetesSchema,
  type localSchema,
  type monitoringSchema,
  type redisSchema,
  type replicationSchema,
  type securitySchema,
  type trafficSchema,
} from './schema';
import { peersOf, type Topology } from './topology';
import { basePortMax, portsPerRegion } from './local-ports';

type Region = z.output<typeof regionSchema>;

/** What could be read of a config. */
export interface Sections {
  readonly regions?: readonly Region[] | undefined;
  readonly replication?: z.output<typeof replicationSchema> | undefined;
  readonly redis?: z.output<typeof redisSchema> | undefined;
  readonly failover?: z.output<typeof failoverSchema> | undefined;
  readonly traffic?: z.output<typeof trafficSchema> | undefined;
  readonly security?: z.output<typeof securitySchema> | undefined;
  readonly kubernetes?: z.output<typeof kubernetesSchema> | undefined;
  readonly monitoring?: z.output<typeof monitoringSchema> | undefined;
  readonly local?: z.output<typeof localSchema> | undefined;
}
type Section<Name extends keyof Sections> = NonNullable<Sections[Name]>;

/**
 * What must fit together in a config. Each check looks at what is readable, so that a mistake in one section doesn't hide one in
 * another.
 */
export function check(sections: Sections): ConfigIssue[] {
  const { regions, replication, redis, failover, traffic, security, kubernetes, monitoring, local } = sections;
  const issues: ConfigIssue[] = [];
  if (regions !== undefined) {
    checkRegions(regions, issues);
    issues.push(...regionIssues({ regions }));
    if (replication !== undefined) checkReplication(replication, regions, issues);
    if (traffic !== undefined) checkTraffic(traffic, regions, issues);
    if (traffic?.host !== undefined && kubernetes !== undefined) checkTrafficHost(regions, kubernetes, issues);
    checkPlaces(regions, issues);
    checkFargate(regions, issues);
    if (security !== undefined) checkIssuer(security, regions, issues);
    if (monitoring !== undefined) checkWatched(monitoring, regions, issues);
    if (security?.networkPolicy === true) checkNetworks(regions, issues);
    if (local !== undefined) checkLocal(local, regions, issues);
  }
  if (replication !== undefined) checkJournal(replication, issues);
  if (redis !== undefined) checkRedis(redis, issues);
  if (failover !== undefined) checkFailover(failover, issues);
  if (monitoring !== undefined) checkMonitoring(monitoring, issues);
  return issues;
}

function checkLocal({ basePort }: Section<'local'>, regions: readonly Region[], issues: ConfigIssue[]): void {
  const path = pathOf('local', ['basePort']);
  const elsewhere = regions.find(({ backend }) => backend !== 'local');
  const max = basePortMax(regions.length);
  if (basePort === undefined) return;
  if (elsewhere !== undefined)
    issues.push({ path, found: `a port, with backend ${elsewhere.backend}`, allowed: 'only with backend local' });
  else if (basePort > max)
    issues.push({
      path,
      found: show(basePort),
      allowed: `a whole number from 1 to ${max}: ${portsPerRegion} ports for each region`,
    });
}

/** Agents of one mesh trust one root. */
function checkIssuer(
  { issuer, issuerName }: Section<'security'>,
  regions: readonly Region[],
  issues: ConfigIssue[],
): void {
  const byCertManager = issuer === 'cert-manager';
  const inFargate = regions.filter(({ fargate }) => fargate !== undefined).map(({ name }) => name);
  const refuse = (key: string, found: string, allowed: string): void =>
    void issues.push({ path: pathOf('security', [key]), found, allowed });
  if (byCertManager && issuerName === undefined)
    refuse('issuerName', 'nothing', "the name of cert-manager's issuer, with issuer cert-manager");
  if (!byCertManager && issuerName !== undefined)
    refuse('issuerName', `a value, with issuer ${issuer}`, 'only with issuer cert-manager');
  if (byCertManager && inFargate.length > 0)
    refuse(
      'issuer',
      `cert-manager, with the agents of ${inFargate.join(', ')} in Fargate`,
      'pulumi: cert-manager is in Kubernetes, and all agents trust one root',
    );
}

function checkRegions(regions: readonly Region[], issues: ConfigIssue[]): void {
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

  const isLocal = (region: Region): boolean => region.backend === 'local';
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
    if (region.capture !== undefined && !isLocal(region) && region.capture !== captureOf(region.backend)) {
      issues.push({
        path: path(i, 'capture'),
        found: `${region.capture}, with backend ${region.backend}`,
        allowed: `${captureOf(region.backend)}: only with backend local there is a choice`,
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
  replication: Section<'replication'>,
  regions: readonly Region[],
  issues: ConfigIssue[],
): void {
  const path = (...keys: PropertyKey[]): string => pathOf('replication', keys);
  const names = regions.map((region) => region.name);
  const { hub, topology, semiSyncRegions, conflicts, flush } = replication;
  for (const { index, found, allowed } of policyIssues(conflicts, names, flush))
    issues.push({ path: index === null ? path('flush') : path('conflicts', index, 'policy'), found, allowed });
  if (hub !== undefined && topology !== 'star') {
    issues.push({
      path: path('hub'),
      found: `${show(hub)}, with topology ${topology}`,
      allowed: 'only with topology star',
    });
  } else if (hub !== undefined && !names.includes(hub)) {
    issues.push({ path: path('hub'), found: show(hub), allowed: suggest(hub, names) });
  }
  const modeOf = (region: Region): string => region.mode ?? replication.mode;
  const few = fewestLinks(
    replication,
    regions,
    regions.filter((region) => modeOf(region) === 'semi-sync'),
  );
  if (semiSyncRegions > few) {
    issues.push({
      path: path('semiSyncRegions'),
      found: show(semiSyncRegions),
      allowed: `1 to ${few}: only regions that a region is linked with tell it what they have, with topology ${topology}`,
    });
  }
  const withoutStream = regions.filter((region) => regionCapture(region) === Capture.Notifications);
  const theirs = withoutStream.map(({ name, backend, capture }) => `${name} (${capture ?? backend})`).join(', ');
  if (withoutStream.length > 0 && !replication.acceptWholeKeyMerge) {
    issues.push({
      path: path('acceptWholeKeyMerge'),
      found: `false, with ${theirs}`,
      allowed:
        'true: these services give no replication stream, so whole keys are merged there and counters do not add up',
    });
  }
  if (withoutStream.length > 0 && replication.dryRun) {
    issues.push({
      path: path('dryRun'),
      found: `true, with ${theirs}`,
      allowed: 'false: a dry run reads the replication stream, which these services do not give',
    });
  }
  regions.forEach((region, i) => {
    if (!withoutStream.includes(region) || modeOf(region) !== 'semi-sync') return;
    issues.push({
      path: pathOf('regions', [i, 'mode']),
      found: `semi-sync${region.mode === undefined ? ' (as replication.mode)' : ''}, with ${region.name} (${region.capture ?? region.backend})`,
      allowed:
        'async at this region: its agent is no replica, and can hold back no acknowledgement until another region has a write',
    });
  });
}

/** The least links that one of some regions has. */
function fewestLinks(
  { topology, hub }: Section<'replication'>,
  regions: readonly Region[],
  some: readonly Region[],
): number {
  const names = regions.map(({ name }) => name);
  const middle = hub ?? regions.find(({ primary }) => primary)?.name;
  // What is wrong with names is told elsewhere.
  if (new Set(names).size < names.length) return Infinity;
  if (topology === 'star' && (middle === undefined || !names.includes(middle))) return Infinity;
  const graph: Topology = topology === 'star' ? { kind: 'star', hub: middle ?? '' } : { kind: topology };
  return Math.min(Infinity, ...some.map(({ name }) => peersOf(name, graph, names).length));
}

function checkJournal({ journal }: Section<'replication'>, issues: ConfigIssue[]): void {
  // Dropped by whole files: with fewer than four a full journal would lose a large part at once.
  if (journal.segmentBytes * 4 > journal.maxBytes) {
    issues.push({
      path: pathOf('replication', ['journal', 'segmentBytes']),
      found: show(journal.segmentBytes),
      allowed: `a quarter of maxBytes (${journal.maxBytes}) or less`,
    });
  }
}

function checkTraffic(traffic: Section<'traffic'>, regions: readonly Region[], issues: ConfigIssue[]): void {
  const names = regions.map((region) => region.name);
  const add = (keys: PropertyKey[], found: string, allowed: string): void =>
    void issues.push({ path: pathOf('traffic', keys), found, allowed });
  const isKnown = (name: string, ...keys: PropertyKey[]): void => {
    if (!names.includes(name)) add(keys, `unknown region ${show(name)}`, suggest(name, names));
  };
  if (traffic.by === 'weights' && Object.keys(traffic.distribute).length > 0)
    add(['distribute'], 'shares, with by: weights', "only with by: locality; by weights a region's weight decides");
  traffic.drain.forEach((name, i) => isKnown(name, 'drain', i));
  if (names.every((name) => traffic.drain.includes(name))) add(['drain'], 'every region', 'not every region');
  traffic.shift.forEach(({ from, to }, i) => {
    isKnown(from, 'shift', i, 'from');
    isKnown(to, 'shift', i, 'to');
    if (from === to) add(['shift', i, 'to'], show(to), 'another region than from');
    if (traffic.drain.includes(to)) add(['shift', i, 'to'], show(to), 'a region that is not drained');
  });
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

function checkRedis({ outputBuffer }: Section<'redis'>, issues: ConfigIssue[]): void {
  if (outputBuffer.soft > outputBuffer.hard) {
    issues.push({
      path: pathOf('redis', ['outputBuffer', 'soft']),
      found: show(outputBuffer.soft),
      allowed: `hard (${outputBuffer.hard}) or less`,
    });
  }
}

function checkFailover({ sentinel }: Section<'failover'>, issues: ConfigIssue[]): void {
  if (sentinel.quorum > sentinel.count) {
    issues.push({
      path: pathOf('failover', ['sentinel', 'quorum']),
      found: show(sentinel.quorum),
      allowed: `count (${sentinel.count}) or less`,
    });
  }
}

function checkMonitoring({ critical, warning }: Section<'monitoring'>, issues: ConfigIssue[]): void {
  for (const key of ['lagMs', 'memory'] as const) {
    if (warning[key] <= critical[key]) continue;
    issues.push({
      path: pathOf('monitoring', ['warning', key]),
      found: show(warning[key]),
      allowed: `critical.${key} (${critical[key]}) or less: a warning comes first`,
    });
  }
}

/** One name for all regions is the proxies' doing: theirs to resolve, and Redis' certificate has to carry it. */
function checkTrafficHost(
  regions: readonly Region[],
  { serviceMesh }: Section<'kubernetes'>,
  issues: ConfigIssue[],
): void {
  const others = regions.filter(({ backend }) => backend !== 'kubernetes');
  if (others.length > 0)
    issues.push({
      path: pathOf('traffic', ['host']),
      found: `a name, with ${others.map(({ name, backend }) => `${name} (${backend})`).join(', ')}`,
      allowed: "only with backend kubernetes at every region: a provider's certificate does not carry this name",
    });
  if (serviceMesh !== 'sidecar')
    issues.push({
      path: pathOf('kubernetes', ['serviceMesh']),
      found: serviceMesh,
      allowed: "sidecar, with traffic.host: the rules are for Istio's sidecars",
    });
}

/** Whom NetworkPolicies let in from other clusters has to be known by address. */
function checkNetworks(regions: readonly Region[], issues: ConfigIssue[]): void {
  regions.forEach(({ agentHost, agentCidrs, backend, fargate, redisCidrs }, i) => {
    if (agentHost !== undefined && agentCidrs === undefined)
      issues.push({
        path: pathOf('regions', [i, 'agentCidrs']),
        found: 'nothing, with agentHost',
        allowed: 'the networks behind it, or security.networkPolicy: false',
      });
    if (isManaged(backend) && fargate === undefined && redisCidrs === undefined)
      issues.push({
        path: pathOf('regions', [i, 'redisCidrs']),
        found: `nothing, with backend ${backend}`,
        allowed: 'the networks that its Redis is in, or security.networkPolicy: false',
      });
  });
}

/** What says where something is in Kubernetes. */
const inCluster = ['context', 'kubeconfig', 'namespace', 'redisCidrs'] as const;

/** An agent in Fargate is beside an ElastiCache, and nothing of its region is in Kubernetes. */
function checkFargate(regions: readonly Region[], issues: ConfigIssue[]): void {
  regions.forEach((region, i) => {
    if (region.fargate === undefined) return;
    if (region.backend !== 'elasticache')
      issues.push({
        path: pathOf('regions', [i, 'fargate']),
        found: `a mapping, with backend ${region.backend}`,
        allowed: 'only with backend elasticache',
      });
    for (const key of inCluster)
      if (region[key] !== undefined)
        issues.push({
          path: pathOf('regions', [i, key]),
          found: `${show(region[key])}, with fargate`,
          allowed: 'nothing: such a region has nothing in Kubernetes',
        });
  });
}

function checkWatched({ operator }: Section<'monitoring'>, regions: readonly Region[], issues: ConfigIssue[]): void {
  if (operator && regions.every(({ fargate }) => fargate !== undefined))
    issues.push({
      path: pathOf('monitoring', ['operator']),
      found: 'true, with fargate at every region',
      allowed: "false: alerts, scraping and dashboards are the Prometheus operator's, in Kubernetes",
    });
}

const managedBackends = ['elasticache', 'aliyun', 'tencent'] as const;
type ManagedBackend = (typeof managedBackends)[number];

function isManaged(backend: Backend): backend is ManagedBackend {
  return (managedBackends as readonly string[]).includes(backend);
}

/** A managed Redis stands somewhere, and what is said about one service says nothing about another. */
function checkPlaces(regions: readonly Region[], issues: ConfigIssue[]): void {
  regions.forEach((region, i) => {
    for (const service of managedBackends) {
      const path = pathOf('regions', [i, service]);
      const isGiven = region[service] !== undefined;
      if (region.backend === service && !isGiven)
        issues.push({ path, found: 'nothing', allowed: `a mapping that says where it is, with backend ${service}` });
      if (region.backend !== service && isGiven)
        issues.push({
          path,
          found: `a mapping, with backend ${region.backend}`,
          allowed: `only with backend ${service}`,
        });
    }
    if (region.redisCidrs !== undefined && !isManaged(region.backend))
      issues.push({
        path: pathOf('regions', [i, 'redisCidrs']),
        found: `networks, with backend ${region.backend}`,
        allowed: `only with ${managedBackends.join(', ')}`,
      });
  });
}
