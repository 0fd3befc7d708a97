import * as pulumi from '@pulumi/pulumi';

import { deploy, leaksOf, valueOf } from '../testing';
import { CertificateIssuer, RedisCredentials, type RedisCredentialsArgs, RedisSecurity } from '.';
import { aclFiles } from './credentials';

const canary = 'Tweety';

function region(more: Partial<RedisCredentialsArgs> = {}, authorities?: string[]): RedisCredentials {
  const security = new RedisSecurity('s', { stack: 'prod', authorities });
  const { caBundlePem, caCertPem, caPrivateKeyPem, userPasswords } = security;
  return new RedisCredentials('c', {
    region: 'west',
    stack: 'prod',
    namespace: 'redis-west',
    userPasswords,
    caBundlePem,
    caCertPem,
    caPrivateKeyPem,
    redisHosts: ['*.redis-nodes.redis-west.svc.cluster.local'],
    ...more,
  });
}

describe('RedisSecurity', () => {
  test('makes one authority, and two passwords for each user', async () => {
    const made = await deploy(() => new RedisSecurity('s', { stack: 'prod', users: ['app'] }));
    expect(made.children('s')).toEqual([
      'PrivateKey s-ca-a-key',
      'RandomPassword s-app-a',
      'RandomPassword s-app-b',
      'RandomPassword s-meridian-agent-a',
      'RandomPassword s-meridian-agent-b',
      'RandomPassword s-meridian-exporter-a',
      'RandomPassword s-meridian-exporter-b',
      'RandomPassword s-meridian-node-a',
      'RandomPassword s-meridian-node-b',
      'SelfSignedCert s-ca-a',
    ]);
    expect(made.find('s-ca-a').inputs).toMatchObject({
      isCaCertificate: true,
      validityPeriodHours: 87_600,
      subject: { commonName: 'Meridian prod CA a' },
      allowedUses: ['cert_signing', 'crl_signing'],
    });
    expect(made.find('s-app-a').inputs).toMatchObject({ length: 32, special: false });
  });

  test('while an authority is being replaced both are trusted, and the first one signs', async () => {
    const { result } = await deploy(() => new RedisSecurity('s', { stack: 'prod', authorities: ['b', 'a'] }));
    expect(await valueOf(result.caBundlePem)).toEqual({
      value: 'certificate s-ca-b\ncertificate s-ca-a\n',
      secret: false,
    });
    expect(await valueOf(result.caCertPem)).toEqual({ value: 'certificate s-ca-b\n', secret: false });
    expect((await valueOf(result.caPrivateKeyPem)).secret).toBe(true);
  });

  test('the passwords are a secret, and the first is the one to use', async () => {
    const { result } = await deploy(
      () => new RedisSecurity('s', { stack: 'p', users: ['app'], passwords: ['new', 'old'] }),
    );
    const { value, secret } = await valueOf(result.userPasswords);
    expect(secret).toBe(true);
    expect(value['app']).toEqual(['generated-password-of-s-app-new', 'generated-password-of-s-app-old']);
  });

  test('what is lost with the data can be protected', async () => {
    const made = await deploy(() => new RedisSecurity('s', { stack: 'p', protect: true, retainOnDelete: true }));
    const children = made.resources.filter(({ parent }) => parent === 's');
    expect(children.every(({ protect, retainOnDelete }) => protect && retainOnDelete)).toBe(true);
  });

  test.each([
    [{ passwords: ['a'] }, /passwords: found 1 name; allowed: at least 2/],
    [{ authorities: [] }, /authorities: found 0 names; allowed: at least 1/],
    [{ authorities: ['a', 'a'] }, /authorities\[1\]: found "a" again; allowed: each name once/],
    [{ users: ['default'] }, /users: found default; allowed: none of/],
  ])('refuses %j', (args, message) => {
    expect(() => new RedisSecurity('s', { stack: 'p', ...args })).toThrow(message);
    expect(() => new RedisSecurity('s', { stack: 'p', ...args })).toThrow(pulumi.RunError);
  });
});

