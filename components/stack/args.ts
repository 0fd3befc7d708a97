import * as pulumi from '@pulumi/pulumi';

import {
  agentSettingsOf,
  minReplicasToWrite,
  primaryOf,
  redisImage,
  redisSettingsOf,
  type RegionConfig,
  type StackConfig,
} from '../../model';
import { type AgentTuningArgs } from '../agent';
import { type RedisNodesArgs } from '../kubernetes';
import { type ActiveActiveRedisArgs, type MeshRegion, type MeshTrafficArgs } from '../mesh';
import { type MonitoringTuningArgs } from '../monitoring';
import { type CertificateArgs, CertificateIssuer } from '../security';

const gibi = 2 ** 30;

/**
 * The whole mesh as a stack's config describes it.
 * @param stack the stack's name
 * @throws RunError where the config is a good one, but not of what can be deployed
 */
export function meshArgs(stack: string, config: StackConfig): ActiveActiveRedisArgs {
  const { kubernetes, replication, security, monitoring } = config;
  if (kubernetes.agentImage === undefined)
    throw new pulumi.RunError('meridian:kubernetes.agentImage: found nothing; allowed: the name of an image');
  return {
    stack,
    regions: config.regions.map((region) => regionOf(config, region)),
    topology: replication.topology,
    ...(replication.topology === 'star' ? { hub: replication.hub ?? primaryOf(config).name } : {}),
    agentImage: kubernetes.agentImage,
    users: security.users,
    authorities: security.authorities,
    passwords: security.passwords,
    ...certificatesOf(config),
    networkPolicy: security.networkPolicy,
    network: { monitoringNamespace: monitoring.namespace, dnsCidrs: security.dnsCidrs },
    serviceMesh: kubernetes.serviceMesh,
    redis: nodesOf(config),
    acceptWholeKeyMerge: replication.acceptWholeKeyMerge,
    agent: agentOf(config),
    traffic: trafficOf(config),
    ...(monitoring.operator ? { monitoring: monitoringOf(config) } : {}),
  };
}

function regionOf(config: StackConfig, region: RegionConfig): MeshRegion {
  return {
    name: region.name,
    weight: region.weight,
    primary: region.primary,
    backend: region.backend,
    mode: region.mode,
    ...managedOf(region),
    context: region.context,
    kubeconfig: region.kubeconfig,
    namespace: region.namespace,
    agentHost: region.agentHost,
    agentCidrs: region.agentCidrs,
    replicas: region.replicas,
    replicasMax: Math.max(region.replicas, region.replicasMax),
    minReplicasToWrite: minReplicasToWrite(config, region),
    locality: region.locality,
    istioNetwork: region.istioNetwork,
    trafficHost: region.trafficHost,
    clientNamespaces: region.clientNamespaces,
  };
}

/** Where a managed Redis is. */
function managedOf(region: RegionConfig): Partial<MeshRegion> {
  const { providerRegion, redisCidrs, replicas, elasticache, fargate, aliyun, tencent } = region;
  return {
    providerRegion,
    redisCidrs,
    fargate,
    ...(elasticache === undefined ? {} : { elasticache: elasticacheOf(elasticache, replicas) }),
    ...(aliyun === undefined ? {} : aliyunOf(aliyun)),
    ...(tencent === undefined ? {} : tencentOf(tencent)),
  };
}

type Group<Name extends 'elasticache' | 'aliyun' | 'tencent'> = NonNullable<RegionConfig[Name]>;

const elasticacheOf = ({ serverless: _, ...place }: Group<'elasticache'>, replicas: number) => ({ ...place, replicas });
const aliyunOf = ({ caPem: redisCaPem, ...aliyun }: Group<'aliyun'>) => ({ aliyun, redisCaPem });
const tencentOf = ({ caPem: redisCaPem, ...tencent }: Group<'tencent'>) => ({ tencent, redisCaPem });

function nodesOf(config: StackConfig): RedisNodesArgs {
  const { kubernetes, failover } = config;
  const { sentinel } = failover;
  return {
    ...redisSettingsOf(config),
    image: redisImage(config),
    exporterImage: kubernetes.exporterImage,
    imagePullPolicy: kubernetes.imagePullPolicy,
    sentinels: sentinel.count,
    sentinelQuorum: sentinel.quorum,
    sentinelDownAfterMs: sentinel.downAfterMs,
    sentinelFailoverTimeoutMs: sentinel.failoverTimeoutMs,
    sentinelParallelSyncs: sentinel.parallelSyncs,
    ...(kubernetes.createStorageClass ? { createStorageClass: true } : { storageClassName: kubernetes.storageClass }),
    ...sizesOf(config),
    cpuRequest: kubernetes.cpuRequest,
    cpuLimit: kubernetes.cpuLimit,
    kernelTuning: kubernetes.kernelTuning,
    spread: kubernetes.spread,
    ...keptOf(config),
  };
}

