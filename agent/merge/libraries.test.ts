import fc from 'fast-check';
import { CommandScanner, CommandWriter, encodeCommand } from '../resp';
import { decodeFunction, libraryName, mayChangeLibraries } from './function-commands';
import { type FoundLibrary, Libraries } from './libraries';
import { LibraryTouches, libraryDifferences } from './library-difference';
import { Op } from './op';
import { OriginTable } from './origins';
import { RecordKind } from '../record';

const origins = new OriginTable();
const [A, B, C] = ['a:1', 'b:1', 'c:1'].map((id) => origins.index(id)) as [number, number, number];

function code(name: string, mark = ''): Buffer {
  return Buffer.from(`#!lua name=${name}\n-- ${mark}`);
}

function argsOf(...words: (string | Buffer)[]): CommandScanner {
  const scanner = new CommandScanner();
  scanner.push(encodeCommand(words.map((word) => (Buffer.isBuffer(word) ? word : Buffer.from(word)))));
  scanner.next();
  return scanner;
}

function op(origin: number, position: number, stamp: number, seen: number[] = []): Op {
  return new Op(origin, position, stamp, seen);
}

function found(...libraries: [name: string, mark: string, ...functions: string[]][]): FoundLibrary[] {
  return libraries.map(([name, mark, ...functions]) => ({ name, code: code(name, mark), functions }));
}

/** What is to run, without the header of code. */
function settle(libraries: Libraries, has: FoundLibrary[]): string[] {
  const writer = new CommandWriter(256);
  libraries.settle(has, writer);
  libraries.settled();
  const scanner = new CommandScanner();
  scanner.push(writer.take());
  const out: string[] = [];
  while (scanner.next()) {
    const last = scanner.buf.toString('latin1', scanner.argStart[scanner.argc - 1], scanner.argEnd[scanner.argc - 1]);
    out.push(scanner.argc === 3 ? `-${last}` : `+${/name=(.*)\n-- (.*)/.exec(last)!.slice(1).join(' ')}`);
  }
  return out;
}

const load = (name: string, mark: string): CommandScanner => argsOf('FUNCTION', 'LOAD', 'REPLACE', code(name, mark));

test.each([
  ['#!lua name=mylib\nx', 'mylib'],
  ['#!lua name=mylib', 'mylib'],
  ['#!LUA   NAME=a_B9  \r\nx', 'a_B9'],
  ['#!js api=1 name="quoted"\n', 'quoted'],
  ['#!lua\nname=no', null],
  ['-- name=no', null],
])('the name of %j is %j', (text, name) => expect(libraryName(Buffer.from(text))).toBe(name));

test('commands as they stand in a stream', () => {
  const kinds = (...words: (string | Buffer)[]): unknown =>
    decodeFunction(argsOf('FUNCTION', ...words))?.map((change) =>
      'name' in change ? `${change.kind} ${change.name}` : change.kind,
    ) ?? null;
  expect(kinds('LOAD', code('x'))).toEqual(['load x']);
  expect(kinds('load', 'Replace', code('x'))).toEqual(['load x']);
  expect(kinds('DELETE', 'x')).toEqual(['delete x']);
  expect(kinds('FLUSH', 'ASYNC')).toEqual(['flush']);
  expect(kinds('RESTORE', Buffer.from('no payload at all'), 'FLUSH')).toBeNull();
  expect(kinds('KILL')).toBeNull();
  expect(kinds()).toBeNull();
});

test('a record that holds a FUNCTION command is found, whatever its letters', () => {
  for (const word of ['FUNCTION', 'function', 'FuNcTiOn'])
    expect(mayChangeLibraries(encodeCommand([Buffer.from(word), Buffer.from('FLUSH')]))).toBe(true);
  expect(mayChangeLibraries(encodeCommand([Buffer.from('SET'), Buffer.from('eight888'), Buffer.from('functio')]))).toBe(
    false,
  );
});

test('what stands does not depend on the order in which operations are known, where none has seen another', () => {
  const all = [
    [load('x', 'a'), op(A, 1, 10)],
    [load('x', 'b'), op(B, 1, 20)],
    [argsOf('FUNCTION', 'DELETE', 'x'), op(C, 1, 30)],
    [argsOf('FUNCTION', 'DELETE', 'x'), op(C, 2, 31, [1])],
    [load('y', 'c'), op(C, 3, 32, [1])],
    [argsOf('FUNCTION', 'FLUSH'), op(A, 2, 11, [])],
  ] as const;
  fc.assert(
    fc.property(fc.shuffledSubarray([...all], { minLength: all.length }), (order) => {
      const libraries = new Libraries(origins);
      for (const [args, by] of order) libraries.note(args, by);
      // Of x a's put was seen; y the flush has not seen, and what nothing is known of it has.
      expect(settle(libraries, found(['x', 'a'], ['old', '']))).toEqual(
        expect.arrayContaining(['-old', '+x b', '+y c']),
      );
    }),
  );
});

test('nothing is written that Redis has already, and nothing is due then', () => {
  const libraries = new Libraries(origins);
  libraries.note(load('x', 'a'), op(A, 1, 10));
  expect(libraries.isDue).toBe(true);
  expect(settle(libraries, found(['x', 'a'], ['other', '']))).toEqual([]);
  expect(libraries.isUnderWay).toBe(false);
});

