import * as pulumi from '@pulumi/pulumi';

import {
  checkArguments,
  checkPackages,
  checksum,
  checksumAnnotation,
  childOptions,
  componentType,
  dataOptions,
  labelsOf,
  nameOf,
  Role,
  roleLabel,
  selectorOf,
} from '../common';
import { kubernetes } from '../common/kubernetes';
import { podSecurity } from '../common/pod';
import { placement } from '../common/placement';
import { issuesOf, type KubernetesRedisArgs, RedisTopology, RedisUse, type Shape, shapeOf } from './args';
import { clusterBusPort, redisPort, renderRedisConf, renderSentinelConf, sentinelPort } from './conf';
import {
  accountVolume,
  exporterContainer,
  exporterPort,
  graceSeconds,
  nodesService,
  type PodContext,
  redisContainer,
  roleContainer,
  sentinelContainer,
  sentinelService,
  sysctlContainer,
  volumesOf,
} from './pods';
import { bytesOf } from './quantity';
import { createRoleAccount } from './role';
import { readScripts } from './scripts';
import { createHeadlessService, createService } from './services';
import { createSlotsJob } from './slots';
import { claim, createStorageClass, smallestDisk } from './storage';

const mebi = 2 ** 20;
/** The part of a container's memory that `maxmemory` may be. */
const maxmemoryShare = 0.75;

/**
 * One region's Redis on Kubernetes. Names are fixed on purpose: a StatefulSet finds its volumes by its name, so that another name would be an empty
 * Redis. Changing the component's name, or the region, therefore makes a new one beside the data.
 */
export class KubernetesRedis extends pulumi.ComponentResource {
  /** Where applications connect: the primary, or any node of a cluster. A DNS name in the cluster. */
  public readonly host: pulumi.Output<string>;
  /** Where reads may go that can be a moment old; the same as `host` where there are no replicas. */
  public readonly replicaHost: pulumi.Output<string>;
  /** Port of both. */
  public readonly port: pulumi.Output<number>;
  /** Names of the nodes at the first deployment, the one that begins as the primary first. */
  public readonly nodeHosts: pulumi.Output<string[]>;
  /** Names of the Sentinels; none where there are none. */
  public readonly sentinelHosts: pulumi.Output<string[]>;
  /** Port of the Sentinels. */
  public readonly sentinelPort: pulumi.Output<number>;
  /** The primary's name at its Sentinels. */
  public readonly primaryName: pulumi.Output<string>;
  /** StorageClass of the disks; empty where it is the cluster's own default. */
  public readonly storageClassName: pulumi.Output<string>;

