import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { agentsOf } from './agent-admin';
import { Cleanup } from './testing';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const admin = 'http://127.0.0.1:7601';

test('an agent elsewhere is its URL and its token', () => {
  const tokenFile = path.join(cleanup.dir(), 'token');
  writeFileSync(tokenFile, 'a-token_1\n');
  expect(agentsOf({ stack: 'local', agent: admin, tokenFile })).toEqual([
    { name: '127.0.0.1:7601', admin, token: 'a-token_1' },
  ]);
});

test('what is wrong of them is said before anything is asked', () => {
  const dir = cleanup.dir();
  const [good, bad] = [path.join(dir, 'token'), path.join(dir, 'other')];
  writeFileSync(good, 'a-token');
  writeFileSync(bad, '{\n  "a": 1\n}\n');
  const refused = (agent: string | undefined, tokenFile: string | undefined): unknown => {
    try {
      agentsOf({ stack: 'local', ...(agent === undefined ? {} : { agent }), ...(tokenFile ? { tokenFile } : {}) });
      return undefined;
    } catch (error) {
      expect(error).toMatchObject({ name: 'LocalError', code: 'BAD_ARGUMENT' });
      return (error as Error).message;
    }
  };
  for (const url of ['here', '127.0.0.1:7601', 'https://127.0.0.1:7601', 'file:///etc/passwd'])
    expect(refused(url, good)).toBe(`--agent ${url} is no URL of an admin endpoint, such as ${admin}.`);
  expect(refused(admin, undefined)).toMatch(/^--agent needs --token-file: a copy of admin-token /);
  expect(refused(admin, path.join(dir, 'none'))).toMatch(/^--token-file .*none can't be read \(ENOENT/);
  expect(refused(admin, bad)).toMatch(/^--token-file .*other holds no token: /);
  expect(refused(undefined, good)).toMatch(/^--token-file goes with --agent/);
});
