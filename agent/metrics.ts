/**
 * The agent's metrics for Prometheus. Every series carries the label `region`. Counters are raised once per batch;
 * gauges that somebody else knows (sizes of the journal and the window) are asked for when they are scraped.
 */
import type { CaptureMetrics } from './capture';
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';

/** A gauge with a source that is asked at every scrape. */
export interface SampledGauge {
  /** Replaces the source. */
  from(read: () => number): void;
}

/** A counter's child: its labels are bound already. */
export interface Tally {
  inc(n?: number): void;
}

export interface LinkMetrics {
  /** Milliseconds of data by which this region is behind the peer, measured by heartbeats. */
  lagMs(ms: number): void;
  /** What the peer has and this region has not applied yet. */
  pending(operations: number, bytes: number): void;
  up(isUp: boolean): void;
  /** Once per batch. */
  received(operations: number, bytes: number): void;
  error(): void;
  /** Removes the link's series: the peer is no member any more. */
  remove(): void;
}

export interface AgentMetrics {
  readonly registry: Registry;
  /** The metrics of the link from a peer; made at its first use. */
  link(peer: string): LinkMetrics;
  readonly captured: Tally;
  readonly applied: Tally;
  readonly corrections: Tally;
  /** Conflicts that came too fast for the conflict journal. */
  readonly conflictsLeftOut: SampledGauge;
  readonly deadLettersKept: SampledGauge;
  readonly evictions: Tally;
  readonly flushesRefused: Tally;
  readonly trespasses: Tally;
  readonly trespassedKeys: SampledGauge;
  /** By type of the key. */
  conflict(type: string, n?: number): void;
  /** By code of the error. */
  deadLetter(code: string, n?: number): void;
  /** By kind: `load`, `diff`, … */
  fullSync(kind: string): void;
  /** When a certificate that is in use ends, in seconds since 1970: the agent's own, the first of the authorities that it trusts, its Redis'. */
  certificate(of: 'agent' | 'authority' | 'redis', end: number): void;
  /** 1 at this state, 0 at every state that was there before. */
  state(state: string): void;
  /** Of capture by notifications; null where the agent reads the replication stream. */
  capture: CaptureMetrics | null;
  readonly windowKeys: SampledGauge;
  readonly windowOperations: SampledGauge;
  readonly windowBytes: SampledGauge;
  readonly windowPayloadBytes: SampledGauge;
  readonly windowLoadBytes: SampledGauge;
  readonly windowBudgetBytes: SampledGauge;
  readonly windowShelfBytes: SampledGauge;
  readonly windowShelfKeys: SampledGauge;
  readonly windowShelfReads: SampledGauge;
  readonly journalBytes: SampledGauge;
  readonly journalSegments: SampledGauge;
  readonly journalPendingBytes: SampledGauge;
}

