import { setTimeout as sleep } from 'node:timers/promises';
import { TestServer } from '../capture/testserver';
import { Heartbeat } from './heartbeat';

test('goes on when a cluster that was down is whole again', async () => {
  const server = await TestServer.start({ args: ['--cluster-enabled', 'yes'] });
  const connection = await server.client({ clusterSlots: '0-16383' });
  const beats = new Heartbeat(connection, 'beat', () => undefined);
  // No slot is anybody's yet.
  expect(beats.beat(1)).toBe(true);
  for (let i = 0; i < 500 && !beats.beat(2); i++) await sleep(2);
  await server.run(['CLUSTER', 'ADDSLOTSRANGE', 0, 16_383]);
  let found: unknown = null;
  for (let i = 0; i < 2000 && !Buffer.isBuffer(found); i++) {
    beats.beat(3);
    await sleep(5);
    found = await connection.call('GET', 'beat').catch(() => null);
  }
  expect(String(found)).toBe('3');
  connection.close();
  await server.stop();
});
