import * as fc from 'fast-check';
import { parseInfo, parseRole } from '../../agent/capture';
import { AgentConfigError, parseAgentConfig } from '../../agent/config';
import { parseStackConfig } from '../../model';
import { formatVector, parseVector } from '../../agent/vector';
import { cases, damage, damaged, fuzzMs } from './bytes';
import { type Corpus, readCorpus } from './corpus';

let corpus: Corpus;
beforeAll(async () => {
  corpus = await readCorpus();
});

test(
  'INFO, damaged: a role or none',
  () => {
    expect(parseRole(corpus.info)).toMatchObject({ role: 'primary' });
    fc.assert(
      fc.property(damage, (changes) => {
        const text = damaged(Buffer.from(corpus.info), changes).toString('latin1');
        parseInfo(text);
        const role = parseRole(text);
        if (role !== null) expect(['primary', 'replica']).toContain(role.role);
      }),
      cases(500),
    );
  },
  fuzzMs,
);

test('INFO with as many replicas as somebody likes, and none of them whole', () => {
  const lines = Array.from({ length: 50_000 }, (_, i) => `slave${i}:ip=,port,offset==`);
  const role = parseRole(['role:master', 'master_replid:1', ...lines].join('\r\n'));
  expect(role?.replicas.length).toBe(50_000);
});

test('the text of a vector comes back, and damaged it is a vector or nothing', () => {
  const vector = new Map([
    ['eu:0123456789abcdef', 1_234_567],
    ['ap:0123456789abcdef@99', 12.5],
  ]);
  expect(parseVector(formatVector(vector))).toEqual(vector);
  fc.assert(
    fc.property(damage, (changes) => {
      const parsed = parseVector(damaged(Buffer.from(formatVector(vector)), changes).toString('latin1'));
      for (const position of parsed?.values() ?? []) expect(Number.isFinite(position) && position >= 0).toBe(true);
    }),
    cases(2000),
  );
});

const config = {
  stack: 's',
  region: 'eu',
  members: [{ name: 'eu', weight: 60, primary: true }, { name: 'us' }],
  redis: { host: '127.0.0.1', port: 6379, sentinels: [{ host: 'a', port: 1 }], sentinelName: 'm' },
  listen: { peer: { host: '127.0.0.1', port: 0 }, admin: { host: '127.0.0.1', port: 0 } },
  peers: [{ region: 'us', host: 'h', port: 1 }],
  tls: { caFile: 'a', certFile: 'b', keyFile: 'c' },
  stateDir: 'd',
  replication: { mode: 'async', maxLagMs: 1000 },
};
const stack = {
  regions: [
    { name: 'eu', weight: 60, primary: true },
    { name: 'us', weight: 40 },
  ],
  replication: { mode: 'semi-sync', maxLagMs: 1000 },
  redis: { maxmemory: '1gb' },
};

/** A value like it, with something else somewhere in it. */
function changed(value: unknown, at: number, by: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null || depth === at % 5) return by;
  if (Array.isArray(value)) {
    const i = at % (value.length + 1);
    return [...value.slice(0, i), changed(value[i], Math.floor(at / 7), by, depth + 1), ...value.slice(i + 1)];
  }
  const entries = Object.entries(value);
  const i = at % (entries.length + 1);
  const [key, old] = entries[i] ?? ['unheard-of', undefined];
  return { ...value, [key]: changed(old, Math.floor(at / 7), by, depth + 1) };
}

test(
  'a config with anything anywhere: the config, or an error that says where',
  () => {
    fc.assert(
      fc.property(fc.nat(), fc.jsonValue({ maxDepth: 3 }), (at, by) => {
        const raw = changed(config, at, by);
        try {
          parseAgentConfig(raw);
        } catch (error) {
          expect(error).toBeInstanceOf(AgentConfigError);
          expect((error as AgentConfigError).issues.length).toBeGreaterThan(0);
        }
        const parsed = parseStackConfig(changed(stack, at, by));
        if (!parsed.ok) expect(parsed.issues.length).toBeGreaterThan(0);
      }),
      cases(2000),
    );
  },
  fuzzMs,
);
