import { ACK_MS, AckPolicy } from './ack';

const place = (read: number, journalled = read, end = read) => ({
  origin: 'eu:1',
  end,
  read,
  journalled,
});
const async = { mode: 'async' as const, semiSyncRegions: 1, maxLagMs: 1000 };
const semiSync = { mode: 'semi-sync' as const, semiSyncRegions: 1, maxLagMs: 1000 };

test('what is journalled is acknowledged, not oftener than needed', () => {
  const policy = new AckPolicy(async);
  expect(policy.next(place(100), 1000, false)).toBe(100);
  expect(policy.next(place(200), 1001, false)).toBeNull();
  expect(policy.next(place(300), 1000 + ACK_MS, false)).toBe(300);
  expect(policy.next(place(300), 1500, false)).toBeNull();
  expect(policy.next(place(300), 2500, false)).toBe(300);
});

test('a client that waits is answered at each step until what it wrote is acknowledged', () => {
  const policy = new AckPolicy(async);
  expect(policy.next(place(100), 1000, false)).toBe(100);
  expect(policy.next(place(500, 100), 1001, true)).toBe(100);
  expect(policy.next(place(600, 300), 1002, false)).toBe(300);
  expect(policy.next(place(700, 550), 1003, false)).toBe(550);
  // Written after the question: nobody waits for it.
  expect(policy.next(place(800, 700), 1004, false)).toBeNull();
});

test('semi-sync: only what another region has journalled counts', () => {
  const policy = new AckPolicy(semiSync);
  expect(policy.next(place(500), 1000, true)).toBe(0);
  policy.peer('us', 'eu:1', 400);
  expect(policy.next(place(500), 1001, false)).toBe(400);
  policy.peer('us', 'eu:1', 500);
  expect(policy.next(place(500), 1002, false)).toBe(500);
});

test('semi-sync: a region that nobody follows falls silent after maxLagMs', () => {
  const policy = new AckPolicy(semiSync);
  policy.peer('us', 'eu:1', 100);
  expect(policy.next(place(100), 1000, false)).toBe(100);
  expect(policy.next(place(200), 1500, false)).toBeNull();
  expect(policy.next(place(200), 2400, false)).toBe(100);
  expect(policy.next(place(300), 3600, false)).toBeNull();
  expect(policy.next(place(300), 3700, true)).toBeNull();
  policy.peer('us', 'eu:1', 300);
  expect(policy.next(place(300), 3800, false)).toBe(300);
});

test('semi-sync: in a region where nobody writes all is confirmed that there is, and heartbeats need nobody', () => {
  const policy = new AckPolicy(semiSync);
  policy.peer('us', 'eu:1', 100);
  for (const seconds of [1, 2, 10, 100])
    expect(policy.next(place(100 + seconds, 100 + seconds, 100), seconds * 1000, false)).toBe(100 + seconds);
  expect(policy.next(place(300, 300, 250), 101_000, false)).toBe(200);
});

test('semi-sync: a region that is joining goes on, and says of nothing that another region has it', () => {
  const policy = new AckPolicy(semiSync);
  const joining = { ...place(500), origin: 'eu:1~' };
  for (const nowMs of [1000, 3000, 30_000]) expect(policy.next(joining, nowMs, false)).toBe(0);
});

test('another origin begins anew', () => {
  const policy = new AckPolicy(semiSync);
  policy.peer('us', 'eu:1', 900);
  expect(policy.next({ ...place(50), origin: 'eu:2' }, 1000, true)).toBe(0);
});
