import { spawn, spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

/** What kubectl said when it failed. */
export class KubectlError extends Error {
  constructor(args: readonly string[], status: number | null, output: string) {
    super(`kubectl ${args.join(' ')} ended with ${status ?? 'a signal'}:\n${output.trim()}`);
    this.name = 'KubectlError';
  }
}

const outputBytesMax = 64 * 2 ** 20;

/** Runs kubectl against the cluster of KUBECONFIG. @returns what it wrote to stdout. @throws KubectlError */
export function kubectl(args: readonly string[], input?: string): string {
  const run = spawnSync('kubectl', args, {
    encoding: 'utf8',
    maxBuffer: outputBytesMax,
    timeout: 120_000,
    ...(input === undefined ? {} : { input }),
  });
  if (run.error !== undefined) throw new KubectlError(args, null, run.error.message);
  if (run.status !== 0) throw new KubectlError(args, run.status, `${run.stdout}${run.stderr}`);
  return run.stdout;
}

/** The same, several at a time. */
export function kubectlAside(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('kubectl', args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
    let [out, all] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => ((out += String(chunk)), (all += String(chunk))));
    child.stderr.on('data', (chunk: Buffer) => (all += String(chunk)));
    child.on('error', reject);
    child.on('close', (status) => (status === 0 ? resolve(out) : reject(new KubectlError(args, status, all))));
  });
}

/** An object as the API server has it; only what is looked at. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation?: number;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly status?: {
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly ready: boolean;
      readonly restartCount: number;
    }[];
  };
}

export function list(args: readonly string[]): readonly KubeObject[] {
  const found = JSON.parse(kubectl(['get', ...args, '-o', 'json'])) as { items?: readonly KubeObject[] };
  return found.items ?? [found as unknown as KubeObject];
}

/** Waits until something is so, and says what it waits for. @throws Error that names it, and what was last seen */
export async function until(
  what: string,
  look: () => Promise<string | undefined> | string | undefined,
  timeoutSeconds: number,
): Promise<void> {
  const started = Date.now();
  for (;;) {
    const missing = await look();
    if (missing === undefined) return;
    if (Date.now() - started > timeoutSeconds * 1000)
      throw new Error(`not within ${timeoutSeconds} s: ${what}; last seen: ${missing}`);
    await sleep(1000);
  }
}
