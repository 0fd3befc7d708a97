import { serverFlavour, serverVersion, TestServer } from '../capture/testserver';
import type { RedisConnection } from '../resp';
import { hasFunctions, listLibraries, refusalOf } from './libraries';

// What a server says of a library without loading it, where the server under test has functions: Redis ≥ 7.0, Valkey.

const hasThem = serverVersion() >= 7;
const when = hasThem ? describe : describe.skip;
const why = hasThem ? '' : ` (skipped: ${serverFlavour()} ${serverVersion()} has none)`;

let server: TestServer;
let connection: RedisConnection;
beforeAll(async () => {
  server = await TestServer.start();
  connection = await server.client();
  connection.on('close', () => undefined);
});
afterAll(async () => {
  connection?.close();
  await server?.stop();
});

test('whether there are functions', async () => {
  expect(await hasFunctions(connection)).toBe(hasThem);
  if (!hasThem) return;
  const without = await TestServer.start({ args: ['--rename-command', 'FUNCTION', ''] });
  try {
    const client = await without.client();
    expect(await hasFunctions(client)).toBe(false);
    client.close();
  } finally {
    await without.stop();
  }
});

when(`whether a library would be loaded${why}`, () => {
  const register = "redis.register_function('f', function() return 'new' end)";
  const code = (body: string, engine = 'lua'): Buffer => Buffer.from(`#!${engine} name=lib\n${body}`);

  test.each([
    ['plain', register],
    ['that returns', `${register} return 1`],
    ['that ends with a comment', `${register} -- so`],
    ['that wants to know with what it was called', `local a = {...} ${register}`],
    ['with a value of its own', `local n = 1 local function g() return n end ${register}`],
  ])('yes: code %s', async (_, body) => {
    expect(await refusalOf(connection, code(body))).toBeNull();
  });

  test.each([
    ['that can not be read', code('if then')],
    ['with an end too few', code('if true then')],
    ['that fails', code("redis.call('SET', 'k', 1)")],
    ['of an engine that is not there', code(register, 'nothing')],
    ['without a body', Buffer.from('#!lua name=lib')],
  ])('no: code %s', async (_, refused) => {
    expect(await refusalOf(connection, refused)).toBe('ERR');
  });

  test('and either way there is what there was', async () => {
    expect(await listLibraries(connection)).toEqual([]);
    const before = code("redis.register_function('f', function() return 'old' end)");
    await connection.call('FUNCTION', 'LOAD', before);
    expect(await refusalOf(connection, code(register))).toBeNull();
    expect(await refusalOf(connection, code('if then'))).toBe('ERR');
    expect(await listLibraries(connection)).toEqual([{ name: 'lib', code: before, functions: ['f'] }]);
    expect(String(await connection.call('FCALL', 'f', 0))).toBe('old');
  });
});
