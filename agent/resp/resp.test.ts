import * as fc from 'fast-check';
import { CommandScanner, CommandWriter, encodeCommand, ProtocolError, type Reply, ReplyError, ReplyParser } from '.';

function scanned(scanner: CommandScanner): string[] {
  const args: string[] = [];
  for (let i = 0; i < scanner.argc; i++) {
    args.push(scanner.buf.toString('latin1', scanner.argStart[i], scanner.argEnd[i]));
  }
  return args;
}

/** Cuts `bytes` at the given places and feeds the pieces. */
function pieces(bytes: Buffer, cuts: number[]): Buffer[] {
  const at = [...new Set(cuts.map((c) => c % (bytes.length + 1)))].sort((a, b) => a - b);
  const out: Buffer[] = [];
  let from = 0;
  // Copies: as from a socket, the pieces are not neighbours in memory.
  for (const to of [...at, bytes.length]) {
    out.push(Buffer.from(bytes.subarray(from, to)));
    from = to;
  }
  return out;
}

const bytes = fc.uint8Array({ maxLength: 200 }).map((a) => Buffer.from(a));
const command = fc.array(bytes, { minLength: 1, maxLength: 12 });
const cuts = fc.array(fc.nat(), { maxLength: 40 });

describe('CommandScanner', () => {
  test('any split of the stream gives the same commands, with exact positions', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(command, fc.constant('nl' as const), fc.constant('ping' as const))),
        cuts,
        (items, at) => {
          const expected: string[][] = [];
          const ends: number[] = [];
          const parts: Buffer[] = [];
          let total = 0;
          for (const item of items) {
            const part =
              item === 'nl' ? Buffer.from('\n') : item === 'ping' ? Buffer.from('PING\r\n') : encodeCommand(item);
            parts.push(part);
            total += part.length;
            if (item === 'nl') continue;
            expected.push(item === 'ping' ? ['PING'] : item.map((b) => b.toString('latin1')));
            ends.push(total);
          }
          const stream = Buffer.concat(parts);
          const scanner = new CommandScanner();
          const got: string[][] = [];
          const consumed: number[] = [];
          for (const piece of pieces(stream, at)) {
            scanner.push(piece);
            while (scanner.next()) {
              got.push(scanned(scanner));
              consumed.push(scanner.consumed);
              if (scanner.buf[scanner.start] === 42) {
                const args = got[got.length - 1]!.map((a) => Buffer.from(a, 'latin1'));
                expect(scanner.buf.subarray(scanner.start, scanner.end)).toEqual(encodeCommand(args));
              }
            }
          }
          expect(got).toEqual(expected);
          expect(consumed).toEqual(ends);
          expect(scanner.buffered).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('byte by byte', () => {
    const scanner = new CommandScanner();
    const stream = Buffer.concat([encodeCommand(['SET', 'k', 'v'.repeat(1000)]), encodeCommand(['DEL', 'k'])]);
    const got: string[][] = [];
    for (const byte of stream) {
      scanner.push(Buffer.from([byte]));
      while (scanner.next()) got.push(scanned(scanner));
    }
    expect(got.map((g) => g[0])).toEqual(['SET', 'DEL']);
    expect(got[0]![2]).toBe('v'.repeat(1000));
  });

  test('a command of many arguments and a big argument over small chunks cost linear time', () => {
    const many = encodeCommand(['MSET', ...Array.from({ length: 400_000 }, (_, i) => String(i))]);
    const big = encodeCommand(['SET', 'k', Buffer.alloc(32 * 1024 * 1024, 120)]);
    const scanner = new CommandScanner();
    const argcs: number[] = [];
    const began = Date.now();
    for (const stream of [many, big, many]) {
      for (let at = 0; at < stream.length; at += 4096) {
        scanner.push(stream.subarray(at, at + 4096));
        while (scanner.next()) argcs.push(scanner.argc);
      }
    }
    expect(argcs).toEqual([400_001, 3, 400_001]);
    expect(Date.now() - began).toBeLessThan(5000); // quadratic would be minutes
  });

  test('garbage is a ProtocolError or silence, never another exception, and no memory', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), cuts, fc.boolean(), (raw, at, star) => {
        const stream = Buffer.concat([Buffer.from(star ? '*3\r\n$3\r\nSET\r\n$' : ''), Buffer.from(raw)]);
        const scanner = new CommandScanner();
        try {
          for (const piece of pieces(stream, at)) {
            scanner.push(piece);
            while (scanner.next());
          }
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ['*2\r\n:3\r\n', 'EXPECTED_BULK'],
    ['*x\r\n', 'BAD_LENGTH'],
    ['*1\r\n$-5\r\n', 'BAD_LENGTH'],
    ['*1\r\n$3\r\nabcd\r\n', 'EXPECTED_CRLF'],
    ['*1\r\n$99999999999\r\n', 'TOO_LONG'],
    ['*1\r\n$1111111111111\r\n', 'BAD_LENGTH'],
    ['*99999999999\r\n', 'TOO_LONG'],
    ['\x00\x01\x02\n', 'BAD_TYPE'],
  ])('%j is %s', (text, code) => {
    const scanner = new CommandScanner();
    scanner.push(Buffer.from(text, 'latin1'));
    let error: unknown;
    try {
      scanner.next();
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ name: 'ProtocolError', code });
  });

  test('an announced length allocates nothing before its bytes come', () => {
    const scanner = new CommandScanner();
    scanner.push(Buffer.from('*1\r\n$1000000000\r\n'));
    expect(scanner.next()).toBe(false);
    scanner.push(Buffer.from('x'));
    expect(scanner.next()).toBe(false);
    expect(scanner.buf.length).toBeLessThan(1024 * 1024);
  });
});

