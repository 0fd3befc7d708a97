import * as k8s from '@pulumi/kubernetes';
import type * as pulumi from '@pulumi/pulumi';

import { parseAgentConfig } from '../agent/config';
import { KubernetesRedis, RedisCredentials, redisHostsOf, RedisNetworkPolicy, RedisSecurity, SyncAgent } from '.';
import { deploy, leaksOf } from './testing';

const canary = 'Tweety';

/** One region from its parts, as a stack would put them together. */
function region() {
  const provider = new k8s.Provider('west', { kubeconfig: 'none' });
  const opts = { providers: [provider] };
  const [stack, namespace] = ['prod', 'redis-west'];
  const at = { region: 'west', namespace };
  const security = new RedisSecurity('security', { stack });
  const { userPasswords, caBundlePem, caCertPem, caPrivateKeyPem } = security;
  const trust = { userPasswords, caBundlePem, caCertPem, caPrivateKeyPem };
  const redisHosts = redisHostsOf('redis', namespace);
  const credentials = new RedisCredentials('credentials', { ...at, ...trust, stack, redisHosts }, opts);
  const secretOf = (user: string): pulumi.Output<string> =>
    credentials.userSecretNames.apply((names) => names[user] ?? '');
  const nodeSecretName = secretOf('meridian-node');
  const redis = new KubernetesRedis(
    'redis',
    {
      ...at,
      aclSecretName: credentials.aclSecretName,
      nodeSecretName,
      exporterSecretName: secretOf('meridian-exporter'),
      tlsSecretName: credentials.redisTlsSecretName,
      credentialsChecksum: credentials.checksum,
      createStorageClass: true,
    },
    opts,
  );
  new SyncAgent(
    'agent',
    {
      ...at,
      stack,
      image: 'meridian',
      members: [{ name: 'west', primary: true }, { name: 'east' }],
      peerHosts: { east: 'agent.redis-east' },
      redisHost: redis.host,
      sentinelHosts: redis.sentinelHosts,
      userSecretName: secretOf('meridian-agent'),
      nodeSecretName,
      tlsSecretName: credentials.agentTlsSecretName,
      credentialsChecksum: credentials.agentChecksum,
    },
    opts,
  );
  new RedisNetworkPolicy('network', { ...at, regions: ['west', 'east'], peerNamespaces: { east: 'redis-east' } }, opts);
}

test('a whole region: every object in its cluster, and no secret where it can be read', async () => {
  const made = await deploy(region, { canary });
  const objects = made.resources.filter(({ type }) => type.startsWith('kubernetes:'));
  expect(objects.length).toBeGreaterThan(30);
  // One that misses the provider lands in the default cluster without a word.
  expect(objects.filter(({ provider }) => provider?.includes('::west::') !== true).map(({ name }) => name)).toEqual([]);
  expect(leaksOf(made, canary)).toEqual([]);
  expect(JSON.stringify(made.find('credentials-meridian-agent').inputs)).toContain(canary);

  // Every Secret that a pod mounts is there.
  const mounted = JSON.stringify(
    objects.filter(({ type }) => type.endsWith(':StatefulSet')).map(({ inputs }) => inputs),
  );
  const wanted = new Set([...mounted.matchAll(/"secretName":"([^"]*)"/g)].map(([, name]) => name ?? ''));
  const secrets = objects.filter(({ type }) => type.endsWith(':Secret')).map(({ name }) => name);
  expect([...wanted].sort()).toEqual([
    'credentials-acl',
    'credentials-agent-tls',
    'credentials-meridian-agent',
    'credentials-meridian-node',
    'credentials-redis-tls',
  ]);
  expect(secrets).toEqual(expect.arrayContaining([...wanted]));

  const { redis } = parseAgentConfig(
    JSON.parse((made.find('agent-config').inputs['data'] as Record<string, string>)['agent.json'] ?? ''),
  );
  expect(redis.host).toBe('redis.redis-west.svc.cluster.local');
  expect(redis.sentinels?.[0]).toEqual({
    host: 'redis-sentinel-0.redis-sentinel.redis-west.svc.cluster.local',
    port: 26_379,
  });
});
