import { FLUSHED_MS, GONE_MS, OwnReports, type Report, type Safety, safetyOf } from './own-reports';

const at = (position: number): Report => ({ position, end: position, seen: new Map([['us:1', position]]) });
const found = (offset: number, replicas: Record<string, number> = {}, isFlushed?: boolean): Safety => ({
  offset,
  replicas: new Map(Object.entries(replicas)),
  file: isFlushed === undefined ? null : { isFlushed },
});

/** What is told is kept by position. */
function newReports(): { reports: OwnReports; told: number[] } {
  const told: number[] = [];
  return { reports: new OwnReports(null, ({ position }) => told.push(position)), told };
}

/** One look, after something has been noted. */
function look(reports: OwnReports, safety: Safety | null, nowMs: number): void {
  reports.beginLook();
  reports.endLook(safety, nowMs);
}

test('where there is neither replica nor file all is reported at once, from the first look on', () => {
  const { reports, told } = newReports();
  reports.note(at(10));
  expect(told).toEqual([]);
  look(reports, found(12), 0);
  expect(told).toEqual([10]);
  reports.note(at(20));
  expect(told).toEqual([10, 20]);
  expect(reports.told).toEqual(at(20));
});

test('what a replica has not acknowledged is not reported', () => {
  const { reports, told } = newReports();
  reports.note(at(10));
  look(reports, found(12, { a: 12, b: 5 }), 0);
  reports.note(at(20));
  look(reports, found(22, { a: 22, b: 11 }), 200);
  expect(told).toEqual([]);
  look(reports, found(23, { a: 23, b: 12 }), 400);
  expect(told).toEqual([10]);
  look(reports, found(23, { a: 23, b: 23 }), 600);
  expect(told).toEqual([10, 20]);
});

test('a replica that is gone counts for a while, for it may come back as the primary', () => {
  const { reports, told } = newReports();
  reports.note(at(10));
  look(reports, found(12, { a: 8 }), 0);
  look(reports, found(12), 200);
  look(reports, found(12), GONE_MS);
  expect(told).toEqual([]);
  look(reports, found(12), GONE_MS + 1);
  expect(told).toEqual([10]);
  reports.note(at(20));
  expect(told).toEqual([10, 20]);
});

test('what may not be in the file yet is not reported', () => {
  const { reports, told } = newReports();
  reports.note(at(10));
  look(reports, found(12, {}, true), 0);
  reports.note(at(20));
  look(reports, found(22, {}, true), FLUSHED_MS - 1);
  // A flush is under way, and may have begun before.
  look(reports, found(22, {}, false), FLUSHED_MS);
  look(reports, found(22, {}, true), FLUSHED_MS + 200);
  expect(told).toEqual([]);
  look(reports, found(22, {}, true), FLUSHED_MS + 400);
  expect(told).toEqual([10]);
  look(reports, found(22, {}, true), 2 * FLUSHED_MS);
  expect(told).toEqual([10, 20]);
});

test('what was noted after Redis was asked waits for the next look', () => {
  const { reports, told } = newReports();
  reports.note(at(10));
  reports.beginLook();
  reports.note(at(20));
  reports.endLook(found(15, { a: 15 }), 0);
  expect(told).toEqual([10]);
  look(reports, found(22, { a: 15 }), 200);
  expect(told).toEqual([10]);
  look(reports, found(22, { a: 22 }), 400);
  expect(told).toEqual([10, 20]);
});

test('a replica that hangs costs no memory', () => {
  const { reports, told } = newReports();
  for (let i = 1; i <= 10_000; i++) {
    reports.note(at(i));
    look(reports, found(i, { a: 0 }), i);
  }
  expect(told).toEqual([]);
  look(reports, found(10_000, { a: 10_000 }), 10_001);
  expect(told[0]).toBeGreaterThan(9_500);
  expect(JSON.stringify(reports).length).toBeLessThan(10_000);
});

test('a Redis that says nothing holds nothing back', () => {
  const { reports, told } = newReports();
  reports.note(at(10));
  look(reports, null, 0);
  expect(told).toEqual([10]);
});

const REPLICATION = [
  'role:master',
  'connected_slaves:4',
  'slave0:ip=10.0.0.1,port=6379,state=online,offset=90,lag=0',
  'slave1:ip=10.0.0.2,port=6380,state=online,offset=40,lag=1',
  'slave2:ip=10.0.0.3,port=0,state=online,offset=10,lag=1',
  'slave3:ip=10.0.0.4,port=6379,state=wait_bgsave,offset=0,lag=0',
  'master_replid:0123456789012345678901234567890123456789',
  'master_replid2:0000000000000000000000000000000000000000',
  'master_repl_offset:100',
  'second_repl_offset:-1',
].join('\r\n');

test.each([
  ['aof_enabled:0', null],
  ['aof_enabled:1\r\naof_last_write_status:ok\r\naof_pending_bio_fsync:0\r\naof_buffer_length:0', { isFlushed: true }],
  ['aof_enabled:1\r\naof_last_write_status:ok\r\naof_pending_bio_fsync:1\r\naof_buffer_length:0', { isFlushed: false }],
  ['aof_enabled:1\r\naof_last_write_status:ok\r\naof_pending_bio_fsync:0\r\naof_buffer_length:9', { isFlushed: false }],
  [
    'aof_enabled:1\r\naof_last_write_status:err\r\naof_pending_bio_fsync:0\r\naof_buffer_length:0',
    { isFlushed: false },
  ],
  ['', null],
])('what INFO says: %j', (persistence, file) => {
  const replicas = new Map([
    ['10.0.0.1:6379', 90],
    ['10.0.0.2:6380', 40],
  ]);
  expect(safetyOf(REPLICATION, persistence, null)).toEqual({ offset: 100, replicas, file });
  // Another one at the same port is none of its own.
  expect(safetyOf(REPLICATION, persistence, { host: '10.0.0.9', port: 6380 })).toEqual({ offset: 100, replicas, file });
  replicas.delete('10.0.0.2:6380');
  expect(safetyOf(REPLICATION, persistence, { host: '10.0.0.2', port: 6380 })).toEqual({ offset: 100, replicas, file });
});

test('what is no INFO says nothing', () => {
  expect(safetyOf('', '', null)).toBeNull();
});
