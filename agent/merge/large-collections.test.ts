import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type OpRecord, RecordKind } from '../record';
import { CommandWriter } from '../resp';
import { DiskShelf } from '../session/shelf-files';
import { Batch } from './batch';
import { MergeCore } from './core';

// Regions a and b, in touch, and c, which is away, write the same large set, hash or sorted set, far more than a window may hold in memory. More of it:
//
//     MERIDIAN_LARGE_MEMBERS=1000000 MERIDIAN_LARGE_WINDOW_KIB=8192 npx jest agent/merge/large-collections --testTimeout 600000
//
// prints what it took: in all, the longest step in which nothing else could be done, and memory.

const members = Number(process.env['MERIDIAN_LARGE_MEMBERS'] ?? 4000);
const budgetBytes = Number(process.env['MERIDIAN_LARGE_WINDOW_KIB'] ?? 128) * 1024;
const isMeasured = process.env['MERIDIAN_LARGE_MEMBERS'] !== undefined;
const PER_RECORD = 500;
const PER_COMMAND = 10;

let dir: string;
beforeAll(() => (dir = mkdtempSync(path.join(tmpdir(), 'shelf-'))));
afterAll(() => rmSync(dir, { recursive: true }));

type Region = 'a' | 'b' | 'c';
const REGIONS = ['a', 'b', 'c'] as const;

/** One region's core, and what it is told. */
class Meeting {
  readonly core: MergeCore;
  private readonly ends: Record<Region, number> = { a: 0, b: 0, c: 0 };
  private stamp = 1;
  private longestMs = 0;
  private since = performance.now();
  peakLoad = 0;

  constructor(private readonly region: Region) {
    const files = new DiskShelf(dir, (error) => expect(error).toBeUndefined());
    this.core = new MergeCore({ region, members: REGIONS, shelf: { files, budgetBytes } });
    for (const name of REGIONS) this.core.assume(`${name}:1`, 0);
  }

  step(what: () => void): void {
    const from = performance.now();
    what();
    this.longestMs = Math.max(this.longestMs, performance.now() - from);
    this.peakLoad = Math.max(this.peakLoad, this.core.window.load);
  }

  write(by: Region, seen: readonly Region[], commands: (out: CommandWriter) => void): void {
    const out = new CommandWriter(64 * 1024);
    commands(out);
    const payload = Buffer.from(out.view());
    const start = this.ends[by];
    const end = (this.ends[by] += payload.length);
    const record: OpRecord = {
      ...{ kind: RecordKind.stream, origin: `${by}:1`, start, end, stamp: this.stamp, ops: out.commands, db: 0 },
      ...{ seen: new Map(seen.map((name) => [`${name}:1`, this.ends[name]])), payload },
    };
    this.stamp += out.commands;
    if (by !== this.region) for (let isReady = false; !isReady;) this.step(() => (isReady = this.core.prepare(record)));
    this.step(() => {
      if (by === this.region) return this.core.local(record);
      const batch = new Batch();
      this.core.plan(record, batch);
      batch.finish();
      batch.release();
    });
  }

  /** All have seen all. */
  agree(): void {
    const { core, ends } = this;
    const seen = core.origins.toSeen(new Map(REGIONS.map((name) => [`${name}:1`, ends[name]])));
    for (const name of REGIONS) this.step(() => core.report(name, seen, { origin: `${name}:1`, position: ends[name] }));
  }

  say(what: string): void {
    const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
    const seconds = (performance.now() - this.since) / 1000;
    const { bytes, reads } = this.core.window.shelved;
    const { heapUsed, rss } = process.memoryUsage();
    if (isMeasured)
      process.stdout.write(
        `${what}: ${seconds.toFixed(1)} s, longest step ${this.longestMs.toFixed(0)} ms, window ${mib(this.peakLoad)} MiB at most, ` +
          `heap ${mib(heapUsed)}, resident ${mib(rss)}; on disk ${mib(bytes)} MiB, ${reads} reads\n`,
      );
    this.longestMs = 0;
    this.since = performance.now();
  }
}

const kinds = {
  set: (out: CommandWriter, names: string[]) => out.command(['SADD', 'large', ...names]),
  hash: (out: CommandWriter, names: string[], by: Region) =>
    out.command(['HSET', 'large', ...names.flatMap((name) => [name, by])]),
  zset: (out: CommandWriter, names: string[], by: Region) =>
    out.command(['ZADD', 'large', ...names.flatMap((name) => [by.charCodeAt(0), name])]),
};

describe.each(Object.keys(kinds) as (keyof typeof kinds)[])('a large %s', (kind) => {
  test.each<Region>(['a', 'c'])('keeps to the budget in region %s', (region) => {
    const meeting = new Meeting(region);
    const write = (by: Region, seen: readonly Region[], from: number): void =>
      meeting.write(by, seen, (out) => {
        for (let i = from; i < from + PER_RECORD; i += PER_COMMAND) {
          const names = Array.from({ length: PER_COMMAND }, (_, j) => `member:${((i + j) * 7919) % members}`);
          kinds[kind](out, names, by);
        }
      });
    const inTouch = (): void => {
      for (let i = 0; i < members; i += PER_RECORD) {
        write('a', i === 0 ? [] : ['b'], i);
        write('b', ['a'], members - PER_RECORD - i);
      }
      meeting.say(`${kind}, in region ${region}: a and b`);
    };
    const away = (): void => {
      for (let i = 0; i < members; i += PER_RECORD) write('c', [], i);
      meeting.say(`${kind}, in region ${region}: c`);
    };
    if (region === 'a') {
      inTouch();
      away();
    } else {
      away();
      inTouch();
    }
    expect(meeting.peakLoad).toBeLessThan(budgetBytes * 1.5 + PER_RECORD * 1000);
    meeting.agree();
    meeting.say(`${kind}, in region ${region}: all seen by all`);
    const { core } = meeting;
    expect([core.operations, core.window.keys, core.window.shelved.bytes]).toEqual([0, 0, 0]);
  });
});
