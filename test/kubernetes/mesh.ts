import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { parse } from 'yaml';

import { type Region } from './clients';
import { kubectl, kubectlAside, type KubeObject, list, until } from './kubectl';

const redisSelector = 'app.kubernetes.io/component=redis';
const roleLabel = 'meridian.redis/role';

/** Server-side, and strictly: a field that the API server doesn't know is an error, not a field that is dropped. */
export const strictly = ['apply', '--server-side', '--validate=strict', '--field-manager=meridian-e2e'];

/** A deployed mesh: what a test does to it, and asks it. */
export class DeployedMesh {
  constructor(
    readonly regions: readonly Region[],
    /** Folder of its manifests. */
    readonly dir: string,
  ) {}

  apply(): void {
    kubectl([...strictly, '-R', '-f', this.dir]);
  }

  /** Waits until all pods that are wanted are ready. */
  async ready(timeoutSeconds: number): Promise<void> {
    await until('all pods are ready', () => this.unready(), timeoutSeconds);
  }

  private async unready(): Promise<string | undefined> {
    const all = await Promise.all(
      this.regions.map(async ({ namespace }) => {
        const sets = JSON.parse(await kubectlAside(['get', 'statefulsets', '-n', namespace, '-o', 'json'])) as {
          items: {
            metadata: { name: string; generation: number };
            spec: { replicas: number };
            status: { readyReplicas?: number; updatedReplicas?: number; observedGeneration?: number };
          }[];
        };
        return sets.items.flatMap(({ metadata, spec, status }) => {
          const { readyReplicas = 0, updatedReplicas = 0 } = status;
          const isReady =
            status.observedGeneration === metadata.generation &&
            readyReplicas === spec.replicas &&
            updatedReplicas === spec.replicas;
          // An autoscaler has the last word on the number of nodes; one would be none to fail over to.
          const isEnough = !this.regions.some(({ redis }) => redis === metadata.name) || spec.replicas >= 2;
          return isReady && isEnough ? [] : [`${namespace}/${metadata.name} ${readyReplicas} of ${spec.replicas}`];
        });
      }),
    );
    const missing = all.flat();
    return missing.length === 0 ? undefined : missing.join(', ');
  }

  pods({ namespace }: Region, selector?: string): readonly KubeObject[] {
    return list(['pods', '-n', namespace, ...(selector === undefined ? [] : ['-l', selector])]);
  }

  /** The pod that clients are sent to. */
  async primary(region: Region, timeoutSeconds = 60): Promise<string> {
    let found: string[] = [];
    await until(
      `${region.name} has one primary`,
      () => {
        found = this.pods(region, `${redisSelector},${roleLabel}=primary`).map(({ metadata }) => metadata.name);
        return found.length === 1 ? undefined : `${found.length} pods with ${roleLabel}=primary`;
      },
      timeoutSeconds,
    );
    return found[0] ?? '';
  }

  /** Waits until another pod than this one is the primary. */
  async primaryOtherThan(region: Region, pod: string, timeoutSeconds = 90): Promise<string> {
    let now = pod;
    await until(
      `${region.name} has another primary than ${pod}`,
      async () => ((now = await this.primary(region, timeoutSeconds)) === pod ? `${pod} is the primary` : undefined),
      timeoutSeconds,
    );
    return now;
  }

  /**
   * Takes pods away.
   * @param graceSeconds 0: at once, as far as a kubelet can; none: as in a rolling update
   */
  deletePods({ namespace }: Region, which: readonly string[], graceSeconds?: number): Promise<string> {
    // 1 is the least that ends a pod rather than only its entry in the API: with 0 two pods of one name could run.
    const grace = graceSeconds === undefined ? [] : [`--grace-period=${Math.max(1, graceSeconds)}`];
    return kubectlAside(['delete', 'pod', '-n', namespace, ...which, ...grace, '--wait=false']);
  }

  /** Ends all processes of a container without a word, as the kernel does when memory is short. */
  async crash({ namespace }: Region, pod: string, container: string): Promise<void> {
    const kill = ['exec', '-n', namespace, pod, '-c', container, '--', 'sh', '-c', 'kill -9 -1'];
    // The shell that kills may be gone before it can say so.
    await kubectlAside(kill).catch(() => undefined);
  }

  /** How many processes ended in a container and were taken in by nobody: probes leave some behind. */
  async zombies({ namespace }: Region, pod: string, container: string): Promise<number> {
    const count = 'grep -l "^State:.Z" /proc/[0-9]*/status 2>/dev/null | wc -l';
    return Number(await kubectlAside(['exec', '-n', namespace, pod, '-c', container, '--', 'sh', '-c', count]));
  }

  /** What each object of the manifests is at in the API server: changes that others make (status, scale) do not count. */
  versions(): ReadonlyMap<string, string> {
    const found = list(['-R', '-f', this.dir, '--show-managed-fields']) as readonly (KubeObject & {
      readonly metadata: { readonly managedFields?: readonly { readonly manager: string; readonly time?: string }[] };
    })[];
    return new Map(
      found.map(({ kind, metadata }) => {
        const ours = metadata.managedFields?.filter(({ manager }) => manager === 'meridian-e2e') ?? [];
        const times = ours.map(({ time }) => time ?? '').join();
        return [
          `${kind} ${metadata.namespace ?? ''}/${metadata.name}`,
          `${metadata.uid} generation ${metadata.generation ?? 0} written ${times}`,
        ];
      }),
    );
  }

  /** Identity and restarts of every pod. */
  podVersions(): ReadonlyMap<string, string> {
    return new Map(
      this.regions.flatMap((region) =>
        this.pods(region).map(({ metadata, status }): [string, string] => {
          const restarts = status?.containerStatuses?.map(({ restartCount }) => restartCount) ?? [];
          return [`${region.namespace}/${metadata.name}`, `${metadata.uid} ${restarts.join()}`];
        }),
      ),
    );
  }

  /** Names of the namespaces that the manifests make. */
  namespaces(): string[] {
    const cluster = path.join(this.dir, '00-cluster');
    return readdirSync(cluster)
      .map((file) => parse(readFileSync(path.join(cluster, file), 'utf8')) as KubeObject)
      .filter(({ kind }) => kind === 'Namespace')
      .map(({ metadata }) => metadata.name);
  }

  remove(): void {
    kubectl(['delete', 'namespace', ...this.namespaces(), '--ignore-not-found', '--wait=false']);
  }
}