/** @param o.processMetrics also those of the process and of Node (default true); they keep timers and observers */
export function createMetrics(region: string, o: { processMetrics?: boolean } = {}): AgentMetrics {
  const registry = new Registry();
  registry.setDefaultLabels({ region });
  if (o.processMetrics ?? true) collectDefaultMetrics({ register: registry });
  const registers = [registry];

  const counter = <L extends string = never>(name: string, help: string, labelNames: L[] = []): Counter<L> =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <L extends string = never>(name: string, help: string, labelNames: L[] = []): Gauge<L> =>
    new Gauge({ name, help, labelNames, registers });
  const sampled = (name: string, help: string): SampledGauge => {
    let source: (() => number) | null = null;
    new Gauge({
      name,
      help,
      registers,
      collect() {
        if (source !== null) this.set(source());
      },
    });
    return { from: (read) => (source = read) };
  };

  const sampledCounter = (name: string, help: string): SampledGauge => {
    let source: (() => number) | null = null;
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(source?.() ?? 0);
      },
    });
    return { from: (read) => (source = read) };
  };

  const lagMs = gauge('meridian_link_lag_ms', 'Milliseconds of data by which this region is behind the peer.', [
    'peer',
  ]);
  const pendingOperations = gauge(
    'meridian_link_pending_operations',
    'Operations of the peer that were not applied here yet.',
    ['peer'],
  );
  const pendingBytes = gauge('meridian_link_pending_bytes', 'Bytes of the peer that were not applied here yet.', [
    'peer',
  ]);
  const up = gauge('meridian_link_up', '1 while records can arrive from the peer.', ['peer']);
  const receivedOperations = counter(
    'meridian_link_received_operations_total',
    'Operations received from the peer, its own and forwarded ones.',
    ['peer'],
  );
  const receivedBytes = counter('meridian_link_received_bytes_total', 'Bytes of records received from the peer.', [
    'peer',
  ]);
  const errors = counter('meridian_link_errors_total', 'Errors that broke the link or were answered on it.', ['peer']);
  const perLink = [lagMs, pendingOperations, pendingBytes, up, receivedOperations, receivedBytes, errors];

  const links = new Map<string, LinkMetrics>();
  const makeLink = (peer: string): LinkMetrics => {
    const of = {
      lagMs: lagMs.labels(peer),
      pendingOperations: pendingOperations.labels(peer),
      pendingBytes: pendingBytes.labels(peer),
      up: up.labels(peer),
      receivedOperations: receivedOperations.labels(peer),
      receivedBytes: receivedBytes.labels(peer),
      errors: errors.labels(peer),
    };
    // Counters and `up` begin at 0, so that alerts can tell 0 from absent. A lag that nobody has measured is not 0.
    of.up.set(0);
    of.receivedOperations.inc(0);
    of.receivedBytes.inc(0);
    of.errors.inc(0);
    return {
      lagMs: (ms) => of.lagMs.set(ms),
      pending(operations, bytes) {
        of.pendingOperations.set(operations);
        of.pendingBytes.set(bytes);
      },
      up: (isUp) => of.up.set(isUp ? 1 : 0),
      received(operations, bytes) {
        of.receivedOperations.inc(operations);
        of.receivedBytes.inc(bytes);
      },
      error: () => of.errors.inc(),
      remove() {
        links.delete(peer);
        for (const metric of perLink) metric.remove(peer);
      },
    };
  };

  const conflicts = counter('meridian_conflicts_total', 'Keys that two regions wrote without having seen each other.', [
    'type',
  ]);
  const deadLetters = counter('meridian_dead_letters_total', 'Commands that could not be applied and were set aside.', [
    'code',
  ]);
  const fullSyncs = counter('meridian_full_syncs_total', 'Full syncs: of the own Redis, or from a peer.', ['kind']);
  const certificates = gauge(
    'meridian_certificate_expiration_timestamp_seconds',
    'When a certificate in use ends, in seconds since 1970.',
    ['certificate'],
  );
  const states = gauge('meridian_agent_state', '1 at the state that the agent is in.', ['state']);
  let current: string | null = null;

  return {
    registry,
    link(peer) {
      let link = links.get(peer);
      if (link === undefined) links.set(peer, (link = makeLink(peer)));
      return link;
    },
    captured: counter('meridian_captured_operations_total', 'Operations of clients, read from the own Redis.'),
    applied: counter('meridian_applied_operations_total', 'Foreign operations applied to the own Redis.'),
    corrections: counter('meridian_corrections_total', 'Keys corrected after a client wrote beside a foreign change.'),
    conflictsLeftOut: sampledCounter(
      'meridian_conflicts_left_out_total',
      'Conflicts that the conflict journal did not look at, because they came too fast.',
    ),
    deadLettersKept: sampled('meridian_dead_letters', 'Dead letters that wait for somebody to retry or drop them.'),
    evictions: counter('meridian_evictions_total', 'Keys that the own Redis evicted. They stay in the other regions.'),
    flushesRefused: counter('meridian_flushes_refused_total', "Clients' FLUSHDB and FLUSHALL that were not carried."),
    trespasses: counter(
      'meridian_trespasses_total',
      "Clients' writes here of keys that another region owns: put back.",
    ),
    trespassedKeys: sampled('meridian_trespassed_keys', 'Keys of other regions that wait to be put back.'),
    conflict: (type, n = 1) => conflicts.inc({ type }, n),
    deadLetter: (code, n = 1) => deadLetters.inc({ code }, n),
    fullSync: (kind) => fullSyncs.inc({ kind }),
    certificate: (certificate, end) => certificates.set({ certificate }, end),
    state(state) {
      if (current !== null) states.set({ state: current }, 0);
      states.set({ state }, 1);
      current = state;
    },
    capture: null,
    windowKeys: sampled('meridian_window_keys', 'Keys with operations that not every region has seen.'),
    windowOperations: sampled('meridian_window_operations', 'Operations that not every region has seen.'),
    windowBytes: sampled(
      'meridian_window_bytes',
      'Bytes of memory for plain SETs that not every region has seen, and for the order of all such operations.',
    ),
    windowPayloadBytes: sampled(
      'meridian_window_payload_bytes',
      "Bytes of records' payloads that are kept for them; beyond 4 MiB the journal has them.",
    ),
    windowLoadBytes: sampled(
      'meridian_window_load_bytes',
      'Bytes of memory for what not every region has seen, as they are held against the budget (limits.windowBytes).',
    ),
    windowBudgetBytes: sampled('meridian_window_budget_bytes', 'What they may be; beyond it the oldest go to disk.'),
    windowShelfBytes: sampled('meridian_window_shelf_bytes', 'Bytes of the window on disk.'),
    windowShelfKeys: sampled(
      'meridian_window_shelf_keys',
      'Keys of the window on disk; one that came back and went there again counts again until its parts are joined.',
    ),
    windowShelfReads: sampled('meridian_window_shelf_reads', 'Blocks of it that were read since the session began.'),
    journalBytes: sampled('meridian_journal_bytes', 'Bytes of the journal on disk.'),
    journalSegments: sampled('meridian_journal_segments', 'Files of the journal.'),
    journalPendingBytes: sampled('meridian_journal_pending_bytes', "Bytes in memory that wait for the journal's disk."),
  };
}
