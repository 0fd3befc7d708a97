import { ConflictPolicies } from './conflict-policies';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test('the first that matches, by database', () => {
  const policies = new ConflictPolicies([
    { keys: 'local:admin:*', policy: 'merge' },
    { keys: 'local:*', policy: 'ignore' },
    { keys: '*', policy: 'ignore', db: 3 },
  ]);
  expect(policies.nameOf(0, bytes('local:1'))).toBe('ignore');
  expect(policies.nameOf(0, bytes('local:admin:1'))).toBe('merge');
  expect(policies.nameOf(3, bytes('local:admin:1'))).toBe('merge');
  expect(policies.nameOf(3, bytes('other'))).toBe('ignore');
  expect(policies.nameOf(0, bytes('other'))).toBe('merge');
  expect(policies.ignores(3, bytes(''))).toBe(true);
  expect(policies.ignores(0, bytes(''))).toBe(false);
  expect(policies.ignores(0, bytes('xlocal:1x'), 1, 8)).toBe(true);
});

test('a pattern is UTF-8, as keys are', () => {
  expect(new ConflictPolicies([{ keys: 'café:*', policy: 'ignore' }]).nameOf(0, bytes('café:1'))).toBe('ignore');
});

test('lists that say the same have the same text; one that only merges has none', () => {
  const text = (...rules: { keys: string; policy: string; db?: number }[]): string => new ConflictPolicies(rules).text;
  expect(text()).toBe('');
  expect(text({ keys: 'a', policy: 'merge' })).toBe('');
  expect(text({ keys: 'a', policy: 'ignore' })).toBe('"a": ignore');
  expect(text({ keys: 'a', policy: 'ignore', db: 1 })).toBe('"a" db 1: ignore');
  expect(text({ keys: 'a', policy: 'merge' }, { keys: '*', policy: 'ignore' })).not.toBe(
    text({ keys: '*', policy: 'ignore' }, { keys: 'a', policy: 'merge' }),
  );
});
