/** What goes wrong, and when: by weights, from a seed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Mesh, type Region } from '../integration/mesh';
import { type Random } from '../sim/random';
import { type History } from './history';

/** Each with what it does; all are undone after a while. */
export const faultKinds = {
  'kill-agent': 'SIGKILL of an agent',
  'stop-agent': 'SIGTERM of an agent',
  'kill-agents': 'SIGKILL of all agents together',
  'kill-redis': 'SIGKILL of a Redis',
  'stop-redis': 'SIGTERM of a Redis',
  'kill-both': 'SIGKILL of a Redis and its agent together',
  unlink: "an agent's replication link is cut by its Redis",
  partition: 'a region is cut off from all others',
  cut: 'two regions are cut off from each other',
  delay: 'two regions are up to 200 ms further apart, each way',
  'pause-agent': 'SIGSTOP of an agent, then SIGCONT',
  'pause-redis': 'SIGSTOP of a Redis, then SIGCONT',
  blackout: 'SIGKILL of every Redis and agent together; not part of all, for it may lose what is acknowledged',
} as const;
export type FaultKind = keyof typeof faultKinds;
export type FaultWeights = ReadonlyMap<FaultKind, number>;

/** No process dies. */
export const gentle: readonly FaultKind[] = ['unlink', 'partition', 'cut', 'delay', 'pause-agent', 'pause-redis'];

/** Those that may lose nothing that was acknowledged. */
export const lawful = (Object.keys(faultKinds) as FaultKind[]).filter((kind) => kind !== 'blackout');

/** @throws Error for a name or a weight that is none */
export function parseFaults(text: string): FaultWeights {
  const weights = new Map<FaultKind, number>();
  for (const item of text.split(',').map((part) => part.trim())) {
    const [name = '', weightText] = item.split(':');
    const weight = weightText === undefined ? 1 : Number(weightText);
    if (!Number.isFinite(weight) || weight < 0) throw new Error(`'${item}': a weight is a number, 0 or more`);
    const kinds = name === 'none' ? [] : name === 'all' ? lawful : name === 'gentle' ? gentle : null;
    if (kinds !== null) for (const kind of kinds) weights.set(kind, weight);
    else if (name in faultKinds) weights.set(name as FaultKind, weight);
    else throw new Error(`there is no fault '${name}': none, gentle, all, ${Object.keys(faultKinds).join(', ')}`);
  }
  for (const [kind, weight] of weights) if (weight === 0) weights.delete(kind);
  return weights;
}

/** From the end of a fault to the beginning of the next, and how long one lasts. */
const gapMs = { min: 100, max: 1200 } as const;
const lastsMs = { min: 50, max: 2500 } as const;
/** An agent may be so far behind what Redis has answered, on a machine that is busy. */
const agentLagMs = 2000;
/** A recovery that takes longer will show in the verdict. */
const recoverMs = 60_000;
/** Killed twice before it is ready again: so do faults meet recoveries. */
const againChance = 0.25;

export interface FaultEvent {
  readonly atMs: number;
  readonly text: string;
}

export class Faults {
  readonly events: FaultEvent[] = [];
  readonly counts = new Map<FaultKind, number>();
  /** Processes that are down or paused on purpose. */
  private readonly down = new Set<string>();
  /** Since when each that was broken has not been seen well again. */
  private readonly downSinceMs = new Map<string, number>();
  /** A Redis restarts, or its agent has not yet found out what clients did meanwhile. */
  private recovering: Promise<void> | null = null;
  private readonly failures: string[] = [];
  private stopping = false;
  private running: Promise<void>[] = [];

  constructor(
    private readonly mesh: Mesh,
    private readonly history: History,
    private readonly random: Random,
    private readonly weights: FaultWeights,
    /** How many go on beside each other. */
    private readonly parallel: number,
    private readonly onEvent: (event: FaultEvent) => void,
  ) {}

  start(): void {
    if (this.weights.size === 0) return;
    // What can't be started again is told by `fallen`.
    this.running = Array.from({ length: this.parallel }, () =>
      this.run().catch((error: unknown) => void this.failures.push(String(error))),
    );
  }

