/** One run: a mesh of real servers and agents, clients, faults, peace, and the verdict. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Comparison } from '../../local/verify';
import { Mesh, until } from '../integration/mesh';
import { Random } from '../sim/random';
import { check, type Finding, type Report } from './checker';
import { Beater, Client, type Endpoint } from './client';
import { familyOf, type Type } from './families';
import { Faults, type FaultEvent, type FaultWeights } from './faults';
import { History } from './history';
import { policiesFor } from './policies';
import { readRegion } from './state';
import { Workload } from './workload';

export interface TortureOptions {
  readonly seconds: number;
  readonly regions: number;
  readonly topology: 'mesh' | 'ring' | 'star';
  readonly faults: FaultWeights;
  /** How many faults go on beside each other. */
  readonly parallel: number;
  readonly types: readonly Type[];
  readonly seed: number;
  /** Commands, transactions and scripts a second in each region; less where the machine gives no more. */
  readonly rate: number;
  readonly clients: number;
  readonly hotKeys: number;
  /**
   * Of Redis. By default what is acknowledged was written to the kernel, which keeps it when Redis is killed. `everysec` does not wait with a
   * reply while a flush is under way, so a killed Redis may lose what it acknowledged, up to 2 s: what is then found lost may be lawful.
   */
  readonly appendfsync: 'no' | 'everysec' | 'always';
  /** Findings that are known to come at times let the run fail, too (`known` in families.ts, `Exposure` in history.ts). */
  readonly strict: boolean;
  /** Where all files are kept, and the history of a run that failed; by default they are removed. */
  readonly dir?: string;
  readonly onEvent?: (event: FaultEvent) => void;
  /** About once a second. */
  readonly onProgress?: (progress: Progress) => void;
}

export interface Progress {
  readonly phase: 'start' | 'faults' | 'peace' | 'check';
  readonly elapsedMs: number;
  readonly acknowledged: number;
  readonly unsure: number;
  readonly faults: number;
}

export interface Outcome {
  readonly ok: boolean;
  readonly seed: number;
  readonly regions: readonly string[];
  readonly redis: string;
  readonly types: readonly Type[];
  readonly seconds: number;
  readonly acknowledged: number;
  readonly unsure: number;
  readonly refused: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly events: readonly FaultEvent[];
  /** Agents or servers that ended though nobody had killed them. */
  readonly fallen: readonly string[];
  /** Why it did not come to rest; null when it did. */
  readonly unrest: string | null;
  readonly keys: number;
  readonly differing: number;
  readonly differences: readonly string[];
  readonly findings: readonly Found[];
  /** Findings in families that are known to have them; empty where the run is strict. */
  readonly known: readonly Found[];
  readonly checked: number;
  readonly twice: number;
  readonly moved: number;
  readonly exposed: number;
  readonly deadLetters: number;
}

/** A finding, and where: a region's name, or 'all'. */
export type Found = Finding & { readonly region: string };

const databases = [0, 1, 5];
const quietMs = 60_000;
const regionNames = ['alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta', 'theta'];
export const regionsMax = regionNames.length;

export async function torture(options: TortureOptions): Promise<Outcome> {
  const names = regionNames.slice(0, options.regions);
  const policies = policiesFor(options.types, names);
  const mesh = await Mesh.start({
    regions: names,
    ...(policies.length > 0 && { policies, refusesFlush: true }),
    links: linksOf(options.topology, names),
    redisConf: [`appendfsync ${options.appendfsync}`],
    ...(options.dir === undefined ? {} : { dir: options.dir }),
  });
  try {
    return await new Run(mesh, options).run();
  } finally {
    await mesh.stop();
  }
}

class Run {
  private readonly history: History;
  private readonly endpoints: readonly Endpoint[];
  private readonly faults: Faults;
  private readonly random: Random;
  private readonly fallen: string[] = [];
  private types: readonly Type[];