describe('CommandWriter', () => {
  test('what is staged and what is not makes the same bytes, whatever comes between', () => {
    const source = Buffer.from(Array.from({ length: 2000 }, (_, i) => i % 251));
    const other = Buffer.alloc(700, 'o');
    const step = fc.oneof(
      fc.record({ kind: fc.constant('stage' as const), at: fc.nat(source.length) }),
      fc.record({ kind: fc.constant('piece' as const), at: fc.nat(source.length), bytes: fc.nat(200) }),
      fc.record({ kind: fc.constant('next' as const), skip: fc.nat(40), bytes: fc.nat(200) }),
      fc.record({ kind: fc.constant('other' as const), bytes: fc.nat(other.length) }),
      fc.record({ kind: fc.constant('rewind' as const), bytes: fc.nat(400) }),
      fc.record({ kind: fc.constant('head' as const), bytes: fc.integer({ min: 1, max: 30 }), shorter: fc.nat(30) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const writer = new CommandWriter(64);
        let expected = Buffer.alloc(0);
        let at = 0;
        const piece = (start: number, bytes: number): void => {
          at = Math.min(source.length, start + bytes);
          writer.append(source, start, at);
          expected = Buffer.concat([expected, source.subarray(start, at)]);
        };
        for (const s of steps) {
          if (s.kind === 'stage') writer.stage(source, s.at);
          else if (s.kind === 'piece') piece(s.at, s.bytes);
          else if (s.kind === 'next') piece(Math.min(source.length, at + s.skip), s.bytes);
          else if (s.kind === 'other') {
            writer.raw(other, 0, s.bytes);
            expected = Buffer.concat([expected, other.subarray(0, s.bytes)]);
          } else if (s.kind === 'rewind') {
            expected = expected.subarray(0, Math.max(0, expected.length - s.bytes));
            writer.rewind(expected.length, 0);
          } else if (expected.length >= s.bytes) {
            const place = expected.length - s.bytes;
            const head = Buffer.alloc(Math.max(0, s.bytes - s.shorter), 'h');
            writer.replaceHead(place, s.bytes, head);
            expected = Buffer.concat([expected.subarray(0, place), head]);
          }
          expect(writer.view().equals(expected)).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('writes what encodeCommand writes, and numbers and UTF-8', () => {
    const writer = new CommandWriter(1);
    writer.command(['SET', 'k', 'grün'.repeat(20)]).raw(encodeCommand(['PING']));
    writer.header(3).arg('EXPIRE').slice(Buffer.from('xkeyx'), 1, 4).arg(1234567);
    expect(writer.commands).toBe(3);
    expect(writer.take().toString()).toBe(
      `*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\n${'grün'.repeat(20)}\r\n*1\r\n$4\r\nPING\r\n` +
        '*3\r\n$6\r\nEXPIRE\r\n$3\r\nkey\r\n$7\r\n1234567\r\n',
    );
    expect(writer.take().length).toBe(0);
  });

  test('what was taken is not overwritten', () => {
    const writer = new CommandWriter();
    const first = writer.command(['A', 'x'.repeat(10_000)]).take();
    const text = first.toString();
    writer.command(['B', 'y'.repeat(10_000)]).take();
    expect(first.toString()).toBe(text);
  });

  test('any command comes back from the scanner', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(bytes, fc.string(), fc.maxSafeNat()), { minLength: 1 }), (args) => {
        const scanner = new CommandScanner();
        scanner.push(encodeCommand(args));
        expect(scanner.next()).toBe(true);
        expect(scanned(scanner)).toEqual(
          args.map((a) => (Buffer.isBuffer(a) ? a : Buffer.from(String(a))).toString('latin1')),
        );
      }),
    );
  });
});

type Wire = { value: Reply; wire: Buffer };
const leaf: fc.Arbitrary<Wire> = fc.oneof(
  bytes.map((b) => ({ value: b, wire: Buffer.concat([Buffer.from(`$${b.length}\r\n`), b, Buffer.from('\r\n')]) })),
  fc.constantFrom('OK', 'QUEUED', 'PONG').map((s) => ({ value: s, wire: Buffer.from(`+${s}\r\n`) })),
  fc.integer().map((n) => ({ value: n, wire: Buffer.from(`:${n}\r\n`) })),
  fc.constantFrom('$-1\r\n', '*-1\r\n').map((w) => ({ value: null, wire: Buffer.from(w) })),
  fc.constant({ value: new ReplyError('OOM', 'OOM no memory'), wire: Buffer.from('-OOM no memory\r\n') }),
);
const { reply } = fc.letrec<{ reply: Wire }>((tie) => ({
  reply: fc.oneof(
    { depthSize: 'small' },
    leaf,
    fc.array(tie('reply'), { maxLength: 6 }).map((items) => ({
      value: items.map((i) => i.value),
      wire: Buffer.concat([Buffer.from(`*${items.length}\r\n`), ...items.map((i) => i.wire)]),
    })),
  ),
}));

describe('ReplyParser', () => {
  test('any split of the bytes gives the same replies', () => {
    fc.assert(
      fc.property(fc.array(reply), cuts, (items, at) => {
        const parser = new ReplyParser();
        const got: Reply[] = [];
        for (const piece of pieces(Buffer.concat(items.map((i) => i.wire)), at)) {
          parser.push(piece);
          for (let r = parser.next(); r !== undefined; r = parser.next()) got.push(r);
        }
        expect(got).toEqual(items.map((i) => i.value));
        expect(parser.buffered).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test('status runs are skipped, and stop at what is none', () => {
    const parser = new ReplyParser();
    parser.push(Buffer.from('+OK\r\n+QUEUED\r\n+QUEUED\r\n-OOM out\r\n+QUEUED\r\n+QUE'));
    expect(parser.skipStatus(100)).toBe(3);
    expect(parser.next()).toEqual(new ReplyError('OOM', 'OOM out'));
    expect(parser.skipStatus(100)).toBe(1);
    parser.push(Buffer.from('UED\r\n*1\r\n+OK\r\n'));
    expect(parser.skipStatus(100)).toBe(1);
    expect(parser.next()).toEqual(['OK']);
  });

  test('integers are exact beyond 2^53', () => {
    const parser = new ReplyParser();
    parser.push(Buffer.from(':9223372036854775807\r\n:-9007199254740991\r\n:0\r\n'));
    expect([parser.next(), parser.next(), parser.next()]).toEqual([9223372036854775807n, -9007199254740991, 0]);
  });

  test('an error text holds nothing that was quoted back', () => {
    const line = "ERR unknown command 'hunter2', with args beginning with: 'secret' 'value' ";
    expect(ReplyError.parse(line).message).toBe("ERR unknown command '…'");
    expect(ReplyError.parse('WRONGTYPE Operation against a key holding the wrong kind of value').code).toBe(
      'WRONGTYPE',
    );
  });

  test('garbage is a ProtocolError, never another exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), cuts, (raw, at) => {
        const parser = new ReplyParser();
        try {
          for (const piece of pieces(Buffer.from(raw), at)) {
            parser.push(piece);
            while (parser.next() !== undefined);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
