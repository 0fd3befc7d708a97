import { mkdirSync } from 'node:fs';
import path from 'node:path';

import { endOf } from '../../agent/certificates';
import { createCa, issueCertificate } from '../../agent/peers/certificates';
import { SystemUser } from '../../model';
import { agentProgram, buildAgent } from '../../test/integration/mesh';
import {
  end,
  freePorts,
  hasReplica,
  host,
  passwordOf,
  Region,
  smallConf,
  startSentinels,
  until,
} from '../testing/redis';
import { renderAgentConfig } from './conf';

// The agent with the config and the rights that it has on Kubernetes: TLS everywhere, users with least rights, Sentinels that log in to it.

let region: Region;
afterEach(() => region.close());

test('Sentinel reaches the agent as a replica, and the agent follows a failover', async () => {
  buildAgent();
  const [a = 0, b = 0, peerPort = 0, adminPort = 0, replicaPort = 0, ...sentinels] = await freePorts(8);
  region = new Region({ ...smallConf, tls: true });
  const ca = await createCa({ stack: 'test' });
  const issued = await issueCertificate(ca, { stack: 'test', region: 'west' });
  region.write('tls/ca.crt', issued.ca);
  region.write('tls/tls.crt', issued.cert);
  region.write('tls/tls.key', issued.key);
  region.write('user/password', passwordOf(SystemUser.Agent));
  region.first = `${host} ${a}`;
  region.sentinels.push(...sentinels.map((port) => `${host}:${port}`));
  await startSentinels(region, sentinels);
  const primary = region.startRedis(a);
  region.startRedis(b);

  const at = (name: string): string => path.join(region.dir, name);
  mkdirSync(at('state'));
  const conf = renderAgentConfig(
    {
      stack: 'test',
      region: 'west',
      members: [
        { name: 'west', weight: 50, primary: true },
        { name: 'east', weight: 50, primary: false },
      ],
      topology: { kind: 'mesh' },
      peerHosts: { east: `${host}:1` },
      redisHost: host,
      redisPort: a,
      redisTls: true,
      redisUsername: SystemUser.Agent,
      capture: 'psync',
      hasRedisCa: false,
      sentinelHosts: region.sentinels,
      sentinelPort: 26_379,
      primaryName: 'west',
      host,
      mode: 'async',
      semiSyncRegions: 1,
      maxLagMs: 1000,
      heartbeatMs: 25,
      compression: 'auto',
      conflicts: [],
      conflictValues: 'digest',
      flush: 'carry',
      dryRun: false,
      journalBytes: 2 ** 28,
      journalSegmentBytes: 2 ** 24,
      windowBytes: 2 ** 24,
      logLevel: 'info',
    },
    { config: at('config'), tls: at('tls'), user: at('user'), node: at('node'), state: at('state') },
    { peerPort, adminPort, replicaPort },
  );
  const config = region.write('agent.json', conf);
  region.spawn(process.execPath, [agentProgram, '--config', config], { PATH: process.env['PATH'] ?? '' }, 'agent.log');
  const status = async (): Promise<{ state: string; redis: { port: number } } | undefined> =>
    fetch(`http://${host}:${adminPort}/status`).then(
      (response) => response.json() as Promise<{ state: string; redis: { port: number } }>,
      () => undefined,
    );
  await until('the agent is active', async () => (await status())?.state === 'active').catch((error: unknown) => {
    throw new Error(`${String(error)}\n${region.log('agent')}`);
  });

  // The agent hides from those who ask Sentinel for replicas (replica_announced:0); what Sentinel itself does is in its log.
  const logs = (): string => sentinels.map((port) => region.log(port)).join('');
  await until('the Sentinels find the agent', () =>
    sentinels.every((port) => region.log(port).includes(`+slave slave ${host}:${replicaPort}`)),
  );
  await until('they know the replica', () => sentinels.every((port) => hasReplica(region, port)));
  const metrics = await (await fetch(`http://${host}:${adminPort}/metrics`)).text();
  const ends = [...metrics.matchAll(/^meridian_certificate_\w+\{certificate="(\w+)".*\} (\d+)$/gm)];
  const [own, authority] = [endOf(issued.cert), endOf(issued.ca)];
  expect(Object.fromEntries(ends.map(([, of, at]) => [of, Number(at)]))).toEqual({ agent: own, authority, redis: own });
  const started = Date.now();
  await end(primary);
  await until('the replica is promoted', () => region.role(b) === 'master');
  await until('the agent follows', async () => {
    const now = await status();
    return now?.state === 'active' && now.redis.port === b;
  });
  await until('Sentinel has told the agent to follow', () =>
    logs().includes(`+slave-reconf-done slave ${host}:${replicaPort}`),
  );
  await until('the failover is over', () => logs().includes('+switch-master'));
  // One second of silence, and no waiting for an agent that doesn't answer: that would be failover-timeout, 15 s.
  expect(Date.now() - started).toBeLessThan(12_000);
  expect(logs()).not.toContain(`+sdown slave ${host}:${replicaPort}`);
  expect(region.cli(b, ['ACL', 'LOG'])).toBe('');
}, 60_000);
