import { ConflictPolicies, policyIssues } from './conflict-policies';

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

test('what a region owns, others keep what their clients write of', () => {
  const policies = new ConflictPolicies([
    { keys: 'eu:free:*', policy: 'merge' },
    { keys: 'eu:*', policy: 'region:eu' },
    { keys: 'local:*', policy: 'ignore' },
  ]);
  expect(policies.ownerOf(0, bytes('eu:1'))).toBe('eu');
  for (const key of ['eu:free:1', 'local:1', 'x']) expect(policies.ownerOf(0, bytes(key))).toBe(null);
  expect(policies.nameOf(0, bytes('eu:1'))).toBe('region:eu');
  expect(policies.ignores(0, bytes('eu:1'))).toBe(false);
  expect(policies.keeps('eu', 0, bytes('eu:1'))).toBe(false);
  expect(policies.keeps('us', 0, bytes('eu:1'))).toBe(true);
  for (const region of ['eu', 'us']) {
    expect(policies.keeps(region, 0, bytes('local:1'))).toBe(true);
    expect(policies.keeps(region, 0, bytes('eu:free:1'))).toBe(false);
  }
  expect(policies.haveOwners).toBe(true);
  expect(new ConflictPolicies([{ keys: '*', policy: 'ignore' }]).haveOwners).toBe(false);
  expect(policies.text).toContain('"eu:*": region:eu');
});

test('an owner is a region, and nobody else may flush what it owns', () => {
  const rules = [
    { keys: 'a', policy: 'ignore' },
    { keys: 'b', policy: 'region:mars' },
  ];
  expect(policyIssues(rules, ['eu', 'us'], 'refuse')).toEqual([
    { index: 1, found: '"region:mars"', allowed: 'region: and the name of a region: eu, us' },
  ]);
  expect(policyIssues([{ keys: 'b', policy: 'region:eu' }], ['eu'], 'carry').map(({ index }) => index)).toEqual([null]);
  expect(policyIssues(rules.slice(0, 1), ['eu'], 'carry')).toEqual([]);
});
