import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AdminError } from './admin';
import { ADMIN_TOKEN_FILE, provideAdminToken, withToken } from './admin-token';

const dir = mkdtempSync(path.join(tmpdir(), 'meridian-token-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('made once, and for its owner only', () => {
  const token = provideAdminToken(dir);
  expect(token).toMatch(/^[\w-]{32}$/);
  expect(provideAdminToken(dir)).toBe(token);
  const file = path.join(dir, ADMIN_TOKEN_FILE);
  expect(readFileSync(file, 'utf8').trim()).toBe(token);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test.each([
  ['127.0.0.1', 'Bearer secret', null],
  ['::1', 'Bearer secret', null],
  ['::ffff:127.0.0.1', 'Bearer secret', null],
  ['127.0.0.1', 'Bearer wrong!', 401],
  ['127.0.0.1', 'secret', 401],
  ['127.0.0.1', undefined, 401],
  ['10.0.0.7', 'Bearer secret', 403],
  [undefined, 'Bearer secret', 403],
])('from %s with %s: %s', async (remoteAddress, authorization, status) => {
  const route = withToken('secret', () => Promise.resolve({ status: 200, body: {} }));
  const request = { socket: { remoteAddress }, headers: { authorization } } as unknown as IncomingMessage;
  const asked = route(new URL('http://admin/conflicts'), request);
  if (status === null) await expect(asked).resolves.toEqual({ status: 200, body: {} });
  else await expect(asked).rejects.toMatchObject({ status, name: AdminError.name });
});
