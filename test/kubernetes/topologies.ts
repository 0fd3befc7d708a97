import { collectDiagnostics } from './diagnostics';
import { kubectl, kubectlAside, until } from './kubectl';
import { strictly } from './mesh';
import { type Say } from './scenario';
import { type Images, inFolder, renderProgram, topologies } from './variants';

const namespace = 'meridian-cluster';
const nodes = 6;
const keys = 200;

/** A Redis Cluster in pods: its slots are assigned, keys reach their nodes, and it survives the crash of a primary. */
export async function checkClusterTopology(
  images: Images,
  say: Say,
  { diagnostics, keep }: { readonly diagnostics: string; readonly keep: boolean },
): Promise<void> {
  await inFolder(async (dir) => {
    await renderProgram(topologies.cluster(images), dir);
    try {
      kubectl(
        ['apply', '--server-side', '-f', '-'],
        `apiVersion: v1\nkind: Namespace\nmetadata: { name: ${namespace} }\n`,
      );
      kubectl([...strictly, '-R', '-f', dir]);
      await until('the slots are assigned', slotsMissing, 180);
      say('a Redis Cluster of 3 × 2 nodes: 16384 slots are assigned');
      for (let i = 0; i < keys; i += 50) {
        const sets = Array.from({ length: 50 }, (_, j) => `SET key:${i + j} ${i + j}`);
        await cli('cluster-0', sets);
      }
      await kubectlAside(['exec', '-n', namespace, 'cluster-0', '-c', 'redis', '--', 'sh', '-c', 'kill -9 -1']).catch(
        () => undefined,
      );
      await until('the cluster is whole again', () => clusterMissing('cluster-1'), 120);
      await until('every key is there', keysMissing, 60);
      say(`after the crash of a node the cluster is whole, and has all ${keys} keys`);
    } catch (error) {
      console.error(collectDiagnostics(diagnostics, [namespace]).join('\n'));
      throw error;
    } finally {
      if (!keep) kubectl(['delete', 'namespace', namespace, '--ignore-not-found', '--wait=false']);
    }
  });
}

/** Runs commands in a node's pod, as one of the users, at whichever node has the key. */
function cli(pod: string, commands: readonly string[], user: 'app' | 'meridian-node' = 'app'): Promise<string> {
  const secret = ['get', 'secret', '-n', namespace, `cluster-user-${user}`, '-o', 'jsonpath={.data.password}'];
  const password = Buffer.from(kubectl(secret), 'base64').toString();
  const all = commands.map((command) => `'${command}'`).join(' ');
  const redisCli = `redis-cli -c --user ${user} --no-auth-warning --tls --cacert /etc/meridian/tls/ca.crt`;
  const script = `export REDISCLI_AUTH=${password}; for c in ${all}; do ${redisCli} $c; done`;
  return kubectlAside(['exec', '-n', namespace, pod, '-c', 'redis', '--', 'sh', '-c', script]);
}

async function slotsMissing(): Promise<string | undefined> {
  const jobs = await kubectlAside(['get', 'jobs', '-n', namespace, '-o', 'jsonpath={.items[*].status.succeeded}']);
  return jobs.trim() === '1' ? clusterMissing('cluster-0') : 'the Job of the slots has not ended';
}

async function clusterMissing(pod: string): Promise<string | undefined> {
  const info = await cli(pod, ['CLUSTER INFO'], 'meridian-node').catch((error: unknown) => String(error));
  const isWhole = info.includes('cluster_state:ok') && info.includes('cluster_slots_ok:16384');
  return isWhole && info.includes(`cluster_known_nodes:${nodes}`) ? undefined : info;
}

async function keysMissing(): Promise<string | undefined> {
  const names = Array.from({ length: keys }, (_, i) => `GET key:${i}`);
  const found = await cli('cluster-1', names).catch((error: unknown) => String(error));
  const missing = found
    .trim()
    .split('\n')
    .filter((line, i) => line !== String(i));
  return missing.length === 0 ? undefined : missing.slice(0, 3).join('; ');
}
