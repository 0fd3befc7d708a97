import { TestServer } from '../capture/testserver';
import { CommandScanner, encodeCommand, type Reply, ReplyError } from '../resp';
import { ALL_ARGUMENTS, Class, type Command, commandByName } from './commands';
import { keysOf } from './effects';

// The table beside what the server under test says of its commands.

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server?.stop());

interface Told {
  /** Upper case, of a subcommand with its command: XGROUP|CREATE. */
  name: string;
  flags: string[];
  firstKey: number;
  lastKey: number;
  keyStep: number;
}

/** Commands and subcommands that change data, or that Redis may replicate for another reason. */
async function writeCommands(): Promise<Told[]> {
  const [reply] = await server.run(['COMMAND']);
  const told = (entry: Reply): Told[] => {
    const fields = entry as Reply[];
    const [name, , flags, firstKey, lastKey, keyStep] = fields;
    const own: Told = {
      name: String(name).toUpperCase(),
      flags: (flags as Reply[]).map(String),
      firstKey: Number(firstKey),
      lastKey: Number(lastKey),
      keyStep: Number(keyStep),
    };
    const subcommands = Array.isArray(fields[9]) ? fields[9] : [];
    return [...(subcommands.length > 0 ? [] : [own]), ...subcommands.flatMap(told)];
  };
  return (reply as Reply[])
    .flatMap(told)
    .filter(({ flags }) => flags.includes('write') || flags.includes('may_replicate'));
}

const entryOf = (name: string): Command | undefined => commandByName(name.split('|')[0]!);

/** Where options or a count say which arguments are keys: one invocation of each. */
const invocations: readonly string[] = [
  'LMPOP 2 a b LEFT',
  'BLMPOP 1 2 a b LEFT',
  'ZMPOP 2 a b MIN',
  'BZMPOP 1 2 a b MIN',
  'ZUNIONSTORE to 2 a b WEIGHTS 1 2',
  'ZINTERSTORE to 2 a b',
  'ZDIFFSTORE to 2 a b',
  'SORT a BY w_* GET # STORE to',
  'GEORADIUS a 1 2 3 km STORE to',
  'GEORADIUSBYMEMBER a m 3 km STOREDIST to',
  'MSETEX 2 a 1 b 2 NX EX 5',
  'XREADGROUP GROUP g c COUNT 1 STREAMS a b > >',
  'EVAL code 2 a b c',
  'EVALSHA code 2 a b c',
  'FCALL code 2 a b c',
];

function keysByTable(argv: string[]): string[] {
  const scanner = new CommandScanner();
  scanner.push(encodeCommand(argv));
  scanner.next();
  return keysOf(entryOf(argv[0]!)!, scanner);
}

test('the table knows every command that changes data', async () => {
  const commands = await writeCommands();
  expect(commands.length).toBeGreaterThan(90);
  expect(commands.map(({ name }) => name).filter((name) => entryOf(name) === undefined)).toEqual([]);
});

test('it sees their keys where the server does', async () => {
  const carried = (await writeCommands()).filter(({ name }) => {
    const entry = entryOf(name);
    return entry !== undefined && entry.class !== Class.ignored;
  });
  const counted = carried.filter(({ name, flags }) => {
    const { numkeysAt, lastKey, firstKey } = entryOf(name)!;
    return flags.includes('movablekeys') || numkeysAt > 0 || (firstKey > 0 && lastKey === ALL_ARGUMENTS);
  });
  const fixed = carried.filter((told) => !counted.includes(told));
  expect(fixed.map(({ name, firstKey, lastKey, keyStep }) => ({ name, firstKey, lastKey, keyStep }))).toEqual(
    fixed.map(({ name }) => {
      const { firstKey, lastKey, keyStep } = entryOf(name)!;
      return { name, firstKey, lastKey, keyStep };
    }),
  );

  const names = counted.map(({ name }) => name);
  const known = invocations.map((text) => text.split(' ')).filter(([name]) => names.includes(name!));
  expect(known.map(([name]) => name).sort()).toEqual([...names].sort());
  const client = await server.client();
  for (const argv of known) {
    const reply = await client.call('COMMAND', 'GETKEYS', ...argv);
    expect([argv, reply instanceof ReplyError]).toEqual([argv, false]);
    const keys = (reply as Reply[]).map(String);
    const seen = keysByTable(argv);
    if (entryOf(argv[0]!)!.lastKey === ALL_ARGUMENTS) expect(seen).toEqual(expect.arrayContaining(keys));
    else expect([argv, [...seen].sort()]).toEqual([argv, keys.sort()]);
  }
  client.close();
});
