import { commandsIn } from '../../test/sim/redis';
import { serverFlavour, serverVersion, TestServer } from '../capture/testserver';
import { CommandWriter, type Reply, ReplyError } from '../resp';
import { hidesFields, revealHidden } from './hidden-fields';
import { rewritingFor } from './servers';

function written(...commands: (string | number)[][]): Buffer {
  const writer = new CommandWriter(64);
  for (const command of commands) writer.command(command);
  return writer.take();
}

test('only what gives fields time is another command, one for each', () => {
  const plain = written(
    ['HSET', 'h', 'f', 'HPERSIST'],
    ['PEXPIREAT', 'h', 5],
    ['HSETEX', 'h', 'PXAT', 5, 'FIELDS', 1, 'f', 'v'],
  );
  expect(revealHidden(plain).equals(plain)).toBe(true);
  const time = [
    ['HSET', 'h', 'f', 1],
    ['HPEXPIREAT', 'h', 5, 'NX', 'FIELDS', 1, 'f'],
    ['hpersist', 'h', 'FIELDS', 2, 'f', 'g'],
    ['SET', 'k', 'v'],
  ];
  const [set, expire, persist, other] = commandsIn(revealHidden(written(...time))).map((text) => text.split('\n'));
  expect([set, other]).toEqual([['HSET h f 1'], ['SET k v']]);
  expect(expire!.at(0)).toMatch(/^EVAL local replies/);
  expect(expire!.at(-1)!.trim()).toBe('1 h HPEXPIREAT 5 NX FIELDS 1 f');
  expect(persist!.at(-1)!.trim()).toBe('1 h hpersist FIELDS 2 f g');
});

test('which servers hide fields', () => {
  expect(['', '8.1.1', '9.0.0', '9.1.2', '10.0.0'].map(hidesFields)).toEqual([false, false, true, true, true]);
  const bytes = written(['HPERSIST', 'h', 'FIELDS', 1, 'f']);
  const isChanged = (version: string, valkey: string): boolean =>
    !rewritingFor({ version, valkey })(bytes).equals(bytes);
  expect([isChanged('8.2.3', ''), isChanged('6.2.16', ''), isChanged('9.1.2', '9.1.2')]).toEqual([false, false, true]);
});

const isValkey = serverFlavour() === 'Valkey';
const hasThem = serverVersion() >= (isValkey ? 9 : 7.4);

(hasThem ? describe : describe.skip)('on a server whose fields have times to live', () => {
  let server: TestServer;
  let call: (...args: (string | number)[]) => Promise<Reply>;
  beforeAll(async () => {
    server = await TestServer.start({ args: ['--enable-debug-command', 'yes'] });
    const connection = await server.client();
    call = async (...args) => {
      const [reply] = await connection.pipeline(revealHidden(written(args)), 1);
      return reply!;
    };
    await call('DEBUG', 'SET-ACTIVE-EXPIRE', 0);
  });
  afterAll(() => server?.stop());

  test('one that is hidden is gone, one that is not there is not, one that is there has its time', async () => {
    await call('HSET', 'h', 'over', 1, 'there', 1, 'plain', 1);
    await call('HPEXPIRE', 'h', 20, 'FIELDS', 1, 'over');
    await new Promise((done) => setTimeout(done, 60));
    expect(await call('HLEN', 'h')).toBe(3);
    const at = Date.now() + 100_000;
    const given = await call('HPEXPIREAT', 'h', at, 'FIELDS', 3, 'over', 'there', 'none');
    expect(given).toEqual([isValkey ? -2 : 1, 1, -2]);
    expect(await call('HLEN', 'h')).toBe(isValkey ? 2 : 3);
    expect(await call('HPEXPIRETIME', 'h', 'FIELDS', 1, 'there')).toEqual([at]);
    expect(await call('HPERSIST', 'h', 'FIELDS', 2, 'there', 'none')).toEqual([1, -2]);
    expect(await call('HPERSIST', 'gone', 'FIELDS', 1, 'f')).toEqual([-2]);
    expect(await call('EXISTS', 'gone')).toBe(0);
  });

  test('what the server refuses it refuses', async () => {
    await call('SET', 's', 1);
    const reply = await call('HPEXPIREAT', 's', 5, 'FIELDS', 1, 'f');
    expect(reply).toBeInstanceOf(ReplyError);
    expect((reply as ReplyError).code).toBe('WRONGTYPE');
  });
});
