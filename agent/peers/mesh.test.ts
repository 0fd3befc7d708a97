import { connect as tlsConnect } from 'tls';
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'net';
import { randomBytes, X509Certificate } from 'crypto';
import {
  Client,
  credentials,
  Server as GrpcServer,
  ServerCredentials,
  type ClientDuplexStream,
  type ServerDuplexStream,
} from '@grpc/grpc-js';
import { deflateRawSync } from 'zlib';
import pino from 'pino';
import { decodeRecord, encodeRecord, peekRecord, RecordKind } from '../record';
import type { Beat } from './beat';
import { createCa, issueCertificate, type CertificateAuthority } from './certificates';
import { FRAME_BYTES } from './frame';
import { certificateName, PROTOCOL } from './hello';
import { PeerMesh } from './mesh';
import type { PeerAddress, PeerMeshOptions, RecordSource } from './options';
import { meshMethods, type Downward, type Ping, type Upward } from './proto';
import { REQUEST_BYTES_MAX } from './request';

const STACK = 'test';
const log = pino({ level: process.env['PEERS_LOG'] ?? 'silent' });

/** A journal in memory: what a mesh reads from and hands to. */
class Store implements RecordSource {
  readonly records = new Map<string, Buffer[]>();
  readonly #waiting = new Set<() => void>();
  /** Every record as it was handed on, to see that none came twice. */
  taken = 0;
  trimmed = new Map<string, number>();

  origins(): { origin: string; end: number }[] {
    return [...this.records.keys()].map((origin) => ({ origin, end: this.end(origin) }));
  }

  end(origin: string): number {
    const records = this.records.get(origin);
    return records?.length ? peekRecord(records[records.length - 1]!).end : -1;
  }

