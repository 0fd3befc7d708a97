import { knowsErrorStatus } from './cli';

test.each([
  ['redis-cli 7.0.15\n', true],
  ['redis-cli 6.2.16 (git:00000000)\n', false],
  ['valkey-cli 8.0.1\n', true],
  ['redis-cli 10.0.0\n', true],
  ['nonsense', false],
])('%j', (version, is) => {
  expect(knowsErrorStatus(version)).toBe(is);
});