describe('RedisCredentials', () => {
  test('keeps users and certificates in Secrets of their own', async () => {
    const made = await deploy(() => region(), { canary });
    expect(made.children('c')).toEqual([
      'CertRequest c-agent-tls-request',
      'CertRequest c-redis-tls-request',
      'LocallySignedCert c-agent-tls-certificate',
      'LocallySignedCert c-redis-tls-certificate',
      'PrivateKey c-agent-tls-key',
      'PrivateKey c-redis-tls-key',
      'Secret c-acl',
      'Secret c-admin',
      'Secret c-agent-tls',
      'Secret c-app',
      'Secret c-meridian-agent',
      'Secret c-meridian-exporter',
      'Secret c-meridian-node',
      'Secret c-read',
      'Secret c-redis-tls',
    ]);
    expect(made.find('c-app').inputs).toMatchObject({
      metadata: { name: 'c-app', namespace: 'redis-west' },
      type: 'kubernetes.io/basic-auth',
      stringData: { username: 'app', password: `${canary}-password-of-s-app-a` },
    });
    expect(made.find('c-agent-tls-request').inputs).toMatchObject({ dnsNames: ['west.prod.meridian', 'localhost'] });
    expect(made.find('c-redis-tls-request').inputs).toMatchObject({
      dnsNames: ['redis.west', 'localhost', '*.redis-nodes.redis-west.svc.cluster.local'],
    });
    expect(made.find('c-redis-tls-certificate').inputs).toMatchObject({
      caCertPem: 'certificate s-ca-a\n',
      validityPeriodHours: 8760,
      earlyRenewalHours: 730,
      allowedUses: ['digital_signature', 'server_auth', 'client_auth'],
    });
    expect(made.find('c-redis-tls').inputs).toMatchObject({
      type: 'kubernetes.io/tls',
      stringData: { 'tls.crt': 'certificate c-redis-tls-certificate\n', 'ca.crt': 'certificate s-ca-a\n' },
    });
  });

  test('no secret can be read outside of Secrets', async () => {
    const made = await deploy(() => region(), { canary });
    expect(JSON.stringify(made.resources)).toContain(canary);
    expect(leaksOf(made, canary)).toEqual([]);
  });

  test('ACL files hold hashes only', async () => {
    const made = await deploy(() => region(), { canary });
    expect(JSON.stringify(made.find('c-acl').inputs)).not.toContain(canary);
  });

  describe('what restarts', () => {
    type Sums = Record<'checksum' | 'agentChecksum', string>;
    const sums = async ({ canary = 'one', renewal = '', authorities = ['a'] } = {}): Promise<Sums> => {
      const outputs = (type: string, name: string): Record<string, unknown> =>
        type.endsWith(':LocallySignedCert') ? { certPem: `certificate ${name}${renewal}\n` } : {};
      const { result } = await deploy(() => region({}, authorities), { canary, outputs });
      const [{ value: checksum }, { value: agentChecksum }] = await Promise.all([
        valueOf(result.checksum),
        valueOf(result.agentChecksum),
      ]);
      return { checksum, agentChecksum };
    };
    const changed = async (change: Parameters<typeof sums>[0]): Promise<string[]> => {
      const [before, after] = [await sums(), await sums(change)];
      return (['checksum', 'agentChecksum'] as const).filter((key) => before[key] !== after[key]);
    };

    test.each([
      ['nothing', {}, []],
      ['a new password', { canary: 'two' }, ['checksum', 'agentChecksum']],
      // The agent takes it from its files as it runs.
      ['a renewed certificate', { renewal: ', renewed' }, ['checksum']],
      ['one authority more', { authorities: ['a', 'b'] }, ['checksum', 'agentChecksum']],
    ])('%s', async (_, change, restarted) => {
      expect(await changed(change)).toEqual(restarted);
    });
  });

  test('cert-manager makes the certificates where it is chosen', async () => {
    const made = await deploy(() =>
      region({ issuer: CertificateIssuer.CertManager, issuerName: 'mesh', caPrivateKeyPem: undefined }),
    );
    expect(made.children('c').filter((child) => /^Cert|^Private|^Locally|-tls/.test(child))).toEqual([
      'Certificate c-agent-tls',
      'Certificate c-redis-tls',
    ]);
    expect(made.find('c-agent-tls')).toMatchObject({
      type: 'kubernetes:cert-manager.io/v1:Certificate',
      inputs: {
        spec: {
          secretName: 'c-agent-tls',
          issuerRef: { group: 'cert-manager.io', kind: 'ClusterIssuer', name: 'mesh' },
          dnsNames: ['west.prod.meridian', 'localhost'],
          duration: '8760h',
          renewBefore: '730h',
        },
      },
    });
  });

  test.each([
    [{ region: 'West' }, /region: found "West"; allowed: a DNS label/],
    [{ caCertPem: undefined }, /caCertPem: found nothing; allowed: a value, with issuer pulumi/],
    [
      { issuer: CertificateIssuer.CertManager },
      /issuerName: found nothing; allowed: a value, with issuer cert-manager/,
    ],
    [{ issuer: 'acme' as CertificateIssuer }, /issuer: found "acme"; allowed: pulumi, cert-manager/],
  ])('refuses %j', async (args, message) => {
    await expect(deploy(() => region(args))).rejects.toThrow(message);
  });
});

test('a user without a password is refused', () => {
  expect(() => aclFiles({}, {}, false)).toThrow(/userPasswords: found none for meridian-node/);
});
