import { collectDiagnostics } from './diagnostics';
import { kubectl, kubectlAside, until } from './kubectl';
import { strictly } from './mesh';
import { type Say } from './scenario';
import { clusterRegions as regions, type Images, inFolder, meshOfClusters, renderProgram } from './variants';

type Region = (typeof regions)[number];

const [west, east] = regions;
const shards = 3;
const nodes = 2 * shards;
const keys = 200;

/** Two regions whose Redis is a cluster: slots are assigned, an agent for each shard replicates its keys, and both survive the crash of a primary. */
export async function checkClusterTopology(
  images: Images,
  say: Say,
  { diagnostics, keep }: { readonly diagnostics: string; readonly keep: boolean },
): Promise<void> {
  await inFolder(async (dir) => {
    const namespaces = regions.map(({ namespace }) => namespace);
    await renderProgram(meshOfClusters(images), dir);
    try {
      kubectl([...strictly, '-R', '-f', dir]);
      await until(
        'the slots are assigned',
        async () => (await missingIn(west, slotsMissing)) ?? missingIn(east, slotsMissing),
        240,
      );
      say(`two clusters of ${shards} × 2 nodes: 16384 slots are assigned in each`);
      await until('all agents are ready', agentsMissing, 120);
      say(`${2 * shards} agents are active, one for each shard of each region`);
      await write(west, 'west');
      await until('the other region has every key', () => keysMissing(east, 'west'), 60);
      say(`${keys} keys of all slots that clients wrote in one region are in the other`);
      await kubectlAside([
        ...['exec', '-n', west.namespace, `${west.redis}-0`, '-c', 'redis', '--', 'sh', '-c', 'kill -9 -1'],
      ]).catch(() => undefined);
      await write(east, 'east');
      await until('the cluster is whole again', () => clusterMissing(west, 1), 120);
      for (const region of regions)
        for (const prefix of ['west', 'east'])
          await until(`${region.name} has every key of ${prefix}`, () => keysMissing(region, prefix), 90);
      say(`after the crash of a primary the cluster is whole, and both regions have all ${2 * keys} keys`);
    } catch (error) {
      console.error(collectDiagnostics(diagnostics, namespaces).join('\n'));
      throw error;
    } finally {
      if (!keep) kubectl(['delete', 'namespace', ...namespaces, '--ignore-not-found', '--wait=false']);
    }
  });
}

async function write(region: Region, prefix: string): Promise<void> {
  for (let i = 0; i < keys; i += 50) {
    const sets = Array.from({ length: 50 }, (_, j) => `SET ${prefix}:${i + j} ${i + j}`);
    await cli(region, 1, sets);
  }
}

/** Runs commands in a node's pod, as one of the users, at whichever node has the key. */
function cli(
  { namespace, redis }: Region,
  pod: number,
  commands: readonly string[],
  user: 'app' | 'meridian-node' = 'app',
): Promise<string> {
  const secret = ['get', 'secret', '-n', namespace, `${redis}-user-${user}`, '-o', 'jsonpath={.data.password}'];
  const password = Buffer.from(kubectl(secret), 'base64').toString();
  const all = commands.map((command) => `'${command}'`).join(' ');
  const redisCli = `redis-cli -c --user ${user} --no-auth-warning --tls --cacert /etc/meridian/tls/ca.crt`;
  const script = `export REDISCLI_AUTH=${password}; for c in ${all}; do ${redisCli} $c; done`;
  return kubectlAside(['exec', '-n', namespace, `${redis}-${pod}`, '-c', 'redis', '--', 'sh', '-c', script]);
}

async function missingIn(
  region: Region,
  missing: (region: Region) => Promise<string | undefined>,
): Promise<string | undefined> {
  const found = await missing(region);
  return found === undefined ? undefined : `${region.name}: ${found}`;
}

async function slotsMissing(region: Region): Promise<string | undefined> {
  const { namespace } = region;
  const jobs = await kubectlAside(['get', 'jobs', '-n', namespace, '-o', 'jsonpath={.items[*].status.succeeded}']);
  return jobs.trim() === '1' ? clusterMissing(region, 0) : 'the Job of the slots has not ended';
}

async function clusterMissing(region: Region, pod: number): Promise<string | undefined> {
  const info = await cli(region, pod, ['CLUSTER INFO'], 'meridian-node').catch((error: unknown) => String(error));
  const isWhole = info.includes('cluster_state:ok') && info.includes('cluster_slots_ok:16384');
  return isWhole && info.includes(`cluster_known_nodes:${nodes}`) ? undefined : info;
}

async function agentsMissing(): Promise<string | undefined> {
  const ready = 'jsonpath={range .items[*]}{.status.containerStatuses[0].ready} {end}';
  for (const { name, namespace } of regions) {
    const found = await kubectlAside([
      ...['get', 'pods', '-n', namespace, '-l', 'app.kubernetes.io/component=agent', '-o', ready],
    ]);
    const count = found.split(' ').filter((word) => word === 'true').length;
    if (count !== shards) return `${count} of ${shards} in ${name}`;
  }
  return undefined;
}

async function keysMissing(region: Region, prefix: string): Promise<string | undefined> {
  const names = Array.from({ length: keys }, (_, i) => `GET ${prefix}:${i}`);
  const found = await cli(region, 1, names).catch((error: unknown) => String(error));
  const missing = found
    .trim()
    .split('\n')
    .filter((line, i) => line !== String(i));
  return missing.length === 0 ? undefined : missing.slice(0, 3).join('; ');
}
