/** `npm run bench`: how fast Meridian is on this machine, and against another program in the same run. */
import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { ensureRedisBinary, RedisBinaryError } from '../local/redis-binary';
import { fill, measureFullSync } from './full-sync';
import { measureLag } from './lag';
import { KEYS_MAX } from './load';
import { Meridian, RedisShake, type Replicator } from './replicators';
import {
  describeRun,
  type Failure,
  type Measure,
  machine,
  MEASURES,
  renderTables,
  type Report,
  type Run,
  summarise,
} from './report';
import { Place, type RedisServer } from './servers';
import { measurePreviews, renderPreviews } from './preview';
import { measureThroughput } from './throughput';

interface Options {
  readonly seconds: number;
  readonly runs: number;
  readonly regions: number;
  readonly only: readonly Measure[] | typeof PREVIEW;
  readonly peer?: string;
  readonly keys: number;
  readonly syncKeys: number;
  readonly rate: number;
  readonly sustainedRate: number;
  readonly windowMib?: number;
  readonly connections: number;
  readonly pipeline: number;
  readonly appendonly: boolean;
  readonly json?: string;
  readonly profile?: string;
}

function number(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < min || value > max)
      throw new InvalidArgumentError(`a whole number from ${min} to ${max}`);
    return value;
  };
}

/** Of the stack's program, without a server: by itself, and not among the measures of replication. */
const PREVIEW = 'preview';
const PREVIEW_STACKS = ['prod', 'prod-kubernetes'];
const PREVIEW_SIZES = [3, 10, 50];

function measures(text: string): Measure[] | typeof PREVIEW {
  if (text.trim() === PREVIEW) return PREVIEW;
  const wanted = text.split(',').map((each) => each.trim());
  const unknown = wanted.find((each) => !(MEASURES as readonly string[]).includes(each));
  if (unknown !== undefined) throw new InvalidArgumentError(`of ${MEASURES.join(', ')}; or ${PREVIEW}, alone`);
  return MEASURES.filter((measure) => wanted.includes(measure));
}

/** @returns the path of the program */
function peer(text: string): string {
  const file = /^redis-shake=(.+)$/.exec(text)?.[1];
  if (file === undefined) throw new InvalidArgumentError('redis-shake=PATH is the one that is known');
  try {
    accessSync(file, constants.X_OK);
  } catch {
    throw new InvalidArgumentError(`${file} is not a program that can be run here`);
  }
  return path.resolve(file);
}

