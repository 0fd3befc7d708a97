import type * as k8s from '@pulumi/kubernetes';
import * as pulumi from '@pulumi/pulumi';

import { exporterImage } from '../../model';
import { roleLabel } from '../common';
import {
  type Container,
  containerSecurity,
  type EnvVar,
  podIpEnv,
  podNameEnv,
  scriptMode,
  secretMode,
  sidecarResources,
  type Volume,
  type VolumeMount,
} from '../common/pod';
import { type KubernetesRedisArgs, type Shape, RedisTopology } from './args';
import { clusterBusPort, paths, redisPort, sentinelPort } from './conf';

export const images = {
  redis: 'docker.io/library/redis:7.2',
  exporter: exporterImage,
  node: 'docker.io/library/node:24-alpine',
};

export const exporterPort = 9121;
/** Time for the hand-over and for Redis to bring its append-only file to disk. */
export const graceSeconds = 60;
const accountDir = '/var/run/secrets/kubernetes.io/serviceaccount';

/** What pods of Redis, of Sentinel and of the slots' Job have in common. */
export interface PodContext {
  readonly name: string;
  readonly args: KubernetesRedisArgs;
  readonly shape: Shape;
  /** Names of the headless Services' DNS zone: `<service>.<namespace>.svc.<domain>`. */
  readonly zone: (service: string) => pulumi.Output<string>;
  /** `host:port` of each Sentinel. */
  readonly sentinels: pulumi.Output<string[]>;
  readonly configName: pulumi.Input<string>;
  readonly scriptsName: pulumi.Input<string>;
}

export const nodesService = (name: string): string => `${name}-nodes`;
export const sentinelService = (name: string): string => `${name}-sentinel`;

// --- What scripts are told -------------------------------------------------------------------------------------------

/** The environment of lib.sh. */
export function scriptEnv({ name, args, shape, zone, sentinels }: PodContext, service: string, port: number): EnvVar[] {
  const value = (key: string, text: pulumi.Input<string>): EnvVar => ({ name: key, value: text });
  return [
    podNameEnv,
    podIpEnv,
    // Kubernetes puts the pod's name in; it must stand after POD_NAME.
    value('MERIDIAN_HOST', pulumi.interpolate`$(POD_NAME).${zone(service)}`),
    value('MERIDIAN_PORT', String(port)),
    value(
      'MERIDIAN_SENTINELS',
      sentinels.apply((all) => all.join(' ')),
    ),
    value('MERIDIAN_PRIMARY_NAME', args.region),
    value('MERIDIAN_FIRST', pulumi.interpolate`${name}-0.${zone(nodesService(name))} ${redisPort}`),
    value('MERIDIAN_QUORUM', String(shape.quorum)),
    value('MERIDIAN_CLUSTER', shape.topology === RedisTopology.Cluster ? 'yes' : 'no'),
    value('MERIDIAN_TLS', shape.tls ? 'yes' : 'no'),
    value('MERIDIAN_CONFIG', paths.config),
    value('MERIDIAN_DATA', paths.data),
    value('MERIDIAN_RUN', paths.run),
    value('MERIDIAN_NODE', paths.node),
    value('MERIDIAN_TLS_DIR', paths.tls),
  ];
}

export const script = (file: string, ...args: string[]): string[] => ['/bin/sh', `${paths.scripts}/${file}`, ...args];

const exec = (...command: string[]): k8s.types.input.core.v1.Probe => ({ exec: { command } });

// --- Volumes ---------------------------------------------------------------------------------------------------------

