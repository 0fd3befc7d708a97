import fc from 'fast-check';
import { compileGlob } from './glob';

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));
const matches = (pattern: string, text: string): boolean => compileGlob(pattern).matches(bytes(text));

test.each([
  ['session:*', 'session:7', true],
  ['session:*', 'session:', true],
  ['session:*', 'sessions:7', false],
  ['*:7', 'session:7', true],
  ['*', '', true],
  ['', '', true],
  ['', 'a', false],
  ['h?llo', 'hallo', true],
  ['h?llo', 'hllo', false],
  ['h[ae]llo', 'hello', true],
  ['h[ae]llo', 'hillo', false],
  ['h[^e]llo', 'hallo', true],
  ['h[^e]llo', 'hello', false],
  ['h[a-b]llo', 'hbllo', true],
  ['h[b-a]llo', 'hallo', true],
  ['h[a-b]llo', 'hcllo', false],
  ['a\\*b', 'a*b', true],
  ['a\\*b', 'axb', false],
  ['a[\\]]b', 'a]b', true],
  ['a[bc', 'ab', true],
  ['a\\', 'a\\', true],
  ['a*b*c', 'axxbyybzzc', true],
  ['a*b*c', 'axxbyybzz', false],
  ['caf\xe9*', 'caf\xe9:1', true],
])('%s on %s: %s', (pattern, text, expected) => {
  expect(matches(pattern, text)).toBe(expected);
});

test('a part of a buffer', () => {
  expect(compileGlob('b*').matches(bytes('abcd'), 1, 3)).toBe(true);
  expect(compileGlob('b*').matches(bytes('abcd'), 0, 3)).toBe(false);
});

test('what it says of the first byte is never wrong', () => {
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '[', ']', '^', '-', '\\'), maxLength: 8 });
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '-', '\\', ']', '^'), minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(pattern, text, (p, t) => {
      const glob = compileGlob(p);
      if (glob.matches(bytes(t))) expect(glob.mayBeginWith(t.charCodeAt(0))).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test('many stars on a long key take no time', () => {
  const started = performance.now();
  expect(matches('a*a*a*a*a*a*a*a*a*a*b', 'a'.repeat(10_000))).toBe(false);
  expect(performance.now() - started).toBeLessThan(2000);
});