  constructor(
    private readonly mesh: Mesh,
    private readonly options: TortureOptions,
  ) {
    this.history = new History(mesh.regions.map(({ name }) => name));
    this.random = new Random(options.seed);
    this.types = options.types;
    this.endpoints = mesh.regions.map(({ name, port }, region) => ({
      region,
      name,
      port,
      password: mesh.secrets.password,
    }));
    const faultsRandom = new Random(options.seed ^ 0x5f5f);
    const tell = options.onEvent ?? ((): void => undefined);
    this.faults = new Faults(mesh, this.history, faultsRandom, options.faults, options.parallel, tell);
  }

  async run(): Promise<Outcome> {
    const { options, history, faults, endpoints } = this;
    this.types = await this.known(options.types);
    const beaters = endpoints.map((endpoint) => new Beater(endpoint, history).start());
    const clients = endpoints.flatMap((endpoint) => this.clientsOf(endpoint));
    const startedMs = history.nowMs;
    faults.start();
    while (history.nowMs - startedMs < options.seconds * 1000) {
      await sleep(Math.min(1000, options.seconds * 100));
      this.progress('faults');
      this.fallen.push(...(await faults.fallen()));
    }
    this.progress('peace');
    await faults.stop();
    // Clients last a little longer, so that what comes after the last fault is looked at, too.
    await sleep(300);
    await Promise.all(clients.map((client) => client.stop()));
    await Promise.all(beaters.map((beater) => beater.stop()));
    return this.verdict((history.nowMs - startedMs) / 1000);
  }

  /** Types that the server has commands for. */
  private async known(types: readonly Type[]): Promise<readonly Type[]> {
    const client = this.mesh.regions[0]!.client();
    const needs: Partial<Record<Type, string>> = { 'field-ttls': 'HPEXPIRE', functions: 'FUNCTION' };
    const known: Type[] = [];
    for (const type of types) {
      const command = needs[type];
      const reply = command === undefined ? null : ((await client.call('COMMAND', 'INFO', command)) as unknown[]);
      if (reply === null || reply[0] !== null) known.push(type);
    }
    client.disconnect();
    if (known.length === 0)
      throw new Error(`${this.mesh.binary.version} has no ${types.join(' and no ')}: name other --types`);
    return known;
  }

  private clientsOf(endpoint: Endpoint): Client[] {
    const { options, random, history, types } = this;
    return Array.from({ length: options.clients }, (_, i) => {
      const name = `${endpoint.name}${i}`;
      const seeded = new Random(random.below(2 ** 31));
      const workload = new Workload(seeded, name, endpoint.name, {
        types,
        regions: history.regions,
        hotKeys: options.hotKeys,
        databases,
      });
      return new Client(endpoint, name, history, workload, (1000 * options.clients) / options.rate).start();
    });
  }

  private async verdict(seconds: number): Promise<Outcome> {
    const { mesh, history, faults, options } = this;
    const unrest = await this.rest().then(
      () => null,
      (error: unknown) => String(error),
    );
    this.progress('check');
    const comparison = await mesh.compare(unrest === null ? 20_000 : 0);
    const reports: { region: string; report: Report }[] = [];
    // Where all hold the same one region speaks for all.
    for (const endpoint of comparison.equal ? this.endpoints.slice(0, 1) : this.endpoints) {
      const state = await readRegion(endpoint, databases, history);
      reports.push({ region: endpoint.name, report: check(history, state, history.nowMs, options.strict) });
    }
    const all = reports.flatMap(({ region, report }) =>
      report.findings.map((finding): Found => ({ ...finding, region: comparison.equal ? 'all' : region })),
    );
    const isKnown = ({ key }: Found): boolean => !options.strict && familyOf(key)?.known === true;
    const findings = all.filter((found) => !isKnown(found));
    const first = reports[0]!.report;
    const outcome: Outcome = {
      ok: unrest === null && comparison.equal && findings.length === 0 && this.fallen.length === 0,
      seed: options.seed,
      regions: history.regions,
      redis: `${mesh.binary.flavour} ${mesh.binary.version}`,
      types: this.types,
      seconds: Math.round(seconds * 10) / 10,
      acknowledged: history.acknowledged,
      unsure: history.unsure,
      refused: history.refused,
      faults: Object.fromEntries(faults.counts),
      events: faults.events,
      fallen: this.fallen,
      unrest,
      keys: comparison.keys,
      differing: comparison.differing + comparison.libraries.differing,
      differences: describe(comparison),
      findings,
      known: all.filter(isKnown),
      checked: first.checked,
      twice: first.twice,
      moved: first.moved,
      exposed: first.exposed,
      deadLetters: await this.deadLetters(),
    };
    if (!outcome.ok && options.dir !== undefined) this.keep(options.dir, outcome);
    return outcome;
  }