export function volumesOf({ args, shape, configName, scriptsName }: PodContext): Volume[] {
  const secret = (name: string, secretName: pulumi.Input<string>): Volume => ({
    name,
    secret: { secretName, defaultMode: secretMode },
  });
  return [
    { name: 'config', configMap: { name: configName } },
    { name: 'scripts', configMap: { name: scriptsName, defaultMode: scriptMode } },
    secret('acl', args.aclSecretName),
    secret('node', args.nodeSecretName),
    ...(shape.tls && args.tlsSecretName !== undefined ? [secret('tls', args.tlsSecretName)] : []),
    { name: 'run', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
  ];
}

const readOnly = (name: 'config' | 'scripts' | 'acl' | 'node' | 'tls'): VolumeMount => ({
  name,
  mountPath: paths[name],
  readOnly: true,
});

export function mountsOf({ shape }: PodContext, ...names: ('config' | 'scripts' | 'acl' | 'node')[]): VolumeMount[] {
  return [...names.map(readOnly), ...(shape.tls ? [readOnly('tls')] : [])];
}

// --- Containers ------------------------------------------------------------------------------------------------------

const pullPolicy = (args: KubernetesRedisArgs): pulumi.Input<string> => args.imagePullPolicy ?? 'IfNotPresent';
export const redisImage = (args: KubernetesRedisArgs): pulumi.Input<string> => args.image ?? images.redis;

export function redisContainer(context: PodContext): Container {
  const { args, shape, name } = context;
  const isCluster = shape.topology === RedisTopology.Cluster;
  return {
    name: 'redis',
    image: redisImage(args),
    imagePullPolicy: pullPolicy(args),
    command: script('redis-start.sh'),
    env: scriptEnv(context, nodesService(name), redisPort),
    ports: [
      { name: 'tcp-redis', containerPort: redisPort },
      ...(isCluster ? [{ name: 'tcp-bus', containerPort: clusterBusPort }] : []),
    ],
    // Loading the append-only file of a large Redis takes minutes, and waiting for the Sentinels some seconds: half an hour in all.
    startupProbe: {
      ...exec(...script('probe.sh', 'startup')),
      periodSeconds: 5,
      timeoutSeconds: 5,
      failureThreshold: 360,
    },
    livenessProbe: {
      ...exec(...script('probe.sh', 'live')),
      periodSeconds: 10,
      timeoutSeconds: 5,
      failureThreshold: 6,
    },
    readinessProbe: {
      ...exec(...script('probe.sh', 'ready')),
      periodSeconds: 5,
      timeoutSeconds: 5,
      failureThreshold: 2,
    },
    lifecycle: { preStop: { exec: { command: script('hand-over.sh') } } },
    resources: {
      requests: { cpu: args.cpuRequest ?? '500m', memory: args.memoryRequest ?? '1Gi' },
      limits: { cpu: args.cpuLimit ?? '1', memory: args.memoryLimit ?? '2Gi' },
    },
    securityContext: containerSecurity,
    volumeMounts: [
      ...mountsOf(context, 'config', 'scripts', 'acl', 'node'),
      { name: 'data', mountPath: paths.data },
      { name: 'run', mountPath: paths.run },
    ],
  };
}

export function sentinelContainer(context: PodContext): Container {
  const { args, name } = context;
  const probe = exec(...script('probe.sh', 'sentinel'));
  return {
    name: 'sentinel',
    image: redisImage(args),
    imagePullPolicy: pullPolicy(args),
    command: script('sentinel-start.sh'),
    env: scriptEnv(context, sentinelService(name), sentinelPort),
    ports: [{ name: 'tcp-sentinel', containerPort: sentinelPort }],
    startupProbe: { ...probe, periodSeconds: 2, timeoutSeconds: 5, failureThreshold: 60 },
    livenessProbe: { ...probe, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
    readinessProbe: { ...probe, periodSeconds: 5, timeoutSeconds: 5, failureThreshold: 2 },
    resources: { requests: { cpu: '50m', memory: '64Mi' }, limits: { memory: '128Mi' } },
    securityContext: containerSecurity,
    volumeMounts: [...mountsOf(context, 'config', 'scripts', 'acl', 'node'), { name: 'data', mountPath: paths.data }],
  };
}

/** https://github.com/oliver006/redis_exporter */
export function exporterContainer(context: PodContext): Container {
  const { args, shape } = context;
  const fromSecret = (name: string, key: string): EnvVar => ({
    name,
    valueFrom: { secretKeyRef: { name: args.exporterSecretName, key } },
  });
  return {
    name: 'exporter',
    image: args.exporterImage ?? images.exporter,
    imagePullPolicy: pullPolicy(args),
    env: [
      { name: 'REDIS_ADDR', value: `${shape.tls ? 'rediss' : 'redis'}://localhost:${redisPort}` },
      fromSecret('REDIS_USER', 'username'),
      fromSecret('REDIS_PASSWORD', 'password'),
      // CONFIG GET would show the nodes' password to a user who needs none of it.
      { name: 'REDIS_EXPORTER_CONFIG_COMMAND', value: '-' },
      ...(shape.tls ? [{ name: 'REDIS_EXPORTER_TLS_CA_CERT_FILE', value: `${paths.tls}/ca.crt` }] : []),
    ],
    ports: [{ name: 'http-metrics', containerPort: exporterPort }],
    resources: sidecarResources,
    securityContext: containerSecurity,
    volumeMounts: mountsOf(context),
  };
}

/**
 * Labels its pod with the role of its Redis, for the client and the replica Service. Why so: a pod's readiness is one for all Services, so that it
 * can't mean both "answers" and "is the primary"; a proxy in front would be a hop more for every command and one more thing to keep alive; and most
 * clients don't speak Sentinel through a mesh. Those that do, may: its address is an output.
 */
export function roleContainer(context: PodContext): Container {
  const { args, name } = context;
  const field = (env: string, fieldPath: string): EnvVar => ({ name: env, valueFrom: { fieldRef: { fieldPath } } });
  return {
    name: 'role',
    image: args.sidecarImage ?? images.node,
    imagePullPolicy: pullPolicy(args),
    command: ['node', '--max-old-space-size=32', `${paths.scripts}/role.cjs`],
    env: [
      ...scriptEnv(context, nodesService(name), redisPort),
      field('POD_NAMESPACE', 'metadata.namespace'),
      { name: 'MERIDIAN_ROLE_LABEL', value: roleLabel },
      { name: 'MERIDIAN_ACCOUNT', value: accountDir },
    ],
    resources: sidecarResources,
    securityContext: containerSecurity,
    volumeMounts: [...mountsOf(context, 'scripts', 'node'), { name: 'account', mountPath: accountDir, readOnly: true }],
  };
}

/** The API token, for the one container that needs it: elsewhere in the pod there is none. */
export const accountVolume: Volume = {
  name: 'account',
  projected: {
    defaultMode: secretMode,
    sources: [
      { serviceAccountToken: { path: 'token', expirationSeconds: 3600 } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
    ],
  },
};

/** Privileged, and the only one that is: it sets the kernel and ends. */
export function sysctlContainer(context: PodContext): Container {
  const { args } = context;
  return {
    name: 'sysctls',
    image: redisImage(args),
    imagePullPolicy: pullPolicy(args),
    command: script('sysctls.sh'),
    securityContext: { privileged: true, runAsUser: 0, runAsNonRoot: false, readOnlyRootFilesystem: true },
    resources: sidecarResources,
    volumeMounts: [readOnly('scripts')],
  };
}
