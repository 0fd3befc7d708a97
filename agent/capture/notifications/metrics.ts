/** What capture by notifications counts, for Prometheus. Only agents that capture so have these series. */
import { Counter, Gauge, type Registry } from 'prom-client';

export interface CaptureMetrics {
  /** Notifications of clients' writes. */
  notification(): void;
  /** Notifications of what the agent itself wrote, which were passed over. */
  echo(): void;
  /** Keys read back because of a notification. */
  readBack(keys: number): void;
  /** Keys looked at by the scan. */
  scanned(keys: number): void;
  /** Keys that the scan found changed though no notification came. */
  repair(): void;
}

/** Asked at every scrape. */
export interface CaptureGauges {
  knownKeys(): number;
  pendingKeys(): number;
  /** Of the scan under way, 0 to 1. */
  scanProgress(): number;
  /** Since the last whole scan ended; before the first one has, since the capture began. */
  scanAgeSeconds(): number;
}

/** @param gauges null while no capture runs; then the gauges keep what they said last */
export function captureMetrics(registry: Registry, gauges: () => CaptureGauges | null): CaptureMetrics {
  const registers = [registry];
  const counter = (name: string, help: string): Counter => {
    const made = new Counter({ name, help, registers });
    made.inc(0);
    return made;
  };
  const gauge = (name: string, help: string, read: (of: CaptureGauges) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const of = gauges();
        if (of !== null) this.set(read(of));
      },
    });
  };
  gauge('meridian_capture_known_keys', 'Keys of which the agent knows what they held last.', (of) => of.knownKeys());
  gauge('meridian_capture_pending_keys', 'Keys that were notified and not read back yet.', (of) => of.pendingKeys());
  gauge('meridian_capture_scan_progress', 'Of the scan for lost notifications that is under way, 0 to 1.', (of) =>
    of.scanProgress(),
  );
  gauge('meridian_capture_scan_age_seconds', 'Since the last whole scan for lost notifications ended.', (of) =>
    of.scanAgeSeconds(),
  );
  const notifications = counter('meridian_capture_notifications_total', "Keyspace notifications of clients' writes.");
  const echoes = counter(
    'meridian_capture_echoes_total',
    'Keyspace notifications of what the agent itself wrote; they are passed over.',
  );
  const readBacks = counter('meridian_capture_read_backs_total', 'Keys read back because they were notified.');
  const scanned = counter('meridian_capture_scanned_keys_total', 'Keys looked at by the scan for lost notifications.');
  const repairs = counter(
    'meridian_capture_scan_repairs_total',
    'Keys that the scan found changed though no notification came.',
  );
  return {
    notification: () => notifications.inc(),
    echo: () => echoes.inc(),
    readBack: (keys) => readBacks.inc(keys),
    scanned: (keys) => scanned.inc(keys),
    repair: () => repairs.inc(),
  };
}