  constructor(name: string, args: KubernetesRedisArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments(
      'KubernetesRedis',
      name,
      args,
      ['namespace', 'region', 'aclSecretName', 'nodeSecretName', 'exporterSecretName'],
      () => issuesOf(args),
    );
    checkPackages('KubernetesRedis', name, ['@pulumi/kubernetes']);
    super(componentType('KubernetesRedis'), name, args, opts);

    const shape = shapeOf(args);
    const { namespace, region } = args;
    const labels = labelsOf(Role.Redis, region);
    const selector = selectorOf(Role.Redis, region);
    const hasSentinel = shape.sentinels > 0;
    const isCluster = shape.topology === RedisTopology.Cluster;
    const metadata = (suffix = '') => ({ name: `${name}${suffix}`, namespace, labels });

    // --- Config
    const redisConf = renderedConf(args, shape);
    const sentinelConf = pulumi
      .all([
        args.sentinelDownAfterMs ?? 5000,
        args.sentinelFailoverTimeoutMs ?? 30_000,
        args.sentinelParallelSyncs ?? 1,
      ])
      .apply(([downAfterMs, failoverTimeoutMs, parallelSyncs]) =>
        renderSentinelConf({ primaryName: region, downAfterMs, failoverTimeoutMs, parallelSyncs, tls: shape.tls }),
      );
    const scripts = readScripts();
    const config = new kubernetes.core.v1.ConfigMap(
      `${name}-config`,
      {
        metadata: metadata('-config'),
        data: { 'redis.conf': redisConf, ...(hasSentinel ? { 'sentinel.conf': sentinelConf } : {}) },
      },
      childOptions(this),
    );
    const scriptsMap = new kubernetes.core.v1.ConfigMap(
      `${name}-scripts`,
      { metadata: metadata('-scripts'), data: scripts },
      childOptions(this),
    );

    // --- Names by which everybody finds everybody
    const domain = args.clusterDomain ?? 'cluster.local';
    const zone = (service: string): pulumi.Output<string> => pulumi.interpolate`${service}.${namespace}.svc.${domain}`;
    const hosts = (service: string, pods: string, count: number): pulumi.Output<string[]> =>
      zone(service).apply((at) => Array.from({ length: count }, (_, i) => `${pods}-${i}.${at}`));
    const nodeHosts = hosts(nodesService(name), name, shape.pods);
    const sentinelHosts = hosts(sentinelService(name), sentinelService(name), shape.sentinels);
    const redisPorts = [{ name: 'tcp-redis', port: redisPort }];
    const nodes = createHeadlessService(this, {
      name: nodesService(name),
      namespace,
      labels,
      selector,
      ports: [...redisPorts, ...(isCluster ? [{ name: 'tcp-bus', port: clusterBusPort }] : [])],
    });
    const byRole = (role: string): Record<string, string> => ({
      ...selector,
      ...(hasSentinel ? { [roleLabel]: role } : {}),
    });
    createService(this, { name, namespace, labels, selector: byRole('primary'), ports: redisPorts });
    if (hasSentinel) {
      createService(this, {
        name: `${name}-replicas`,
        namespace,
        labels,
        selector: byRole('replica'),
        ports: redisPorts,
      });
    }

    // --- Nodes
    const storageClassName =
      args.createStorageClass === true
        ? createStorageClass(this, name, args, labels)
        : pulumi.output(args.storageClassName ?? 'gp3');
    const context: PodContext = {
      name,
      args,
      shape,
      zone,
      sentinels: sentinelHosts.apply((all) => all.map((host) => `${host}:${sentinelPort}`)),
      configName: nameOf(config, `${name}-config`),
      scriptsName: nameOf(scriptsMap, `${name}-scripts`),
    };
    const serviceAccountName = hasSentinel
      ? createRoleAccount(this, name, namespace, labels, shape.podsMax)
      : undefined;
    const isAutoscaled = shape.podsMax > shape.pods;
    const sum = checksum(redisConf, JSON.stringify(scripts), args.credentialsChecksum ?? '');
    const statefulSet = new kubernetes.apps.v1.StatefulSet(
      name,
      {
        metadata: metadata(),
        spec: {
          serviceName: nodes.metadata.name,
          replicas: shape.pods,
          // No node waits for another to be ready: who is the primary is the Sentinels' to say, not the ordinals'.
          podManagementPolicy: 'Parallel',
          updateStrategy: { type: 'RollingUpdate' },
          persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
          selector: { matchLabels: selector },
          template: {
            metadata: {
              labels: { ...labels, ...(hasSentinel ? { [roleLabel]: 'none' } : {}) },
              annotations: {
                [checksumAnnotation]: sum,
                'prometheus.io/scrape': 'true',
                'prometheus.io/port': String(exporterPort),
              },
            },
            spec: {
              ...(serviceAccountName === undefined ? {} : { serviceAccountName }),
              automountServiceAccountToken: false,
              enableServiceLinks: false,
              securityContext: podSecurity,
              terminationGracePeriodSeconds: graceSeconds,
              ...placement(shape.spread, selector),
              ...(args.kernelTuning === true ? { initContainers: [sysctlContainer(context)] } : {}),
              containers: [
                redisContainer(context),
                exporterContainer(context),
                ...(hasSentinel ? [roleContainer(context)] : []),
              ],
              volumes: [...volumesOf(context), ...(hasSentinel ? [accountVolume] : [])],
            },
          },
          volumeClaimTemplates: [claim('data', args.storageSize ?? '10Gi', storageClassName, selector)],
        },
      },
      // The autoscaler's number is not ours to put back.
      dataOptions(this, args, isAutoscaled ? { ignoreChanges: ['spec.replicas'] } : {}),
    );
    createBudget(this, name, namespace, labels, selector);
    if (isAutoscaled) createAutoscaler(this, name, args, shape, labels);
    if (hasSentinel) createSentinels(this, context, storageClassName, sentinelConf);
    if (isCluster) createSlotsJob(this, context, statefulSet);

    this.host = zone(name);
    this.replicaHost = hasSentinel ? zone(`${name}-replicas`) : this.host;
    this.port = pulumi.output(redisPort);
    this.nodeHosts = nodeHosts;
    this.sentinelHosts = sentinelHosts;
    this.sentinelPort = pulumi.output(sentinelPort);
    this.primaryName = pulumi.output(region);
    this.storageClassName = storageClassName;
    this.registerOutputs({
      host: this.host,
      replicaHost: this.replicaHost,
      port: this.port,
      nodeHosts: this.nodeHosts,
      sentinelHosts: this.sentinelHosts,
      sentinelPort: this.sentinelPort,
      primaryName: this.primaryName,
      storageClassName: this.storageClassName,
    });
  }
}