function parse(args: readonly string[]): Options {
  const program = new Command('npm run bench --')
    .description(
      'Measures replication between real Redis servers on this machine: operations a second one way and both ways,\n' +
        'at a rate that is kept up, lag at a fixed rate, a full sync, and what they cost in CPU and memory. See docs/benchmarks.md.',
    )
    .option('--only <measures>', `of ${MEASURES.join(',')}; or ${PREVIEW}, alone`, measures, [...MEASURES])
    .option('--seconds <n>', 'length of each load', number(1, 600), 10)
    .option('--runs <n>', 'times that each is measured; the median counts', number(1, 50), 3)
    .option('--regions <n>', 'regions of Meridian, all connected with each other', number(2, 8), 2)
    .option('--peer <redis-shake=PATH>', 'measure this program too, in turns; ratios are against it', peer)
    .option('--keys <n>', 'range of the random keys', number(1, KEYS_MAX), 1_000_000)
    .option('--sync-keys <n>', 'keys of the full sync', number(1, KEYS_MAX), 1_000_000)
    .option('--rate <n>', 'operations a second of the lag', number(1, 100_000), 5000)
    .option(
      '--sustained-rate <n>',
      'operations a second of all regions together that are sustained',
      number(1, 1_000_000),
      100_000,
    )
    .option(
      '--window-mib <n>',
      "an agent's memory for what not every region has seen (default: its own default)",
      number(1, 65_536),
    )
    .option('--connections <n>', 'of each load', number(1, 64), 4)
    .option('--pipeline <n>', 'commands in one write of the load', number(1, 1000), 64)
    .option('--appendonly', 'servers write an append-only file (everysec)', false)
    .option('--json <file>', 'write the report there, too')
    .option('--profile <dir>', "keep each agent's CPU profile (the figures are then a little worse)")
    .showHelpAfterError('(--help tells more)');
  program.parse([...args], { from: 'user' });
  return program.opts<Options>();
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** Servers and replicator of one measurement; everything is new each time. */
async function measure(kind: Measure, system: string, run: number, options: Options, binary: string): Promise<Run> {
  const place = new Place();
  open.add(place);
  try {
    const isPeer = system !== 'meridian';
    const count = isPeer || kind === 'full-sync' ? 2 : options.regions;
    const servers: RedisServer[] = [];
    for (let i = 0; i < count; i++)
      servers.push(await place.redis(`region-${String.fromCharCode(97 + i)}`, binary, options.appendonly));
    const [first, last] = [servers[0]!, servers[count - 1]!];
    const replicator: Replicator = isPeer
      ? new RedisShake(place, options.peer ?? '', first, last)
      : await Meridian.prepare(place, servers, { profileDir: options.profile, windowMib: options.windowMib });
    const { processes } = replicator;
    const base = { system, run };
    if (kind === 'full-sync') {
      await fill(first, options.syncKeys, options.connections, options.pipeline);
      return { ...base, measure: kind, ...(await measureFullSync(place, first, last, replicator)) };
    }
    await replicator.start();
    if (kind === 'lag')
      return { ...base, measure: kind, ...(await measureLag(place, first, last, processes, options)) };
    const sources = kind === 'one-way' ? [first] : servers;
    const load = kind === 'sustained' ? { ...options, pace: options.sustainedRate } : options;
    return { ...base, measure: kind, ...(await measureThroughput(place, servers, sources, processes, load)) };
  } finally {
    await place.close();
    open.delete(place);
  }
}

const open = new Set<Place>();

async function main(args: readonly string[]): Promise<void> {
  const options = parse(args);
  const { only } = options;
  if (only === PREVIEW) {
    const previews = await measurePreviews(PREVIEW_STACKS, PREVIEW_SIZES);
    const report = { version: 1, date: new Date().toISOString(), machine: machine(), previews };
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, undefined, 2)}\n`);
    process.stdout.write(`${renderPreviews(previews).join('\n')}\n`);
    return;
  }
  const redis = ensureRedisBinary({ log: say });
  if (options.profile !== undefined) mkdirSync(options.profile, { recursive: true });
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    process.once(
      signal,
      () => void Promise.all([...open].map((place) => place.close())).finally(() => process.exit(status)),
    );

  const runs: Run[] = [];
  const failures: Failure[] = [];
  for (let run = 1; run <= options.runs; run++)
    for (const kind of only)
      for (const system of ['meridian', ...(options.peer === undefined ? [] : ['redis-shake'])]) {
        // Only Meridian goes both ways.
        if ((kind === 'both-ways' || kind === 'sustained') && system !== 'meridian') continue;
        try {
          const result = await measure(kind, system, run, options, redis.path);
          runs.push(result);
          say(describeRun(result));
        } catch (error) {
          const text = error instanceof Error ? error.message : String(error);
          failures.push({ system, run, measure: kind, error: text });
          say(`${kind}, ${system}, run ${run}: ${text}`);
        }
      }

  const { peer: peerPath, json: _json, profile: _profile, ...settings } = options;
  const report: Report = {
    version: 1,
    date: new Date().toISOString(),
    machine: machine(),
    redis: { flavour: redis.flavour, version: redis.version },
    options: { ...settings, peer: peerPath === undefined ? null : 'redis-shake' },
    summary: summarise(runs),
    runs,
    failures,
  };
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, undefined, 2)}\n`);
  process.stdout.write(`${renderTables(report).join('\n')}\n`);
  if (failures.length > 0) process.exitCode = 1;
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const known = error instanceof RedisBinaryError;
  say(`bench: ${known ? error.message : error instanceof Error ? error.stack : String(error)}`);
  process.exitCode = 1;
});