  append(record: Buffer): void {
    const { origin, start } = peekRecord(record);
    const records = this.records.get(origin);
    if (records) {
      if (start !== this.end(origin)) throw new Error(`${origin}: record at ${start} after ${this.end(origin)}`);
      records.push(record);
    } else this.records.set(origin, [record]);
    for (const wake of [...this.#waiting]) wake();
  }

  reader(origin: string, from: number) {
    const records = this.records.get(origin) ?? [];
    const first = this.trimmed.get(origin);
    if (first !== undefined && from < first) return { missing: true as const, firstStart: first };
    let at = 0;
    if (from >= 0) {
      // Records are in order: the first that ends after `from`.
      let high = records.length;
      while (at < high) {
        const middle = (at + high) >> 1;
        if (peekRecord(records[middle]!).end <= from) at = middle + 1;
        else high = middle;
      }
    }
    let closed = false;
    let wake: (() => void) | undefined;
    return {
      read: async (maxBytes: number) => {
        const out: Buffer[] = [];
        for (let bytes = 0; at < records.length && (bytes === 0 || bytes + records[at]!.length <= maxBytes); at++) {
          out.push(records[at]!);
          bytes += records[at]!.length;
        }
        return out;
      },
      wait: () =>
        new Promise<void>((resolve) => {
          if (closed || at < records.length) return resolve();
          const woken = (): void => {
            this.#waiting.delete(woken);
            resolve();
          };
          wake = woken;
          this.#waiting.add(woken);
        }),
      close: () => {
        closed = true;
        wake?.();
      },
    };
  }
}

/** One region's agent, as far as the mesh sees it. */
class Region {
  readonly store = new Store();
  readonly beats: { beat: Beat; endThen: number }[] = [];
  readonly missing: { origin: string; firstStart: number; from: string }[] = [];
  readonly acks = new Map<string, number>();
  mesh!: PeerMesh;
  port = 0;
  onRecords: PeerMeshOptions['onRecords'] | null = null;
  readonly #next = new Map<string, number>();

  constructor(readonly name: string) {}

  get origin(): string {
    return `${this.name}:0123456789abcdef`;
  }

  options(peers: PeerAddress[], tls: PeerMeshOptions['tls']): PeerMeshOptions {
    return {
      region: this.name,
      stack: STACK,
      meshVersion: 1,
      listen: { host: '127.0.0.1', port: this.port },
      peers,
      tls,
      source: this.store,
      have: (origin) => this.store.end(origin),
      durable: (origin) => this.store.end(origin),
      onRecords: (records, from) => {
        if (this.onRecords) return this.onRecords(records, from);
        return this.keep(records);
      },
      onBeat: (beat) => this.beats.push({ beat, endThen: this.store.end(beat.origin) }),
      onMissing: (origin, firstStart, from) => this.missing.push({ origin, firstStart, from }),
      onAck: (peer, durable) => {
        for (const [origin, position] of durable) this.acks.set(`${peer} ${origin}`, position);
      },
      handlers: {},
      compression: 'none',
      log,
      timing: { backoffMinMs: 20, backoffMaxMs: 200 },
    };
  }

  keep(records: Buffer[]): void {
    for (const record of records) this.store.append(record);
    this.store.taken += records.length;
    this.mesh.notify();
  }

  /** A local write of `payload`. */
  write(payload: Buffer, origin = this.origin): void {
    const start = this.#next.get(origin) ?? 100;
    if (!this.#next.has(origin)) this.store.append(record(origin, start, start, Buffer.alloc(0), RecordKind.birth));
    const end = start + payload.length;
    this.#next.set(origin, end);
    this.store.append(record(origin, start, end, payload));
    this.mesh.notify();
  }

  beat(position = this.store.end(this.origin)): void {
    this.mesh.publish({
      region: this.name,
      origin: this.origin,
      position,
      timeMs: Date.now(),
      stamp: Date.now() * 1000,
      reported: position - 1,
      seen: new Map([['x:1', 5]]),
      durable: new Map([['y:2', 6]]),
      paths: new Map([['x', ['y', 'x']]]),
    });
  }
}

function record(
  origin: string,
  start: number,
  end: number,
  payload: Buffer,
  kind: RecordKind = RecordKind.stream,
): Buffer {
  return encodeRecord({ kind, origin, start, end, stamp: end, ops: 1, db: 0, seen: new Map([['z:9', 1]]), payload });
}

/** A TCP proxy: a link that can be broken and healed. */
class Wire {
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  broken = false;
  /** Holds everything back, as a network that swallows packets does. */
  frozen = false;

  private constructor(private readonly target: () => number) {
    this.#server = createServer((socket) => {
      const port = this.target();
      if (this.broken || port === 0) return socket.destroy();
      const out = connect(port, '127.0.0.1');
      for (const one of [socket, out]) {
        this.#sockets.add(one);
        one.on('error', () => undefined);
        one.on('close', () => {
          this.#sockets.delete(one);
          socket.destroy();
          out.destroy();
        });
      }
      socket.on('data', (data) => this.frozen || out.write(data));
      out.on('data', (data) => this.frozen || socket.write(data));
      return undefined;
    });
  }

  static async create(target: () => number): Promise<Wire> {
    const wire = new Wire(target);
    await new Promise<void>((resolve) => wire.#server.listen(0, '127.0.0.1', resolve));
    return wire;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  break(): void {
    this.broken = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  heal(): void {
    this.broken = false;
  }

  async close(): Promise<void> {
    this.break();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function until(what: string, condition: () => boolean, ms = 15_000): Promise<void> {
  const end = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('mesh', () => {
  let ca: CertificateAuthority;
  const tls = new Map<string, PeerMeshOptions['tls']>();
  let meshes: PeerMesh[] = [];
  let wires: Wire[] = [];

  async function tlsOf(region: string, authority = ca, stack = STACK): Promise<PeerMeshOptions['tls']> {
    const issued = await issueCertificate(authority, { stack, region });
    return { ca: Buffer.from(issued.ca), cert: Buffer.from(issued.cert), key: Buffer.from(issued.key) };
  }

  beforeAll(async () => {
    ca = await createCa({ stack: STACK });
    for (const region of ['a', 'b', 'c', 'd']) tls.set(region, await tlsOf(region));
  });

  afterEach(async () => {
    await Promise.all(meshes.map((mesh) => mesh.stop()));
    await Promise.all(wires.map((wire) => wire.close()));
    meshes = [];
    wires = [];
  });

  function open(region: Region, peers: PeerAddress[], change: Partial<PeerMeshOptions> = {}): PeerMesh {
    const mesh = new PeerMesh({ ...region.options(peers, tls.get(region.name)!), ...change });
    region.mesh = mesh;
    meshes.push(mesh);
    return mesh;
  }

  /** Regions whose links all pass wires; `wire('a', 'b')` is the one that a dials to b. */
  async function build(
    names: string[],
    linked: (a: string, b: string) => boolean,
    change: Partial<PeerMeshOptions> = {},
  ) {
    const regions = new Map(names.map((name) => [name, new Region(name)]));
    const between = new Map<string, Wire>();
    for (const from of names)
      for (const to of names) {
        if (from === to || !linked(from, to)) continue;
        const wire = await Wire.create(() => regions.get(to)!.mesh?.port ?? 0);
        wires.push(wire);
        between.set(`${from} ${to}`, wire);
      }
    const region = (name: string): Region => regions.get(name)!;
    const wire = (from: string, to: string): Wire => between.get(`${from} ${to}`)!;
    const peersOf = (name: string): PeerAddress[] =>
      names
        .filter((to) => between.has(`${name} ${to}`))
        .map((to) => ({ region: to, host: '127.0.0.1', port: wire(name, to).port }));
    for (const one of regions.values()) await open(one, peersOf(one.name), change).start();
    return { regions: [...regions.values()], region, wire, peersOf };
  }

  const routes = (region: Region, peer: string): string[] =>
    region.mesh
      .links()
      .find((link) => link.peer === peer)!
      .routes.sort();

  function expectEqual(regions: Region[], origins = regions.map((region) => region.origin)): void {
    for (const origin of origins) {
      const [first, ...others] = regions.map(({ store }) => store.records.get(origin) ?? []);
      for (const other of others) {
        expect(other.length).toBe(first!.length);
        for (const [i, bytes] of other.entries())
          if (!bytes.equals(first![i]!)) throw new Error(`${origin} ${i} differs`);
      }
    }
  }

  const same = (regions: Region[], origins = regions.map((region) => region.origin)): boolean =>
    origins.every((origin) => new Set(regions.map(({ store }) => store.end(origin))).size === 1);

  const topologies: [string, string[], (a: string, b: string) => boolean][] = [
    ['full mesh', ['a', 'b', 'c'], () => true],
    ['ring of four', ['a', 'b', 'c', 'd'], (x, y) => [1, 3].includes(Math.abs(x.charCodeAt(0) - y.charCodeAt(0)))],
    ['star', ['a', 'b', 'c', 'd'], (x, y) => x === 'a' || y === 'a'],
  ];

  test.each(topologies)('%s: each record reaches each region once', async (_, names, linked) => {
    const { regions } = await build(names, linked);
    const writes = 300;
    for (let i = 0; i < writes; i++) {
      for (const region of regions) region.write(randomBytes(1 + (i % 200)));
      if (i % 50 === 0) await sleep(5);
    }
    await until('all have all', () => regions.every((one) => one.store.records.size === names.length) && same(regions));
    expectEqual(regions);
    for (const region of regions) {
      // The store refuses whatever does not follow, so none came twice; and hardly any was even sent twice.
      expect(region.store.taken).toBe((writes + 1) * (names.length - 1));
      const duplicates = region.mesh.links().reduce((sum, link) => sum + link.duplicateRecords, 0);
      expect(duplicates).toBeLessThan(writes / 2);
    }
    const sent = regions.flatMap(({ mesh }) => mesh.links()).reduce((sum, link) => sum + link.sentRecords, 0);
    expect(sent).toBeLessThan((writes + 1) * names.length * (names.length - 1) * 1.2);
  });

  test('a broken link is relayed round, and used again when it is healed', async () => {
    const { regions, region, wire } = await build(['a', 'b', 'c'], () => true);
    const [a, b, c] = [region('a'), region('b'), region('c')];
    a.write(Buffer.from('one'));
    await until('direct', () => same(regions, [a.origin]) && routes(b, 'a').includes('a'));
    expect(routes(b, 'c')).toEqual(['c']);

    wire('b', 'a').break();
    a.write(Buffer.from('two'));
    await until('relayed', () => same([a, b, c], [a.origin]));
    expect(routes(b, 'c')).toEqual(['a', 'c']);
    expect(b.mesh.links().find((link) => link.peer === 'a')).toMatchObject({
      state: 'down',
      serving: true,
      error: { code: 'unavailable' },
    });

    wire('b', 'a').heal();
    await until('direct again', () => routes(b, 'a').includes('a'));
    a.write(Buffer.from('three'));
    await until('all', () => same(regions, [a.origin]));
    expectEqual(regions);
    expect(b.store.taken).toBe(4);
  });

  test('links that break and heal at random under load lose nothing and double nothing', async () => {
    const { regions, wire } = await build(['a', 'b', 'c'], () => true);
    let writing = true;
    const load = (async () => {
      while (writing) {
        for (const region of regions) region.write(randomBytes(100));
        await sleep(1);
      }
    })();
    for (let round = 0; round < 12; round++) {
      const [from, to] = ['ab', 'bc', 'ca', 'ba', 'cb', 'ac'][Math.floor(Math.random() * 6)]!.split('');
      wire(from!, to!).break();
      await sleep(100);
      wire(from!, to!).heal();
      await sleep(50);
    }
    writing = false;
    await load;
    await until('all', () => regions.every(({ store }) => store.records.size === 3) && same(regions));
    expectEqual(regions);
  });

  test('what a dead region sent to one region reaches all', async () => {
    const { region, wire } = await build(['a', 'b', 'c'], () => true);
    const [a, b, c] = [region('a'), region('b'), region('c')];
    a.write(Buffer.from('one'));
    await until('one', () => same([a, b, c], [a.origin]));
    // c is cut off; a writes to b and dies.
    for (const [from, to] of ['ca', 'cb', 'ac', 'bc'].map((pair) => pair.split(''))) wire(from!, to!).break();
    await until('cut off', () => c.mesh.links().every(({ state }) => state === 'down'));
    a.write(Buffer.from('two'));
    await until('two', () => same([a, b], [a.origin]));
    await a.mesh.stop();
    for (const pair of ['cb', 'bc']) wire(pair[0]!, pair[1]!).heal();
    await until('c has it', () => same([a, b, c], [a.origin]));
    expect(routes(c, 'b')).toEqual(['b']);
  });

  test('other certificates, and another authority, go for new connections; links that are up stay, and nothing is lost', async () => {
    const { regions, region, wire } = await build(['a', 'b'], () => true);
    const [a, b] = [region('a'), region('b')];
    const shown = (at: Region, as: PeerMeshOptions['tls']): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = tlsConnect({ port: at.mesh.port, host: '127.0.0.1', ...as, servername: 'localhost' }, () => {
          resolve(socket.getPeerX509Certificate()!.serialNumber);
          socket.destroy();
        });
        socket.once('error', reject);
      });
    const serial = ({ cert }: PeerMeshOptions['tls']): string => new X509Certificate(cert).serialNumber;
    const states = (): string[] => regions.flatMap(({ mesh }) => mesh.links().map(({ state }) => state));
    const isUp = (): boolean => states().every((state) => state === 'up');
    const wires = [wire('a', 'b'), wire('b', 'a')];
    await until('up', isUp);
    const old = tls.get('a')!;
    expect(await shown(a, old)).toBe(serial(old));

    // Both authorities are trusted for a while, as where one replaces the other.
    const authority = await createCa({ stack: STACK });
    const both = Buffer.from(`${ca.cert}\n${authority.cert}`);
    const [youngA, youngB] = [await tlsOf('a', authority), await tlsOf('b', authority)];
    const since = regions.map(({ mesh }) => mesh.links()[0]!.since);
    a.mesh.renew({ ...youngA, ca: both });
    b.mesh.renew({ ...youngB, ca: both });
    expect(await shown(a, { ...old, ca: both })).toBe(serial(youngA));
    expect(await shown(b, { ...old, ca: both })).toBe(serial(youngB));
    a.write(Buffer.from('by the link that was up'));
    await until('it goes on', () => same([a, b], [a.origin]));
    expect(regions.map(({ mesh }) => mesh.links()[0]!.since)).toEqual(since);

    // Whom only the old authority knows is refused now, at both ends: what is up then is so by the new certificates.
    a.mesh.renew(youngA);
    b.mesh.renew(youngB);
    b.write(Buffer.from('before'));
    for (const one of wires) one.break();
    await until('down', () => states().every((state) => state !== 'up'));
    a.write(Buffer.from('while they were down'));
    for (const one of wires) one.heal();
    await until('up again', isUp);
    await until('all', () => same(regions));
    expectEqual(regions);
    expect(await shown(a, youngB)).toBe(serial(youngA));
  });

  test('a mesh that starts again goes on at its position', async () => {
    const { regions, region, peersOf } = await build(['a', 'b'], () => true);
    const [a, b] = [region('a'), region('b')];
    for (let i = 0; i < 100; i++) a.write(randomBytes(50));
    await until('all', () => same([a, b], [a.origin]));
    b.port = b.mesh.port;
    await b.mesh.stop();
    for (let i = 0; i < 100; i++) a.write(randomBytes(50));
    await open(b, peersOf('b')).start();
    await until('all again', () => same(regions, [a.origin]));
    expectEqual(regions, [a.origin]);
    expect(b.mesh.links()[0]).toMatchObject({ receivedRecords: 100, duplicateRecords: 0, state: 'up' });
    b.write(Buffer.from('back'));
    await until('the other way', () => same(regions, [b.origin]));
  });

  test('beats come after their records, also by a relay, and acknowledgements go back', async () => {
    const { region } = await build(['a', 'b', 'c'], (x, y) => x === 'b' || y === 'b');
    const [a, b, c] = [region('a'), region('b'), region('c')];
    for (let i = 0; i < 50; i++) {
      a.write(randomBytes(1000));
      a.beat();
      await sleep(1);
    }
    a.beat(a.store.end(a.origin) + 40); // an idle stream's positions pass on without records
    const final = a.store.end(a.origin) + 40;
    for (const one of [b, c]) {
      await until('last beat', () => one.beats[one.beats.length - 1]?.beat.position === final);
      for (const { beat, endThen } of one.beats)
        expect(endThen).toBeGreaterThanOrEqual(Math.min(beat.position, a.store.end(a.origin)));
      const positions = one.beats.map(({ beat }) => beat.position);
      expect(positions).toEqual([...positions].sort((x, y) => x - y));
      expect(one.beats[0]!.beat).toMatchObject({
        region: 'a',
        seen: new Map([['x:1', 5]]),
        durable: new Map([['y:2', 6]]),
        paths: new Map([['x', ['y', 'x']]]),
      });
    }
    const end = a.store.end(a.origin);
    await until('acknowledged', () => a.acks.get(`b ${a.origin}`) === end && b.acks.get(`c ${a.origin}`) === end);
    expect(a.mesh.links()[0]).toMatchObject({ pendingBytes: 0, sentRecords: 51 });
  });

  test('latency of single records', async () => {
    const { region } = await build(['a', 'b'], () => true);
    const [a, b] = [region('a'), region('b')];
    a.write(Buffer.from('first'));
    await until('up', () => same([a, b], [a.origin]));
    const lags: number[] = [];
    for (let i = 0; i < 300; i++) {
      const arrived = new Promise<void>((resolve) => {
        b.onRecords = (records) => {
          b.keep(records);
          resolve();
        };
      });
      const at = performance.now();
      a.write(randomBytes(64));
      await arrived;
      lags.push(performance.now() - at);
      await sleep(2);
    }
    lags.sort((x, y) => x - y);
    const p = (q: number): number => lags[Math.floor(lags.length * q)]!;
    if (process.env['PEERS_FIGURES']) console.log(`latency p50 ${p(0.5).toFixed(2)} ms, p99 ${p(0.99).toFixed(2)} ms`);
    expect(p(0.5)).toBeLessThan(10);
  });

  test('a 64 MB record, and throughput', async () => {
    const { region } = await build(['a', 'b'], () => true);
    const [a, b] = [region('a'), region('b')];
    a.write(Buffer.from('first'));
    await until('up', () => same([a, b], [a.origin]));
    const big = randomBytes(64 * 1024 * 1024);
    let at = performance.now();
    a.write(big);
    await until('big', () => same([a, b], [a.origin]), 60_000);
    const bigMs = performance.now() - at;
    const last = b.store.records.get(a.origin)!.at(-1)!;
    expect(decodeRecord(last).payload.equals(big)).toBe(true);

    const payload = randomBytes(64 * 1024);
    const cpu = process.cpuUsage();
    at = performance.now();
    const mb = 128;
    for (let i = 0; i < mb * 16; i++) a.write(payload);
    await until('all', () => same([a, b], [a.origin]), 60_000);
    const ms = performance.now() - at;
    const used = process.cpuUsage(cpu);
    if (process.env['PEERS_FIGURES'])
      console.log(
        `64 MB record in ${bigMs.toFixed(0)} ms; 64 KB records: ${((mb / ms) * 1000).toFixed(0)} MB/s, ` +
          `CPU ${((used.user + used.system) / 1000 / mb).toFixed(2)} ms/MB for both ends, one process`,
      );
  }, 120_000);

  test('a slow consumer costs no memory on either side', async () => {
    const { region } = await build(['a', 'b'], () => true);
    const [a, b] = [region('a'), region('b')];
    a.write(Buffer.from('first'));
    await until('up', () => same([a, b], [a.origin]));
    let release: () => void = () => undefined;
    let handed = 0;
    const gate = new Promise<void>((resolve) => (release = resolve));
    b.onRecords = async (records) => {
      handed++;
      await gate;
      b.keep(records);
    };
    const payload = randomBytes(64 * 1024);
    for (let i = 0; i < 16 * 128; i++) a.write(payload);
    await sleep(1500);
    const before = process.memoryUsage();
    await sleep(500);
    expect(handed).toBe(1);
    const status = a.mesh.links()[0]!;
    expect(status.sentBytes).toBeLessThan(64 * 1024 * 1024);
    expect(status.pendingBytes).toBeGreaterThan(64 * 1024 * 1024);
    expect(status).toMatchObject({ state: 'up', serving: true });
    expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(16 * 1024 * 1024);
    release();
    await until('all', () => same([a, b], [a.origin]), 60_000);
  }, 120_000);

  test('a held-back link stays up, a frozen one goes down', async () => {
    const timing = { pingMs: 50, deadMs: 400, backoffMinMs: 20, backoffMaxMs: 100 };
    const { region, wire } = await build(['a', 'b'], () => true, { timing });
    const [a, b] = [region('a'), region('b')];
    a.write(Buffer.from('first'));
    await until('up', () => same([a, b], [a.origin]));
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    b.onRecords = async (records) => {
      await gate;
      b.keep(records);
    };
    for (let i = 0; i < 64; i++) a.write(randomBytes(1024 * 1024));
    await sleep(1000);
    expect(b.mesh.links()[0]!.state).toBe('up');
    await until('a pong', () => (b.mesh.links()[0]!.rttMs ?? 0) > 0);
    release();
    b.onRecords = null;
    await until('all', () => same([a, b], [a.origin]));
    wire('b', 'a').frozen = true;
    await until('down', () => b.mesh.links()[0]!.error?.code === 'timeout');
    await until('gone', () => !a.mesh.links()[0]!.serving);
    wire('b', 'a').frozen = false;
    wire('b', 'a').break();
    wire('b', 'a').heal();
    a.write(Buffer.from('again'));
    await until('again', () => same([a, b], [a.origin]));
  });

  test.each(['auto', 'deflate'] as const)('compression %s', async (compression) => {
    const { region } = await build(['a', 'b'], () => true, { compression });
    const [a, b] = [region('a'), region('b')];
    for (let i = 0; i < 100; i++) a.write(i % 2 ? Buffer.alloc(20_000, `text ${i} `) : randomBytes(3000));
    a.write(Buffer.alloc(3_000_000, 'big '));
    await until('all', () => same([a, b], [a.origin]));
    expectEqual([a, b], [a.origin]);
    const { sentBytes, sentWireBytes } = a.mesh.links()[0]!;
    if (compression === 'deflate') expect(sentWireBytes).toBeLessThan(sentBytes / 2);
    else expect(sentWireBytes).toBe(sentBytes);
  });

  test('what was trimmed away is told, and gone on with after a snapshot', async () => {
    const { region } = await build(['a', 'b'], () => true);
    const [a, b] = [region('a'), region('b')];
    a.store.trimmed.set(a.origin, 150);
    for (let i = 0; i < 10; i++) a.write(Buffer.alloc(10));
    await until('told', () => b.missing.length === 1);
    expect(b.missing[0]).toEqual({ origin: a.origin, firstStart: 150, from: 'a' });
    b.store.append(record(a.origin, 100, 150, Buffer.alloc(50), RecordKind.birth)); // stands for the snapshot
    b.mesh.refresh();
    await until('all', () => same([a, b], [a.origin]));
    expect(b.missing.length).toBe(1);
  });

  test('a consumer that fails gets the records again', async () => {
    const { region } = await build(['a', 'b'], () => true);
    const [a, b] = [region('a'), region('b')];
    let failures = 0;
    b.onRecords = async (records) => {
      if (failures++ < 2) throw new Error('disk full');
      b.keep(records);
    };
    a.write(Buffer.from('one'));
    await until('all', () => b.store.end(a.origin) === a.store.end(a.origin));
    expect(b.mesh.links()[0]!.errors.consumer).toBe(2);
  });

  test('requests: one item, many, big ones, errors', async () => {
    const one = new Region('a');
    const two = new Region('b');
    await open(one, [], {
      handlers: {
        echo: async (payload, from) => Buffer.concat([Buffer.from(`${from} `), payload]),
        fail: async () => {
          throw new Error('no such key');
        },
        hang: () => new Promise(() => undefined),
        count: async function* (payload) {
          for (let i = 0; i < Number(payload.toString()); i++) yield Buffer.from(String(i));
        },
        big: async function* () {
          for (let i = 0; i < 3; i++) yield Buffer.alloc(3_000_000, i);
          yield Buffer.alloc(0);
        },
      },
    }).start();
    await open(two, [{ region: 'a', host: '127.0.0.1', port: one.mesh.port }]).start();
    await expect(two.mesh.request('a', 'echo', Buffer.from('x'))).rejects.toMatchObject({ code: 'not-connected' });
    await expect(two.mesh.request('c', 'echo', Buffer.from('x'))).rejects.toMatchObject({ code: 'not-connected' });
    await until('up', () => two.mesh.links()[0]!.state === 'up');
    expect((await two.mesh.request('a', 'echo', Buffer.from('hi'))).toString()).toBe('b hi');
    const big = randomBytes(5_000_000);
    expect((await two.mesh.request('a', 'echo', big)).subarray(2).equals(big)).toBe(true);
    await expect(two.mesh.request('a', 'none', Buffer.alloc(0))).rejects.toMatchObject({ code: 'unknown-request' });
    await expect(two.mesh.request('a', 'toString', Buffer.alloc(0))).rejects.toMatchObject({ code: 'unknown-request' });
    await expect(two.mesh.request('a', 'fail', Buffer.alloc(0))).rejects.toMatchObject({
      code: 'request',
      message: 'no such key',
    });
    await expect(two.mesh.request('a', 'hang', Buffer.alloc(0), { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'timeout',
    });
    const items: string[] = [];
    for await (const item of two.mesh.requestStream('a', 'count', Buffer.from('1000'))) items.push(item.toString());
    expect(items).toEqual(Array.from({ length: 1000 }, (_, i) => String(i)));
    const sizes: number[] = [];
    for await (const item of two.mesh.requestStream('a', 'big', Buffer.alloc(0))) sizes.push(item.length);
    expect(sizes).toEqual([3_000_000, 3_000_000, 3_000_000, 0]);
    const hanging = two.mesh.request('a', 'hang', Buffer.alloc(0));
    const ended = expect(hanging).rejects.toMatchObject({ name: 'PeerError' });
    await one.mesh.stop();
    await ended;
  });

  test("what a region's requests hold at a time is bounded, and given back", async () => {
    const one = new Region('a');
    const two = new Region('b');
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    let taken = 0;
    const take = async (): Promise<Buffer> => {
      taken++;
      await released;
      return Buffer.alloc(0);
    };
    await open(one, [], { handlers: { take } }).start();
    await open(two, [{ region: 'a', host: '127.0.0.1', port: one.mesh.port }]).start();
    await until('up', () => two.mesh.links()[0]!.state === 'up');
    const large = Buffer.alloc(REQUEST_BYTES_MAX);
    const held = [two.mesh.request('a', 'take', large), two.mesh.request('a', 'take', large)];
    await until('taken', () => taken === 2);
    await expect(two.mesh.request('a', 'take', large)).rejects.toMatchObject({ code: 'flood' });
    await expect(two.mesh.request('a', 'take', Buffer.alloc(1))).rejects.toMatchObject({ code: 'flood' });
    release();
    await Promise.all(held);
    await two.mesh.request('a', 'take', large);
    expect(taken).toBe(3);
  });

  describe('who is not let in', () => {
    async function refused(peerTls: PeerMeshOptions['tls'], change: Partial<PeerMeshOptions>, peerName = 'b') {
      const a = new Region('a');
      const b = new Region(peerName);
      await open(b, [], { tls: peerTls, ...change }).start();
      await open(a, [{ region: 'b', host: '127.0.0.1', port: b.mesh.port }]).start();
      await until('refused', () => a.mesh.links()[0]!.error !== undefined);
      return a.mesh.links()[0]!;
    }

    test('a certificate of another CA', async () => {
      const link = await refused(await tlsOf('b', await createCa({ stack: STACK })), {});
      expect(link).toMatchObject({ state: 'down', error: { code: 'identity' } });
    });

    test('another region', async () => {
      const link = await refused(tls.get('c')!, {}, 'c');
      expect(link.error!.code).toBe('identity');
      expect(link.error!.message).toMatch(/region c, expected b/);
    });

    test('another stack', async () => {
      const link = await refused(await tlsOf('b', ca, 'other'), { stack: 'other' });
      expect(link.error!.code).toBe('identity');
    });

    test('another version', async () => {
      const link = await refused(tls.get('b')!, { meshVersion: 2 });
      expect(link.error).toEqual({ code: 'protocol', message: 'peer has mesh version 1, this agent 2' });
    });

    test('a Hello that its certificate does not prove', async () => {
      const a = new Region('a');
      await open(a, []).start();
      const { call, ended } = dial(a.mesh.port, tls.get('b')!, 'a');
      call.write({
        hello: {
          protocol: PROTOCOL,
          meshVersion: 1,
          stack: STACK,
          region: 'c',
          instance: 'i',
          policies: '',
          slots: '',
        },
      });
      expect((await ended).details).toMatch(/^\[identity\]/);
      expect(a.mesh.links().find(({ peer }) => peer === 'b')).toMatchObject({ errors: { identity: 1 }, state: 'down' });
    });

    test('no client certificate', async () => {
      const a = new Region('a');
      await open(a, []).start();
      const socket = tlsConnect({
        port: a.mesh.port,
        host: '127.0.0.1',
        ca: tls.get('a')!.ca,
        servername: certificateName('a', STACK),
        ALPNProtocols: ['h2'],
      });
      const ended = await new Promise<string>((resolve) => {
        socket.on('error', ({ message }) => resolve(message));
        socket.on('close', () => resolve('closed'));
        socket.on('data', () => undefined);
      });
      expect(ended).toMatch(/closed|reset|alert|required/i);
    });
  });

  /** A peer that says what it likes. */
  function dial(port: number, { ca: root, cert, key }: PeerMeshOptions['tls'], region: string) {
    const client = new Client(`127.0.0.1:${port}`, credentials.createSsl(root, key, cert), {
      'grpc.ssl_target_name_override': certificateName(region, STACK),
      'grpc.use_local_subchannel_pool': 1,
    });
    const { path, requestSerialize, responseDeserialize } = meshMethods().Follow;
    const call: ClientDuplexStream<Upward, Downward> = client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
    );
    const received: Downward[] = [];
    call.on('data', (message: Downward) => received.push(message));
    const ended = new Promise<{ code: number; details: string }>((resolve) => {
      call.on('error', (error) => resolve(error as unknown as { code: number; details: string }));
      call.on('end', () => client.close());
    });
    return { call, ended, received };
  }

  test('garbage from a receiver ends its stream with a reason', async () => {
    const a = new Region('a');
    await open(a, [], { timing: { pingMs: 100, deadMs: 20_000 } }).start();
    a.write(Buffer.from('x'));
    const hello = {
      hello: { protocol: PROTOCOL, meshVersion: 1, stack: STACK, region: 'b', instance: 'i', policies: '', slots: '' },
    };
    const bad: [Upward, RegExp][] = [
      [{}, /malformed/],
      [{ subscribe: { id: 1, origin: a.origin, from: NaN } }, /malformed/],
      [{ subscribe: { id: 1, origin: 'x'.repeat(5000), from: -1 } }, /malformed/],
      [{ ack: { progress: [{ origin: 'x', have: Infinity, durable: 1 }] } }, /malformed/],
    ];
    for (const [message, reason] of bad) {
      const { call, ended } = dial(a.mesh.port, tls.get('b')!, 'a');
      call.write(hello);
      call.write(message);
      expect((await ended).details).toMatch(reason);
    }
    const first = dial(a.mesh.port, tls.get('b')!, 'a');
    first.call.write({ subscribe: { id: 1, origin: 'x', from: -1 } });
    expect((await first.ended).details).toMatch(/malformed.*Hello/);
    const flood = dial(a.mesh.port, tls.get('b')!, 'a');
    flood.call.write(hello);
    for (let i = 0; i < 25_000; i++) flood.call.write({ unsubscribe: { id: i } });
    expect((await flood.ended).details).toMatch(/flood/);
    const status = a.mesh.links().find(({ peer }) => peer === 'b')!;
    expect(status.errors).toMatchObject({ malformed: 5, flood: 1 });
    // And a good one is served as ever.
    const good = dial(a.mesh.port, tls.get('b')!, 'a');
    good.call.write(hello);
    good.call.write({ subscribe: { id: 1, origin: a.origin, from: -1 } });
    await until('served', () => good.received.some(({ frame }) => frame));
    good.call.cancel();
  });

  test('a receiver that says nothing more is given up', async () => {
    const a = new Region('a');
    await open(a, [], { timing: { pingMs: 50, deadMs: 300, helloMs: 300 } }).start();
    const mute = dial(a.mesh.port, tls.get('b')!, 'a');
    const silent = dial(a.mesh.port, tls.get('b')!, 'a');
    silent.call.write({
      hello: { protocol: PROTOCOL, meshVersion: 1, stack: STACK, region: 'b', instance: 'i', policies: '', slots: '' },
    });
    expect((await silent.ended).details).toMatch(/timeout.*no ping/);
    expect((await mute.ended).details).toMatch(/timeout.*no Hello/);
  });

  describe('garbage from a sender', () => {
    const origin = 'b:0123456789abcdef';
    const birth = record(origin, 100, 100, Buffer.alloc(0), RecordKind.birth);
    const first = record(origin, 100, 200, Buffer.alloc(100));
    const second = record(origin, 200, 300, Buffer.alloc(100));
    const flipped = Buffer.from(first);
    flipped[flipped.length - 1]! ^= 1;
    const big = record(origin, 100, 600_100, randomBytes(600_000));
    const wrongBig = Buffer.from(big);
    wrongBig[555_555]! ^= 1;
    const bomb = deflateRawSync(Buffer.alloc(50_000_000));
    const frame = (payload: Buffer, inflated = 0, subscription = 1): Downward => ({
      frame: { subscription, payload, inflated },
    });
    const chunk = (payload: Buffer, offset: number, total: number): Downward => ({
      chunk: { subscription: 1, payload, offset, total, inflated: 0 },
    });
    const beat = {
      subscription: 1,
      region: 'b',
      origin,
      position: 150,
      after: 100,
      timeMs: 1,
      stamp: 1,
      seen: [],
      durable: [],
      paths: [],
      behind: 0,
    };
    const path = (...route: string[]): Downward => ({
      offer: { holdings: [], routes: [{ region: 'c', path: route }] },
    });

    const cases: [string, string, Downward[]][] = [
      ['a flipped bit', 'record', [frame(birth), frame(flipped)]],
      ['half a record', 'malformed', [frame(first.subarray(0, 50))]],
      ['an empty frame', 'malformed', [frame(Buffer.alloc(0))]],
      ['zeros', 'malformed', [frame(Buffer.alloc(1000))]],
      ['noise', 'malformed', [frame(Buffer.alloc(1000, 0xfe))]],
      ['a record of another origin', 'malformed', [frame(record('c:1', 0, 0, Buffer.alloc(0), RecordKind.birth))]],
      ['a step back', 'regression', [frame(birth), frame(first), frame(second), frame(first)]],
      ['a gap, twice', 'gap', [frame(birth), frame(second), frame(second, 0, 2)]],
      ['no beginning, twice', 'gap', [frame(second), frame(second, 0, 2)]],
      ['a frame of nothing subscribed', 'malformed', [frame(birth, 0, 7)]],
      ['a frame too big', 'flood', [frame(Buffer.alloc(FRAME_BYTES + 1))]],
      ['a bomb that says so', 'flood', [frame(bomb, 50_000_000)]],
      ['a bomb that does not', 'malformed', [frame(bomb, 1000)]],
      ['a record too big', 'flood', [chunk(Buffer.alloc(1000), 0, 2 ** 31)]],
      ['a chunk from the middle', 'malformed', [chunk(big.subarray(0, 1000), 1000, big.length)]],
      [
        'a hole between chunks',
        'malformed',
        [chunk(big.subarray(0, 9), 0, big.length), chunk(big.subarray(10, 20), 10, big.length)],
      ],
      ['a frame between chunks', 'malformed', [chunk(big.subarray(0, 1000), 0, big.length), frame(birth)]],
      [
        'a flipped bit in a big record',
        'record',
        [
          frame(birth),
          chunk(wrongBig.subarray(0, 500_000), 0, big.length),
          chunk(wrongBig.subarray(500_000), 500_000, big.length),
        ],
      ],
      ['a beat before its records', 'malformed', [{ beat }]],
      ['a beat of another region', 'malformed', [frame(birth), { beat: { ...beat, region: 'c' } }]],
      ['a beat of no time', 'malformed', [frame(birth), { beat: { ...beat, timeMs: NaN } }]],
      ['a path that begins elsewhere', 'malformed', [path('c')]],
      ['a path in a circle', 'malformed', [path('b', 'd', 'b', 'c')]],
      ['a path to elsewhere', 'malformed', [path('b', 'd')]],
      ['a message of no kind', 'malformed', [{}]],
      [
        'a second Hello',
        'malformed',
        [
          {
            hello: {
              protocol: PROTOCOL,
              meshVersion: 1,
              stack: STACK,
              region: 'b',
              instance: '',
              policies: '',
              slots: '',
            },
          },
        ],
      ],
      ['missing up to nowhere', 'malformed', [{ missing: { subscription: 1, firstStart: Infinity } }]],
    ];

    test.each(cases)('%s: %s', async (_, code, messages) => {
      const { ca: root, cert, key } = tls.get('b')!;
      const server = new GrpcServer();
      server.addService(meshMethods(), {
        Pulse: (call: ServerDuplexStream<Ping, Ping>) => call.on('data', (ping) => call.write(ping)),
        Ask: () => undefined,
        Follow: (call: ServerDuplexStream<Upward, Downward>) => {
          call.on('error', () => undefined);
          call.on('data', (message: Upward) => {
            if (message.hello) {
              call.write({ hello: { ...message.hello, region: 'b' } });
              call.write({ offer: { holdings: [{ origin, end: 1e9 }], routes: [{ region: 'b', path: ['b'] }] } });
            }
            if (message.subscribe?.id === 1) for (const one of messages) call.write(one);
          });
        },
      });
      const port = await new Promise<number>((resolve, reject) =>
        server.bindAsync(
          '127.0.0.1:0',
          ServerCredentials.createSsl(root, [{ cert_chain: cert, private_key: key }], true),
          (error, bound) => (error ? reject(error) : resolve(bound)),
        ),
      );
      try {
        const a = new Region('a');
        const timing = { backoffMinMs: 60_000, backoffMaxMs: 60_000 };
        await open(a, [{ region: 'b', host: '127.0.0.1', port }], { timing }).start();
        await until('reset', () => a.mesh.links()[0]!.state === 'down' && a.mesh.links()[0]!.error !== undefined);
        expect(a.mesh.links()[0]!).toMatchObject({ error: { code }, errors: { [code]: 1 } });
        expect(a.store.end(origin)).toBeLessThanOrEqual(300);
        expect(a.beats).toEqual([]);
      } finally {
        server.forceShutdown();
      }
    });
  });
});