function agentOf(config: StackConfig): AgentTuningArgs {
  const { kubernetes, replication } = config;
  return {
    imagePullPolicy: kubernetes.imagePullPolicy,
    mode: replication.mode,
    ...agentSettingsOf(config),
    ...(kubernetes.createStorageClass ? {} : { storageClassName: kubernetes.storageClass }),
    storageSize: kubernetes.journalSize,
    cpuRequest: kubernetes.agentCpuRequest,
    memoryRequest: kubernetes.agentMemoryRequest,
    memoryLimit: kubernetes.agentMemoryLimit,
    loadBalancerAnnotations: kubernetes.agentLoadBalancer,
    ...keptOf(config),
  };
}

function certificatesOf({ security }: StackConfig): CertificateArgs {
  const { issuer, issuerName, issuerKind, certificateValidityDays } = security;
  return {
    certificateValidityDays,
    ...(issuer === CertificateIssuer.CertManager ? { issuer, issuerName, issuerKind } : {}),
  };
}

/** For a data stack in production: neither deleted nor, when it leaves the program, forgotten. */
const keptOf = ({ kubernetes: { protect } }: StackConfig) => ({ protect, retainOnDelete: protect });

/** Memory and disk that hold `maxmemory`, where the config does not say them. */
function sizesOf({ kubernetes, redis }: StackConfig) {
  // Beside the data: copies that a rewrite of the append-only file makes, and buffers of replicas.
  const limit = Math.max(2, Math.ceil(redis.maxmemory / gibi / 0.75));
  const disk = Math.max(10, Math.ceil((3 * redis.maxmemory) / gibi));
  return {
    memoryLimit: kubernetes.memoryLimit ?? `${limit}Gi`,
    memoryRequest:
      kubernetes.memoryRequest ?? (kubernetes.memoryLimit === undefined ? `${limit / 2}Gi` : kubernetes.memoryLimit),
    storageSize: kubernetes.storageSize ?? `${disk}Gi`,
  };
}

function trafficOf({ traffic }: StackConfig): MeshTrafficArgs | undefined {
  if (traffic.host === undefined) return undefined;
  const { outlierDetection } = traffic;
  return {
    host: traffic.host,
    by: traffic.by,
    distribute: traffic.distribute,
    drain: [...traffic.drain],
    shift: [...traffic.shift],
    consecutiveErrors: outlierDetection.consecutiveErrors,
    outlierIntervalSeconds: outlierDetection.intervalSeconds,
    baseEjectionSeconds: outlierDetection.baseEjectionSeconds,
    maxEjectionPercent: outlierDetection.maxEjectionPercent,
    maxConnectionSeconds: traffic.maxConnectionSeconds,
  };
}

function monitoringOf({ monitoring }: StackConfig): MonitoringTuningArgs {
  const { critical, warning, targets } = monitoring;
  return {
    monitorLabels: monitoring.labels,
    runbookBaseUrl: monitoring.runbookBaseUrl,
    kubernetesMetrics: monitoring.kubernetesMetrics,
    certManagerMetrics: monitoring.certManagerMetrics,
    errorRateQuery: monitoring.errorRateQuery,
    lagCriticalMs: critical.lagMs,
    memoryCritical: critical.memory,
    errorRateCritical: critical.errorRate,
    downForSeconds: critical.downSeconds,
    lagWarningMs: warning.lagMs,
    cpuWarning: warning.cpu,
    hitRateWarning: warning.hitRate,
    memoryWarning: warning.memory,
    connectionsWarning: warning.connections,
    warningForSeconds: warning.forSeconds,
    lagTargetMs: targets.lagMs,
    // What is no longer good is what a warning is for; the config has one figure for both.
    p99LatencyWarningMs: targets.p99LatencyMs,
    p99LatencyTargetMs: targets.p99LatencyMs,
    hitRateTarget: targets.hitRate,
    memoryTarget: targets.memory,
    cpuTarget: targets.cpu,
    errorRateTarget: targets.errorRate,
  };
}
