import { readFileSync } from 'node:fs';
import path from 'node:path';

import { stringify } from 'yaml';

import { kubectl, kubectlAside, list, until } from './kubectl';

/** What a writer has done so far; see client.cjs. */
export interface Written {
  readonly attempts: number;
  /** Numbers of the writes that another region had when they were acknowledged. */
  readonly acknowledged: readonly number[];
  readonly unconfirmed: number;
  /** How often each error was met. */
  readonly errors: Readonly<Record<string, number>>;
  /** Times of more than a second without an acknowledged write. */
  readonly gapsMs: readonly number[];
  readonly stopped?: boolean;
}

/** What one region holds: keys and values. */
export type Content = Readonly<Record<string, string | readonly string[] | Readonly<Record<string, string>>>>;

/** A region under test. */
export interface Region {
  readonly name: string;
  readonly namespace: string;
  /** Name of its StatefulSet, and of the Service that clients use. */
  readonly redis: string;
}

/** Of the clients: apart from the regions, for their pods are killed. */
const namespace = 'meridian-e2e';
/** Like any other client's pods: see `clientPodLabels` of RedisNetworkPolicy. */
const labels = { 'meridian.redis/client': 'true' };

/** Writers and readers of all regions, in pods. */
export class Clients {
  constructor(
    private readonly regions: readonly Region[],
    private readonly image: string,
    private readonly imagePullPolicy: string,
  ) {}

  /** Makes the pods, which begin to write at once. */
  async start(): Promise<void> {
    const secrets = this.regions.map((region) => {
      const read = (name: string, key: string): string => {
        const [secret] = list(['secret', name, '-n', region.namespace]);
        return Buffer.from(secret?.data?.[key] ?? '', 'base64').toString();
      };
      return {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: region.name, namespace },
        stringData: {
          password: read(`${region.redis}-user-app`, 'password'),
          'ca.crt': read(`${region.redis}-user-redis-tls`, 'ca.crt'),
        },
      };
    });
    const script = readFileSync(path.join(__dirname, 'client.cjs'), 'utf8');
    const objects = [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'client', namespace }, data: { 'client.cjs': script } },
      ...secrets,
      ...this.regions.map((region) => this.pod(region)),
    ];
    kubectl(['apply', '--server-side', '-f', '-'], objects.map((object) => stringify(object)).join('---\n'));
    await until('the clients write', () => this.missing(1), 60);
  }

  private pod({ name, redis, namespace: at }: Region) {
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace, labels },
      spec: {
        restartPolicy: 'Never',
        terminationGracePeriodSeconds: 0,
        automountServiceAccountToken: false,
        containers: [
          {
            name: 'client',
            image: this.image,
            imagePullPolicy: this.imagePullPolicy,
            command: ['node', '/client/client.cjs', 'write'],
            env: [
              { name: 'REGION', value: name },
              { name: 'HOST', value: `${redis}.${at}.svc.cluster.local` },
            ],
            volumeMounts: [
              { name: 'client', mountPath: '/client' },
              { name: 'secret', mountPath: '/etc/client' },
              { name: 'tmp', mountPath: '/tmp' },
            ],
          },
        ],
        volumes: [
          { name: 'client', configMap: { name: 'client' } },
          { name: 'secret', secret: { secretName: name } },
          { name: 'tmp', emptyDir: {} },
        ],
      },
    };
  }

  private exec(region: string, ...command: readonly string[]): Promise<string> {
    return kubectlAside(['exec', '-n', namespace, region, '--', ...command]);
  }

  /** What each writer has done. */
  async written(): Promise<ReadonlyMap<string, Written>> {
    const read = async ({ name }: Region): Promise<[string, Written]> => [
      name,
      JSON.parse(
        await this.exec(name, 'node', '-p', "require('fs').readFileSync('/tmp/state.json', 'utf8')"),
      ) as Written,
    ];
    return new Map(await Promise.all(this.regions.map(read)));
  }

  /** Which writers have not yet had so many more writes acknowledged than before; undefined when all have. */
  private async missing(count: number, before?: ReadonlyMap<string, Written>): Promise<string | undefined> {
    const now = await this.written().catch((error: unknown) => String(error));
    if (typeof now === 'string') return now;
    const slow = [...now].filter(
      ([region, { acknowledged }]) => acknowledged.length < (before?.get(region)?.acknowledged.length ?? 0) + count,
    );
    return slow.length === 0
      ? undefined
      : slow
          .map(([region, { attempts, errors }]) => `${region} after ${attempts} writes: ${JSON.stringify(errors)}`)
          .join('; ');
  }

  /** Waits until every region has acknowledged so many more writes: it takes them again. */
  async progress(what: string, timeoutSeconds: number, count = 50): Promise<void> {
    const before = await this.written();
    await until(`${what}: every region takes writes`, () => this.missing(count, before), timeoutSeconds);
  }

  /** Ends the writing. @returns what was done */
  async stop(): Promise<ReadonlyMap<string, Written>> {
    const stop = "require('fs').writeFileSync('/tmp/stop', '')";
    await Promise.all(this.regions.map(({ name }) => this.exec(name, 'node', '-e', stop)));
    let found: ReadonlyMap<string, Written> = new Map();
    await until(
      'the writers have stopped',
      async () => {
        found = await this.written();
        return [...found.values()].every(({ stopped }) => stopped === true) ? undefined : 'they still write';
      },
      30,
    );
    return found;
  }

  /** What a region holds. */
  async content({ name }: Region): Promise<Content> {
    return JSON.parse(await this.exec(name, 'node', '/client/client.cjs', 'dump')) as Content;
  }

  remove(): void {
    kubectl(['delete', 'namespace', namespace, '--ignore-not-found', '--wait=false']);
  }
}
