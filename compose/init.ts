/**
 * The init service of compose.yaml: `node /app/dist/compose/init.js STACK_FILE`. Makes what the containers of each region read (configs,
 * users, certificates) in the region's volume, and again only what is missing or soon too old.
 */
import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { type CertificateAuthority, createCa, issueCertificate } from '../agent/peers/certificates';
import { renderAgentConfig } from '../components/agent/conf';
import { renderRedisConf } from '../components/kubernetes/conf';
import {
  agentRules,
  agentSettingsOf,
  applicationRules,
  Capture,
  formatIssues,
  maxmemoryPolicy,
  minReplicasToWrite,
  nodeRules,
  parseStackFile,
  redisSettingsOf,
  type RegionConfig,
  renderAcl,
  type StackConfig,
  SystemUser,
  topologyOf,
} from '../model';

/** Names of agents of other stacks are refused. */
const stack = 'compose';
/** As whom Redis and agents run, here as on Kubernetes. */
const userId = 999;
const renewBeforeMs = 30 * 24 * 3600 * 1000;

/** Before all paths of this service, so that it can be tried outside of a container. */
const root = process.env['MERIDIAN_ROOT'] ?? '';
/** Where it has the volume of a region, and the one that only it has. */
const volumeOf = (region: string): string => `${root}/etc/meridian/${region}`;
const ownVolume = `${root}/var/lib/meridian`;

const redisHost = (region: string): string => `redis-${region}`;
const agentHost = (region: string): string => `agent-${region}`;

async function main([file]: readonly string[]): Promise<void> {
  if (file === undefined)
    throw new Error('found no argument; allowed: the config of a stack, such as Pulumi.local.yaml');
  const result = parseStackFile(readFileSync(file, 'utf8'), file);
  if (!result.ok) throw new Error(`${file}:\n${formatIssues(result.issues)}`);
  const { config } = result;
  const ca = await provideCa();
  const passwords = providePasswords(config);
  for (const region of config.regions) {
    const dir = volumeOf(region.name);
    if (!existsSync(dir))
      throw new Error(
        `${file} has a region ${region.name}, and compose.yaml no services of it: copy those of another region`,
      );
    write(path.join(dir, 'config/redis.conf'), redisConf(config, region));
    write(path.join(dir, 'config/agent.json'), agentConf(config, region));
    write(path.join(dir, 'acl/users.acl'), aclFile(config, passwords));
    for (const [user, password] of Object.entries(passwords))
      write(path.join(dir, `${user}/password`), `${password}\n`);
    await provideCertificate(path.join(dir, 'tls'), region.name, ca);
    console.log(`${region.name}: ready`);
  }
}

/** Paths in the containers of one region, which have its volume at /etc/meridian. */
const paths = {
  config: '/etc/meridian/config',
  acl: '/etc/meridian/acl',
  node: `/etc/meridian/${SystemUser.Node}`,
  user: `/etc/meridian/${SystemUser.Agent}`,
  tls: '/etc/meridian/tls',
  scripts: '',
  data: '/data',
  run: '/tmp',
  state: '/var/lib/meridian',
} as const;

function redisConf(config: StackConfig, region: RegionConfig): string {
  return renderRedisConf(
    {
      ...redisSettingsOf(config),
      maxmemoryPolicy: maxmemoryPolicy(config.redis),
      // There is one Redis in each region.
      minReplicasToWrite: minReplicasToWrite(config, { ...region, replicas: 0 }),
      cluster: false,
    },
    paths,
  );
}

function agentConf(config: StackConfig, { name: region, mode }: RegionConfig): string {
  return renderAgentConfig(
    {
      stack,
      region,
      members: config.regions.map(({ name, weight, primary }) => ({ name, weight, primary })),
      topology: topologyOf(config),
      peerHosts: Object.fromEntries(config.regions.map(({ name }) => [name, agentHost(name)])),
      redisHost: redisHost(region),
      redisPort: 6379,
      redisTls: config.security.tls,
      redisUsername: SystemUser.Agent,
      capture: Capture.Psync,
      hasRedisCa: false,
      sentinelHosts: [],
      sentinelPort: 0,
      primaryName: region,
      host: agentHost(region),
      mode,
      ...agentSettingsOf(config),
      logLevel: 'info',
    },
    paths,
  );
}

// --- Users -----------------------------------------------------------------------------------------------------------

/** One password for each user, the same in all regions, kept in the volume that only this service has. */
function providePasswords(config: StackConfig): Record<string, string> {
  const users = [SystemUser.Node, SystemUser.Agent, ...Object.keys(config.security.users)];
  return Object.fromEntries(
    users.map((user) => {
      const file = path.join(ownVolume, `${user}.password`);
      if (!existsSync(file)) write(file, randomBytes(24).toString('hex'));
      return [user, readFileSync(file, 'utf8')];
    }),
  );
}

function aclFile(config: StackConfig, passwords: Readonly<Record<string, string>>): string {
  const user = (name: string, rules: readonly string[]) => ({
    name,
    passwordHashes: [
      createHash('sha256')
        .update(passwords[name] ?? '')
        .digest('hex'),
    ],
    rules,
  });
  return renderAcl([
    user(SystemUser.Node, nodeRules),
    user(SystemUser.Agent, agentRules),
    ...Object.entries(config.security.users).map(([name, rules]) => user(name, applicationRules(rules))),
  ]);
}

// --- Certificates ----------------------------------------------------------------------------------------------------

async function provideCa(): Promise<CertificateAuthority> {
  const files = { cert: path.join(ownVolume, 'ca.crt'), key: path.join(ownVolume, 'ca.key') };
  if (!isGood(files.cert)) {
    const made = await createCa({ stack });
    write(files.key, made.key);
    write(files.cert, made.cert);
  }
  return { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') };
}

async function provideCertificate(dir: string, region: string, ca: CertificateAuthority): Promise<void> {
  if (isGood(path.join(dir, 'tls.crt'), ca)) return;
  const issued = await issueCertificate(ca, { stack, region, hosts: [redisHost(region), agentHost(region)] });
  write(path.join(dir, 'ca.crt'), issued.ca);
  write(path.join(dir, 'tls.key'), issued.key);
  write(path.join(dir, 'tls.crt'), issued.cert);
}

/** There, good for long enough, and signed by this authority. */
function isGood(file: string, ca?: CertificateAuthority): boolean {
  if (!existsSync(file)) return false;
  const found = new X509Certificate(readFileSync(file));
  const isSigned = ca === undefined || found.verify(new X509Certificate(ca.cert).publicKey);
  return isSigned && Date.parse(found.validTo) > Date.now() + renewBeforeMs;
}

/** For Redis and the agents only, which run as another user than this service. */
function write(file: string, text: string): void {
  const dir = path.dirname(file);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeFileSync(file, text, { mode: 0o600 });
  if (process.getuid?.() !== 0) return;
  for (const made of [dir, file]) chownSync(made, userId, userId);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(`meridian init: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