  /** Beside what servers and agents leave: the outcome, and what each client did and was answered, an operation a line. */
  private keep(dir: string, outcome: Outcome): void {
    writeFileSync(path.join(dir, 'outcome.json'), JSON.stringify(outcome, undefined, 2));
    const lines = this.history.ops.map((op) => `${JSON.stringify(op)}\n`);
    writeFileSync(path.join(dir, 'history.jsonl'), lines.join(''));
  }

  /** Everything runs, short times to live are over, and everybody has what all have written. */
  private async rest(): Promise<void> {
    const { mesh } = this;
    this.fallen.push(...(await this.faults.fallen()));
    await Promise.all(mesh.regions.map((region) => region.ready(quietMs)));
    await sleep(3300);
    const deadline = Date.now() + quietMs;
    await mesh.barrier(deadline);
    await mesh.caughtUp(deadline);
    const settled = async (): Promise<boolean> =>
      (await Promise.all(mesh.regions.map((region) => region.status()))).every(({ window }) => window.unsettled === 0);
    await until(settled, quietMs, 'keys stay unsettled');
  }

  private async deadLetters(): Promise<number> {
    const counts = await Promise.all(
      this.mesh.regions.map((region) =>
        region
          .status()
          .then(({ deadLetters }) => deadLetters)
          .catch(() => 0),
      ),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  private progress(phase: Progress['phase']): void {
    const { history, faults } = this;
    this.options.onProgress?.({
      phase,
      elapsedMs: history.nowMs,
      acknowledged: history.acknowledged,
      unsure: history.unsure,
      faults: faults.events.length,
    });
  }
}

function linksOf(topology: TortureOptions['topology'], names: readonly string[]): [string, string][] {
  switch (topology) {
    case 'mesh':
      return names.flatMap((a, i) => names.slice(i + 1).map((b): [string, string] => [a, b]));
    case 'star':
      return names.slice(1).map((name) => [names[0]!, name]);
    case 'ring':
      return names.length < 3
        ? linksOf('mesh', names)
        : names.map((name, i) => [name, names[(i + 1) % names.length]!] as [string, string]);
  }
}

function describe(comparison: Comparison): string[] {
  const libraries = comparison.libraries.differences.map(({ name, regions }) => {
    const each = regions.map(({ name: region, engine, size, digest }) =>
      engine === 'none' ? `${region}: missing` : `${region}: ${size} bytes, ${digest}`,
    );
    return `library ${name}\n    ${each.join('\n    ')}`;
  });
  const keys = comparison.differences.map(({ db, key, regions }) => {
    const each = regions.map(
      ({ name, type, size, expiresAtMs, preview }) =>
        `${name}: ${type === 'none' ? 'missing' : `${type} of ${size}, ${expiresAtMs === null ? 'never expires' : `expires at ${expiresAtMs}`}, ${preview ?? ''}`}`,
    );
    return `${db}/${key.toString('latin1')}\n    ${each.join('\n    ')}`;
  });
  return [...libraries, ...keys];
}
