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
  selectorOf,
} from '../common';
import { kubernetes } from '../common/kubernetes';
import { containerSecurity, podSecurity, secretMode } from '../common/pod';
import { type AgentInMeshArgs, issuesOf, modeOf, type SyncAgentArgs, topologyOf } from './args';
import { adminPort, type AgentConf, paths, peerPort, redisCaKey, renderAgentConfig, replicaPort } from './conf';
import { Capture, SystemUser } from '../../model';

const mebi = 2 ** 20;
/** The same as agent/node-options.ts: less memory at no cost in time. */
export const nodeOptions = ['--max-semi-space-size=1', '--heap-growing-percent=150'];
const configFile = `${paths.config}/agent.json`;

/**
 * The sync agent of one region: one process, beside whichever Redis is the primary. It is a StatefulSet for its name, by which Sentinel finds it again,
 * and for its disk: the journal outlives the pod.
 */
export class SyncAgent extends pulumi.ComponentResource {
  /** Where agents in the same cluster reach it. */
  public readonly host: pulumi.Output<string>;
  /** Port for other agents: gRPC over mutual TLS. */
  public readonly port: pulumi.Output<number>;
  /** Port for /healthz, /readyz, /status and /metrics. */
  public readonly adminPort: pulumi.Output<number>;

  constructor(name: string, args: SyncAgentArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments(
      'SyncAgent',
      name,
      args,
      ['namespace', 'region', 'stack', 'members', 'peerHosts', 'image', 'redisHost', 'tlsSecretName', 'userSecretName'],
      () => issuesOf(args),
    );
    checkPackages('SyncAgent', name, ['@pulumi/kubernetes']);
    super(componentType('SyncAgent'), name, args, opts);

    const { namespace, region } = args;
    const labels = labelsOf(Role.Agent, region, args.shard);
    const selector = selectorOf(Role.Agent, region, args.shard);
    const metadata = { name, namespace, labels };
    const zone = pulumi.interpolate`${name}.${namespace}.svc.${args.clusterDomain ?? 'cluster.local'}`;

    const conf = confOf(args, pulumi.interpolate`${name}-0.${zone}`).apply((found) => renderAgentConfig(found));
    const { redisCaPem: redisCa, nodeSecretName } = args;
    const isReplica = nodeSecretName !== undefined && args.capture !== Capture.Notifications;
    const config = new kubernetes.core.v1.ConfigMap(
      `${name}-config`,
      {
        metadata: { ...metadata, name: `${name}-config` },
        data: { 'agent.json': conf, ...(redisCa === undefined ? {} : { [redisCaKey]: redisCa }) },
      },
      childOptions(this),
    );
    const service = new kubernetes.core.v1.Service(
      name,
      {
        metadata,
        spec: {
          clusterIP: 'None',
          // Peers and Sentinel are to find an agent that is still joining.
          publishNotReadyAddresses: true,
          selector,
          ports: [
            { name: 'grpc-peer', port: peerPort, targetPort: peerPort },
            { name: 'http-admin', port: adminPort, targetPort: adminPort },
            ...(isReplica ? [{ name: 'tcp-replica', port: replicaPort, targetPort: replicaPort }] : []),
          ],
        },
      },
      childOptions(this),
    );
    const { loadBalancerAnnotations: annotations } = args;
    if (annotations !== undefined)
      new kubernetes.core.v1.Service(
        `${name}-peers`,
        {
          metadata: {
            ...metadata,
            name: `${name}-peers`,
            annotations: loadBalancer(annotations, args.agentHosts ?? []),
          },
          spec: {
            type: 'LoadBalancer',
            selector,
            ports: [{ name: 'grpc-peer', port: peerPort, targetPort: peerPort }],
            // An agent that is joining is not ready, and needs its peers for that.
            publishNotReadyAddresses: true,
          },
        },
        childOptions(this),
      );
    const secret = (volume: string, secretName: pulumi.Input<string>) => ({
      name: volume,
      secret: { secretName, defaultMode: secretMode },
    });
    const probe = (path: string) => ({ httpGet: { path, port: adminPort } });
    const className = pulumi
      .output(args.storageClassName ?? 'gp3')
      .apply((found) => (found === '' ? undefined : found));
    new kubernetes.apps.v1.StatefulSet(
      name,
      {
        metadata,
        spec: {
          serviceName: service.metadata.name,
          // One: a second would read the same stream and apply the same changes.
          replicas: 1,
          persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
          selector: { matchLabels: selector },
          template: {
            metadata: {
              labels,
              annotations: {
                [checksumAnnotation]: checksum(conf.apply(withoutMesh), redisCa ?? '', args.credentialsChecksum ?? ''),
                'prometheus.io/scrape': 'true',
                'prometheus.io/port': String(adminPort),
              },
            },
            spec: {
              automountServiceAccountToken: false,
              enableServiceLinks: false,
              securityContext: podSecurity,
              // It sends what peers have not got yet before it ends.
              terminationGracePeriodSeconds: 30,
              containers: [
                {
                  name: 'agent',
                  image: args.image,
                  imagePullPolicy: args.imagePullPolicy ?? 'IfNotPresent',
                  command: ['node', ...nodeOptions, '/app/dist/agent/main.js', '--config', configFile, '--reload'],
                  ports: [
                    { name: 'grpc-peer', containerPort: peerPort },
                    { name: 'http-admin', containerPort: adminPort },
                    ...(isReplica ? [{ name: 'tcp-replica', containerPort: replicaPort }] : []),
                  ],
                  // The journal is read before anything listens.
                  startupProbe: { ...probe('/healthz'), periodSeconds: 2, failureThreshold: 150 },
                  livenessProbe: { ...probe('/healthz'), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
                  readinessProbe: { ...probe('/readyz'), periodSeconds: 5, timeoutSeconds: 5 },
                  resources: {
                    requests: { cpu: args.cpuRequest ?? '250m', memory: args.memoryRequest ?? '256Mi' },
                    limits: { cpu: args.cpuLimit ?? '2', memory: args.memoryLimit ?? '1Gi' },
                  },
                  securityContext: containerSecurity,
                  volumeMounts: [
                    { name: 'config', mountPath: paths.config, readOnly: true },
                    { name: 'tls', mountPath: paths.tls, readOnly: true },
                    { name: 'user', mountPath: paths.user, readOnly: true },
                    ...(isReplica ? [{ name: 'node', mountPath: paths.node, readOnly: true }] : []),
                    { name: 'state', mountPath: paths.state },
                    // What of the stream has no room in memory for a moment.
                    { name: 'scratch', mountPath: '/tmp' },
                  ],
                },
              ],
              volumes: [
                { name: 'config', configMap: { name: nameOf(config, `${name}-config`) } },
                secret('tls', args.tlsSecretName),
                secret('user', args.userSecretName),
                ...(isReplica ? [secret('node', nodeSecretName)] : []),
                { name: 'scratch', emptyDir: {} },
              ],
            },
          },
          volumeClaimTemplates: [
            {
              metadata: { name: 'state', labels: selector },
              spec: {
                accessModes: ['ReadWriteOnce'],
                storageClassName: className as pulumi.Output<string>,
                resources: { requests: { storage: args.storageSize ?? '10Gi' } },
              },
            },
          ],
        },
      },
      dataOptions(this, args),
    );
    // Its pod may be taken away: the region's clients notice nothing, and it goes on where its journal ends.
    new kubernetes.policy.v1.PodDisruptionBudget(
      name,
      { metadata, spec: { maxUnavailable: 1, selector: { matchLabels: selector } } },
      childOptions(this),
    );

    this.host = zone;
    this.port = pulumi.output(peerPort);
    this.adminPort = pulumi.output(adminPort);
    this.registerOutputs({ host: this.host, port: this.port, adminPort: this.adminPort });
  }
}

/**
 * What a pod is replaced for. For a region more or less it is not: the agent begins anew by itself when its file has changed, which the kubelet brings within about a minute, and
 * a region in semi-sync takes no writes while its agent's pod is away.
 */
function withoutMesh(conf: string): string {
  const { members: _members, peers: _peers, ...rest } = JSON.parse(conf) as Record<string, unknown>;
  return JSON.stringify(rest);
}

/** https://kubernetes-sigs.github.io/external-dns/latest/docs/annotations/annotations/ */
const dnsAnnotation = 'external-dns.alpha.kubernetes.io/hostname';

function loadBalancer(
  annotations: pulumi.Input<{ [name: string]: string }>,
  hosts: pulumi.Input<pulumi.Input<string>[]>,
): pulumi.Output<Record<string, string>> {
  return pulumi.all([annotations, hosts]).apply(([given, names]): Record<string, string> => ({
    ...(names.length === 0 ? {} : { [dnsAnnotation]: names.join(',') }),
    ...given,
  }));
}

/** What of the arguments goes into the config. */
export function confOf(args: AgentInMeshArgs, host: pulumi.Input<string>): pulumi.Output<AgentConf> {
  const members = args.members.map(({ name, weight = 0, primary = false }) => ({ name, weight, primary }));
  return pulumi
    .output({
      stack: args.stack,
      region: args.region,
      members,
      peerHosts: args.peerHosts,
      redisHost: args.redisHost,
      redisPort: args.redisPort ?? 6379,
      redisTls: args.redisTls ?? true,
      redisUsername: args.redisUsername ?? SystemUser.Agent,
      sentinelHosts: args.sentinelHosts ?? [],
      sentinelPort: args.sentinelPort ?? 26_379,
      primaryName: args.primaryName ?? args.region,
      host,
      mode: modeOf(args),
      semiSyncRegions: args.semiSyncRegions ?? 1,
      maxLagMs: args.maxLagMs ?? 1000,
      heartbeatMs: args.heartbeatMs ?? 25,
      compression: args.compression ?? 'auto',
      conflicts: args.conflicts ?? [],
      conflictValues: args.conflictValues ?? 'digest',
      flush: args.flush ?? 'carry',
      dryRun: args.dryRun ?? false,
      journalBytes: args.journalBytes ?? 8192 * mebi,
      journalSegmentBytes: args.journalSegmentBytes ?? 64 * mebi,
      windowBytes: args.windowBytes ?? 256 * mebi,
      logLevel: args.logLevel ?? 'info',
    })
    .apply((found) => ({
      ...found,
      topology: topologyOf(args),
      capture: args.capture ?? Capture.Psync,
      slots: args.slots,
      hasRedisCa: args.redisCaPem !== undefined,
    }));
}