  /** No new ones; waits until each that goes on is undone. */
  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.running);
    await this.recovering;
    this.mesh.heal();
  }

  /** Agents and servers that have ended by themselves, with how. */
  async fallen(): Promise<string[]> {
    const found = this.failures.splice(0);
    for (const region of this.mesh.regions)
      for (const what of ['agent', 'redis'] as const) {
        const name = `${region.name}/${what}`;
        if (region[what].runs || this.down.has(name)) continue;
        found.push(`${name} ended by itself: ${await region[what].end}`);
        if (what === 'agent') region.startAgent();
        else await region.startRedis();
      }
    return found;
  }

  private async run(): Promise<void> {
    const total = [...this.weights.values()].reduce((sum, weight) => sum + weight, 0);
    while (!this.stopping) {
      await this.wait(this.random.between(gapMs.min, gapMs.max));
      if (this.stopping) return;
      let at = this.random.next() * total;
      const kind = [...this.weights].find(([, weight]) => (at -= weight) < 0)?.[0];
      if (kind !== undefined) await this.one(kind);
    }
  }

  /** Ends early when the run does. */
  private async wait(ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (!this.stopping && performance.now() < until) await sleep(Math.min(50, until - performance.now()));
  }

  private async one(kind: FaultKind): Promise<void> {
    const { random, mesh } = this;
    const lasts = random.between(lastsMs.min, lastsMs.max);
    const region = random.pick(mesh.regions);
    const other = random.pick(mesh.regions.filter((candidate) => candidate !== region));
    const again = random.chance(againChance);
    const delayMs = random.between(5, 200);
    const names = processesOf(kind, region, mesh.regions);
    // Another fault has it: this one passes.
    if (names.some((name) => this.down.has(name))) return;
    // A Redis that restarts is compared with another region's. Where all restart nobody can tell what was acknowledged meanwhile
    // (docs/architecture.md, "Limits known today"): so the next one waits until the last one takes part again.
    const restarts = kind === 'kill-redis' || kind === 'stop-redis' || kind === 'kill-both';
    if (restarts && this.recovering !== null) return;
    // Before anything is waited for: no other fault takes them meanwhile.
    for (const name of names) this.down.add(name);
    if (restarts) {
      this.recovering = Promise.resolve();
      if (!(await this.allActive(names))) {
        this.recovering = null;
        for (const name of names) this.down.delete(name);
        return;
      }
    }
    const exposed = kind === 'blackout' ? mesh.regions : restarts ? [region] : [];
    const before = await Promise.all(exposed.map(originOf));
    this.expose(exposed);
    for (const name of names) if (!this.downSinceMs.has(name)) this.downSinceMs.set(name, this.history.nowMs);
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    const tell = (text: string): void => {
      const event = { atMs: Math.round(this.history.nowMs), text: `${kind}: ${text}` };
      this.events.push(event);
      this.onEvent(event);
    };
    try {
      switch (kind) {
        case 'kill-agent':
        case 'stop-agent':
        case 'kill-agents': {
          const regions = kind === 'kill-agents' ? mesh.regions : [region];
          tell(regions.map(({ name }) => name).join(', '));
          await Promise.all(regions.map((one) => one.agent.signal(kind === 'stop-agent' ? 'SIGTERM' : 'SIGKILL')));
          await this.wait(random.chance(0.5) ? 0 : lasts);
          for (const one of regions) one.startAgent();
          if (!again) break;
          await this.wait(random.between(100, 1500));
          tell(`${region.name} once more`);
          await region.restartAgent();
          break;
        }
        case 'kill-redis':
        case 'stop-redis':
          tell(region.name);
          await region.redis.signal(kind === 'kill-redis' ? 'SIGKILL' : 'SIGTERM');
          await this.wait(random.chance(0.5) ? 0 : lasts);
          await region.startRedis();
          break;
        case 'kill-both':
          tell(region.name);
          await Promise.all([region.redis.signal('SIGKILL'), region.agent.signal('SIGKILL')]);
          await region.startRedis();
          await this.wait(random.chance(0.3) ? 0 : lasts / 2);
          region.startAgent();
          break;
        case 'blackout':
          tell('all regions');
          await Promise.all(
            mesh.regions.flatMap(({ redis, agent }) => [redis.signal('SIGKILL'), agent.signal('SIGKILL')]),
          );
          await Promise.all(mesh.regions.map((one) => one.startRedis()));
          for (const one of mesh.regions) one.startAgent();
          break;
        case 'unlink':
          tell(region.name);
          await unlink(region);
          break;
        case 'partition':
          tell(`${region.name} for ${lasts} ms`);
          mesh.partition(region.name);
          await this.wait(lasts);
          mesh.mend(region.name);
          break;
        case 'cut':
          tell(`${region.name} and ${other.name} for ${lasts} ms`);
          mesh.partition(region.name, other.name);
          await this.wait(lasts);
          mesh.mend(region.name, other.name);
          break;
        case 'delay':
          tell(`${region.name} and ${other.name} by ${delayMs} ms for ${lasts} ms`);
          mesh.delay(region.name, other.name, delayMs);
          await this.wait(lasts);
          mesh.delay(region.name, other.name, 0);
          break;
        case 'pause-agent':
        case 'pause-redis': {
          const program = kind === 'pause-agent' ? region.agent : region.redis;
          tell(`${region.name} for ${lasts} ms`);
          await program.signal('SIGSTOP');
          await this.wait(lasts);
          await program.signal('SIGCONT');
        }
      }
    } finally {
      for (const name of names) this.down.delete(name);
      if (exposed.length > 0) this.recover(exposed, before);
    }
  }

  private expose(regions: readonly Region[]): void {
    for (const region of regions) {
      const agent = `${region.name}/agent`;
      // An agent that halts has not read since then.
      const readUntilMs = Math.min(this.history.nowMs, this.downSinceMs.get(agent) ?? Infinity) - agentLagMs;
      this.history.exposures.push({ region: this.mesh.regions.indexOf(region), fromMs: readUntilMs, toMs: Infinity });
    }
  }

  /** Until all take part, and those that restarted do so under their new history: an agent says for a moment that it still does under the old one. */
  private recover(exposed: readonly Region[], before: readonly (string | null)[]): void {
    const isOver = async (): Promise<boolean> => {
      if (!(await this.allActive())) return false;
      const now = await Promise.all(exposed.map(originOf));
      return now.every((origin, i) => origin !== null && origin !== before[i]);
    };
    const deadline = performance.now() + recoverMs;
    const wait = async (): Promise<void> => {
      while (!(await isOver()) && performance.now() < deadline) await sleep(100);
      for (const exposure of this.history.exposures) if (exposure.toMs === Infinity) exposure.toMs = this.history.nowMs;
      this.recovering = null;
    };
    this.recovering = wait();
  }

  /** @param names processes that are not broken yet, though a fault has them */
  private async allActive(names: readonly string[] = []): Promise<boolean> {
    const askedMs = this.history.nowMs;
    const states = await Promise.all(
      this.mesh.regions.map((region) =>
        region
          .status()
          .then(({ state }) => state)
          .catch(() => 'none'),
      ),
    );
    const isActive = states.every((state) => state === 'active');
    for (const [name, sinceMs] of this.downSinceMs)
      if (isActive && sinceMs < askedMs && (names.includes(name) || !this.down.has(name)))
        this.downSinceMs.delete(name);
    return isActive;
  }
}

function processesOf(kind: FaultKind, region: Region, all: readonly Region[]): string[] {
  const [agent, redis] = [`${region.name}/agent`, `${region.name}/redis`];
  switch (kind) {
    case 'kill-agent':
    case 'stop-agent':
    case 'pause-agent':
      return [agent];
    case 'kill-agents':
      return all.map(({ name }) => `${name}/agent`);
    case 'kill-redis':
    case 'stop-redis':
    case 'pause-redis':
      return [redis];
    case 'kill-both':
    case 'unlink':
      return [agent, redis];
    case 'blackout':
      return all.flatMap(({ name }) => [`${name}/agent`, `${name}/redis`]);
    case 'partition':
    case 'cut':
    case 'delay':
      return [];
  }
}

async function originOf(region: Region): Promise<string | null> {
  return region.status().then(
    ({ origin }) => origin,
    () => null,
  );
}

/** A partial resync follows, or a full one where the backlog is too short. */
async function unlink(region: Region): Promise<void> {
  const client = region.client();
  try {
    await client.call('CLIENT', 'KILL', 'TYPE', 'replica');
  } finally {
    client.disconnect();
  }
}