test('all is forgotten together, when everybody has seen all', () => {
  const libraries = new Libraries(origins);
  libraries.note(load('x', 'a'), op(A, 1, 10));
  libraries.note(load('y', 'b'), op(B, 5, 11));
  libraries.fold([1, 5]);
  // Redis was not looked at yet.
  expect(libraries.isEmpty).toBe(false);
  settle(libraries, []);
  libraries.fold([1, 4]);
  const needed: number[][] = [];
  libraries.eachNeeded((...place) => needed.push(place));
  expect(needed).toEqual([
    [A, 1],
    [B, 5],
  ]);
  libraries.fold([1, 5]);
  expect(libraries.isEmpty).toBe(true);
});

describe('a function that two libraries have', () => {
  const refusal = 'ERR Function f already exists';

  test.each([
    [10, 20, 'x', 'the one that is there is lower'],
    [20, 10, 'y', 'the one that is refused is lower'],
  ])('stamps %i and %i: %s goes', (there, comes, loser) => {
    const libraries = new Libraries(origins);
    libraries.note(load('x', 'a'), op(A, 1, there));
    libraries.note(load('y', 'b'), op(B, 1, comes));
    const has = found(['x', 'a', 'F']);
    expect(settle(libraries, has)).toEqual(['+y b']);
    expect(libraries.refused(load('y', 'b'), refusal)).toBe(false);
    expect(settle(libraries, has)).toEqual([]);
    expect(libraries.hasLost).toBe(true);
    // Its block has not been read back yet.
    const origin = loser === 'x' ? A : B;
    const seen: number[] = [];
    expect(libraries.takeLost(seen, C)).toEqual([]);
    seen[origin] = 1;
    for (let i = 0; i < origin; i++) seen[i] ??= -1;
    expect(libraries.takeLost(seen, C)).toEqual([loser]);
    libraries.note(argsOf('FUNCTION', 'DELETE', loser), op(C, 1, 30, [1, 1]));
    expect(settle(libraries, has)).toEqual(loser === 'x' ? ['-x', '+y b'] : []);
    expect(libraries.hasLost).toBe(false);
  });

  test('what a look does not explain is not tried without end', () => {
    const libraries = new Libraries(origins);
    libraries.note(load('y', 'b'), op(B, 1, 20));
    let tries = 0;
    for (let isRefused = false; !isRefused; tries++) {
      expect(settle(libraries, [])).toEqual(['+y b']);
      isRefused = libraries.refused(load('y', 'b'), refusal);
    }
    expect(tries).toBeLessThan(10);
    libraries.note(load('z', 'b'), op(B, 2, 21));
    expect(settle(libraries, [])).toEqual(['+z b']);
  });
});

test('code that is refused for good is not tried again, until there is other code', () => {
  const libraries = new Libraries(origins);
  libraries.note(load('x', 'a'), op(A, 1, 10));
  expect(settle(libraries, [])).toEqual(['+x a']);
  expect(libraries.refused(load('x', 'a'), 'ERR Error compiling function')).toBe(true);
  libraries.note(argsOf('FUNCTION', 'FLUSH'), op(B, 1, 5));
  expect(settle(libraries, [])).toEqual([]);
  libraries.note(load('x', 'b'), op(A, 2, 12));
  expect(settle(libraries, [])).toEqual(['+x b']);
  // A client was faster.
  expect(libraries.refused(argsOf('FUNCTION', 'DELETE', 'x'), 'ERR Library not found')).toBe(false);
});

test('the difference between two regions, but for what explains it', () => {
  const touched = new LibraryTouches();
  const late = new LibraryTouches();
  const payload = encodeCommand(['FUNCTION', 'DELETE', 'theirs'].map((word) => Buffer.from(word)));
  const base = { kind: RecordKind.stream, origin: 'a:1', start: 0, end: payload.length, stamp: 1, ops: 1, db: 0 };
  touched.note({ ...base, seen: new Map(), payload }, -1);
  const lost = encodeCommand([Buffer.from('FUNCTION'), Buffer.from('LOAD'), code('lost', '1')]);
  late.note({ ...base, end: lost.length, seen: new Map(), payload: lost }, -1);
  const of = (names: readonly string[], mark: string): [string, Buffer][] =>
    names.map((name) => [name, code(name, mark)]);
  const mine = new Map([...of(['same', 'changed', 'new', 'theirs', 'too new'], '1')]);
  const theirs = new Map([...of(['same', 'deleted', 'lost'], '1'), ...of(['changed', 'too new', 'refused'], '2')]);
  const strange = new Set(['too new', 'refused']);
  const told = (mode: 'exact' | 'unexplained', operations: readonly [string, Buffer | null][] = []): string[] => {
    const known = new Map(operations);
    const codes = { names: () => known.keys(), codeOf: (name: string) => known.get(name) };
    return libraryDifferences({ mine, theirs, strange, touched, late, mode }, codes)
      .map((bytes) => {
        const text = bytes.toString();
        const [, name, mark] = /name=(\w+)\n-- (.)/.exec(text) ?? [];
        return name === undefined ? `-${text.trim().split('\r\n').at(-1)}` : `+${name} ${mark}`;
      })
      .sort();
  };
  expect(told('exact')).toEqual(['+changed 1', '+lost 1', '+new 1', '-deleted']);
  expect(told('unexplained')).toEqual(['+changed 2', '+deleted 1', '+lost 1', '+new 1']);
  // What both have made of one alike would be taken back here, where it is still known.
  const operations = [...of(['same', 'gone', 'theirs', 'refused'], '2'), ...of(['changed'], '1')];
  expect(told('exact', operations)).toEqual(['+changed 1', '+lost 1', '+new 1', '-deleted']);
  const alike = ['+changed 2', '+deleted 1', '+lost 1', '+new 1', '+same 1', '-gone'];
  expect(told('unexplained', operations)).toEqual(alike);
  expect(told('unexplained', [...of(['same'], '1'), ['never', null]])).toEqual(told('unexplained'));
});