/**
 * The names by which Redis and its Sentinels are reached, for their certificate (`redisHosts` of RedisCredentials).
 * @param name of the KubernetesRedis
 */
export function redisHostsOf(
  name: string,
  namespace: pulumi.Input<string>,
  clusterDomain: pulumi.Input<string> = 'cluster.local',
): pulumi.Output<string[]> {
  return pulumi
    .all([namespace, clusterDomain])
    .apply(([space, domain]) => [
      ...[name, `${name}-replicas`].flatMap((service) => [
        service,
        `${service}.${space}`,
        `${service}.${space}.svc.${domain}`,
      ]),
      ...[nodesService(name), sentinelService(name)].map((service) => `*.${service}.${space}.svc.${domain}`),
    ]);
}

function renderedConf(args: KubernetesRedisArgs, shape: Shape): pulumi.Output<string> {
  const hasSentinel = shape.sentinels > 0;
  return pulumi
    .output({
      memoryLimit: args.memoryLimit ?? '2Gi',
      maxmemoryBytes: args.maxmemoryBytes ?? 1024 * mebi,
      appendfsync: args.appendfsync ?? 'everysec',
      backlogBytes: args.backlogBytes ?? 64 * mebi,
      backlogTtlSeconds: args.backlogTtlSeconds ?? 3600,
      outputBufferHardBytes: args.outputBufferHardBytes ?? 256 * mebi,
      outputBufferSoftBytes: args.outputBufferSoftBytes ?? 64 * mebi,
      outputBufferSoftSeconds: args.outputBufferSoftSeconds ?? 60,
      disklessSync: args.disklessSync ?? false,
      disklessSyncDelaySeconds: args.disklessSyncDelaySeconds ?? 5,
      minReplicasToWrite: args.minReplicasToWrite ?? (hasSentinel ? 1 : 0),
      minReplicasMaxLagSeconds: args.minReplicasMaxLagSeconds ?? 10,
    })
    .apply(({ memoryLimit, ...conf }) => {
      checkSizes(conf.maxmemoryBytes, memoryLimit, conf.backlogBytes);
      return renderRedisConf({
        ...conf,
        maxmemoryPolicy: shape.use === RedisUse.Cache ? 'allkeys-lru' : 'noeviction',
        tls: shape.tls,
        cluster: shape.topology === RedisTopology.Cluster,
      });
    });
}

