import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import {
  ActiveActiveRedis,
  CertificateIssuer,
  KubernetesRedis,
  RedisCredentials,
  redisHostsOf,
  type RedisNodesArgs,
  RedisSecurity,
  RedisTopology,
} from '../../components';
import { render, writeFolder, yamlOf } from '../../render';
import { kubectl } from './kubectl';
import { strictly } from './mesh';
import { type Say } from './scenario';

/** What the images are called in the cluster. */
export interface Images {
  readonly agent: string;
  readonly redis: string;
  readonly exporter: string;
  readonly pullPolicy: string;
}

/** One region's Redis of a topology, and its users and certificates. */
function redisProgram(topology: RedisTopology, images: Images, more: RedisNodesArgs, issuer?: CertificateIssuer) {
  return (): void => {
    const [name, namespace, region] = [topology, `meridian-${topology}`, 'west'];
    const security = new RedisSecurity(`${name}-security`, { stack: 'e2e' });
    const { userPasswords, caBundlePem, caCertPem, caPrivateKeyPem } = security;
    const byCertManager = issuer === CertificateIssuer.CertManager;
    const credentials = new RedisCredentials(`${name}-user`, {
      ...{ region, namespace, stack: 'e2e', userPasswords, cluster: topology === RedisTopology.Cluster },
      redisHosts: redisHostsOf(name, namespace),
      ...(byCertManager ? { issuer, issuerName: 'mesh' } : { caBundlePem, caCertPem, caPrivateKeyPem }),
    });
    const secretOf = (user: string) => credentials.userSecretNames.apply((names) => names[user] ?? '');
    new KubernetesRedis(name, {
      ...{ region, namespace, topology },
      aclSecretName: credentials.aclSecretName,
      nodeSecretName: secretOf('meridian-node'),
      exporterSecretName: secretOf('meridian-exporter'),
      tlsSecretName: credentials.redisTlsSecretName,
      credentialsChecksum: credentials.checksum,
      image: images.redis,
      exporterImage: images.exporter,
      sidecarImage: images.agent,
      imagePullPolicy: images.pullPolicy,
      ...more,
    });
  };
}

/** Renders a program into a folder. */
export async function renderProgram(program: () => void, dir: string): Promise<number> {
  const { manifests } = await render(program, { stack: 'e2e', secrets: true });
  const mark = '# e2e\n';
  const files = new Map(manifests.map((manifest) => [manifest.file, `${mark}${yamlOf(manifest, [])}`]));
  writeFolder(dir, files, mark, 0o600);
  return manifests.length;
}

/** Small enough for any cluster. */
export const small: RedisNodesArgs = {
  maxmemoryBytes: 64 * 2 ** 20,
  memoryRequest: '64Mi',
  memoryLimit: '256Mi',
  cpuRequest: '20m',
  storageClassName: '',
  storageSize: '1Gi',
};

/** Programs of the topologies that the stack's own config doesn't have. */
export const topologies = {
  standalone: (images: Images) => redisProgram(RedisTopology.Standalone, images, small),
  cluster: (images: Images) => redisProgram(RedisTopology.Cluster, images, { ...small, replicas: 1 }),
  'primary-replica': (images: Images) =>
    redisProgram(
      RedisTopology.PrimaryReplica,
      images,
      { createStorageClass: true, kernelTuning: true, replicasMax: 5 },
      CertificateIssuer.CertManager,
    ),
} as const;

/** The regions of `meshOfClusters`, and what their nodes' StatefulSets are called. */
export const clusterRegions = [
  { name: 'west', namespace: 'meridian-cluster-west', redis: 'clusters-west' },
  { name: 'east', namespace: 'meridian-cluster-east', redis: 'clusters-east' },
] as const;

/** Two regions whose Redis is a cluster, with an agent for each shard. */
export function meshOfClusters(images: Images): () => void {
  return () => {
    new ActiveActiveRedis('clusters', {
      stack: 'e2e',
      regions: clusterRegions.map(({ name, namespace }, i) => ({ name, namespace, weight: 50, primary: i === 0 })),
      agentImage: images.agent,
      redis: {
        ...small,
        topology: RedisTopology.Cluster,
        replicas: 1,
        image: images.redis,
        exporterImage: images.exporter,
        imagePullPolicy: images.pullPolicy,
      },
      agent: {
        imagePullPolicy: images.pullPolicy,
        storageClassName: '',
        cpuRequest: '20m',
        memoryRequest: '64Mi',
        memoryLimit: '384Mi',
      },
    });
  };
}

const anyImage = 'meridian:kubernetes.agentImage=registry.example.com/meridian@sha256:0';

/** Stacks that one cluster is enough to check: the command's arguments, by what they are. */
export const stacks: Readonly<Record<string, readonly string[]>> = {
  'the production stack on Kubernetes': ['--stack', 'prod-kubernetes', '--set', anyImage],
  'the dev stack with everything': [
    ...['--stack', 'dev', '--set', 'meridian:kubernetes.protect=true', '--set', 'meridian:kubernetes.spread=required'],
    ...['--set', 'meridian:kubernetes.serviceMesh=sidecar', '--set', 'meridian:traffic.host=redis.mesh.internal'],
    ...['--set', 'meridian:monitoring.operator=true'],
  ],
};

/** Renders a stack by the command. @throws Error with what it said */
export function renderStack(dir: string, args: readonly string[]): void {
  const cli = path.join(__dirname, '../../render/cli.js');
  const run = spawnSync(process.execPath, [cli, '--out', dir, '--secrets', ...args], { encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`render ${args.join(' ')}:\n${run.stdout}${run.stderr}`);
}

/** Lets the API server check manifests, strictly, without keeping them. @throws Error with what it refuses */
export function dryRun(what: string, dir: string, say: Say): void {
  const lines = kubectl([...strictly, '--dry-run=server', '-R', '-f', dir])
    .trim()
    .split('\n');
  say(`${what}: the API server accepts ${lines.length} objects`);
}

/** Namespaces that are there meanwhile: what is in one can be checked only where that is. */
export async function inNamespaces(namespaces: readonly string[], use: () => Promise<void>): Promise<void> {
  const objects = namespaces.map((name) => `apiVersion: v1\nkind: Namespace\nmetadata: { name: ${name} }\n`);
  kubectl(['apply', '--server-side', '-f', '-'], objects.join('---\n'));
  try {
    await use();
  } finally {
    kubectl(['delete', 'namespace', ...namespaces, '--timeout=120s']);
  }
}

/** A folder that goes away at the end. */
export async function inFolder<T>(use: (dir: string) => Promise<T> | T): Promise<T> {
  const dir = mkdtempSync(path.join(tmpdir(), 'meridian-e2e-'));
  try {
    return await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