/** What must fit together and may be known only while deploying. @throws RunError */
export function checkSizes(maxmemoryBytes: number, memoryLimit: string, backlogBytes: number): void {
  const limit = bytesOf(memoryLimit);
  const refuse = (text: string): never => {
    throw new pulumi.RunError(`KubernetesRedis: ${text}`);
  };
  if (limit === undefined) return refuse(`memoryLimit: found "${memoryLimit}"; allowed: a quantity such as 2Gi`);
  if (maxmemoryBytes > limit * maxmemoryShare) {
    const most = Math.floor(limit * maxmemoryShare);
    refuse(`maxmemoryBytes: found ${maxmemoryBytes}; allowed: up to ${most}, 75 % of memoryLimit (${memoryLimit})`);
  }
  if (backlogBytes < mebi) refuse(`backlogBytes: found ${backlogBytes}; allowed: ${mebi} (1 MiB) or more`);
}

/** One pod at a time may be taken away on purpose. */
function createBudget(
  parent: pulumi.Resource,
  name: string,
  namespace: pulumi.Input<string>,
  labels: Record<string, string>,
  selector: Record<string, string>,
): void {
  new kubernetes.policy.v1.PodDisruptionBudget(
    name,
    { metadata: { name, namespace, labels }, spec: { maxUnavailable: 1, selector: { matchLabels: selector } } },
    childOptions(parent),
  );
}

/** Read replicas by CPU use. A node that goes away is never the primary for long: see scripts/hand-over.sh. */
function createAutoscaler(
  parent: pulumi.Resource,
  name: string,
  args: KubernetesRedisArgs,
  shape: Shape,
  labels: Record<string, string>,
): void {
  new kubernetes.autoscaling.v2.HorizontalPodAutoscaler(
    name,
    {
      metadata: { name, namespace: args.namespace, labels },
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'StatefulSet', name },
        minReplicas: shape.pods,
        maxReplicas: shape.podsMax,
        metrics: [
          {
            // Of Redis alone: what the side-cars use says nothing about the load.
            type: 'ContainerResource',
            containerResource: {
              name: 'cpu',
              container: 'redis',
              target: { type: 'Utilization', averageUtilization: args.autoscalingCpuPercent ?? 70 },
            },
          },
        ],
        // A new replica costs the primary a full sync: not for a peak of a minute, and one at a time.
        behavior: {
          scaleUp: { stabilizationWindowSeconds: 120, policies: [{ type: 'Pods', value: 1, periodSeconds: 120 }] },
          scaleDown: { stabilizationWindowSeconds: 900, policies: [{ type: 'Pods', value: 1, periodSeconds: 300 }] },
        },
      },
    },
    childOptions(parent),
  );
}

function createSentinels(
  parent: pulumi.Resource,
  context: PodContext,
  storageClassName: pulumi.Input<string>,
  conf: pulumi.Input<string>,
): void {
  const { args, shape } = context;
  const { namespace, region } = args;
  const name = sentinelService(context.name);
  const labels = labelsOf(Role.Sentinel, region);
  const selector = selectorOf(Role.Sentinel, region);
  const service = createHeadlessService(parent, {
    name,
    namespace,
    labels,
    selector,
    ports: [{ name: 'tcp-sentinel', port: sentinelPort }],
  });
  new kubernetes.apps.v1.StatefulSet(
    name,
    {
      metadata: { name, namespace, labels },
      spec: {
        serviceName: service.metadata.name,
        replicas: shape.sentinels,
        podManagementPolicy: 'Parallel',
        selector: { matchLabels: selector },
        template: {
          metadata: {
            labels,
            annotations: {
              [checksumAnnotation]: checksum(conf, JSON.stringify(readScripts()), args.credentialsChecksum ?? ''),
            },
          },
          spec: {
            automountServiceAccountToken: false,
            enableServiceLinks: false,
            securityContext: podSecurity,
            terminationGracePeriodSeconds: 10,
            ...placement(shape.spread, selector),
            containers: [sentinelContainer(context)],
            volumes: volumesOf(context),
          },
        },
        volumeClaimTemplates: [claim('data', smallestDisk, storageClassName, selector)],
      },
    },
    dataOptions(parent, args),
  );
  createBudget(parent, name, namespace, labels, selector);
}
