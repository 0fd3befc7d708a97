import { readFileSync } from 'node:fs';
import path from 'node:path';

import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';

import type * as Alerts from './commands/alerts';
import type * as Cli from './commands/cli';
import { type CommonOptions } from './commands/common';
import type * as Conflicts from './commands/conflicts';
import type * as DeadLetters from './commands/dead-letters';
import type * as Down from './commands/down';
import type * as Explain from './commands/explain';
import type * as Fault from './commands/fault';
import type * as Images from './commands/images';
import type * as Logs from './commands/logs';
import type * as RestoreLoser from './commands/restore-loser';
import type * as Status from './commands/status';
import type * as Up from './commands/up';
import type * as Verify from './commands/verify';
import { LocalError, errorText } from './errors';
import { packageRoot } from './package-root';

// The `meridian` command. Each subcommand's code is loaded when it is called: `status` needn't wait for what only `up` uses.

/* eslint-disable @typescript-eslint/no-require-imports */
const load = {
  up: () => (require('./commands/up') as typeof Up).up,
  down: () => (require('./commands/down') as typeof Down).down,
  status: () => (require('./commands/status') as typeof Status).status,
  verify: () => (require('./commands/verify') as typeof Verify).verify,
  cli: () => (require('./commands/cli') as typeof Cli).cli,
  alerts: () => (require('./commands/alerts') as typeof Alerts).alerts,
  images: () => (require('./commands/images') as typeof Images).images,
  logs: () => (require('./commands/logs') as typeof Logs).logs,
  conflicts: () => (require('./commands/conflicts') as typeof Conflicts).conflicts,
  explain: () => (require('./commands/explain') as typeof Explain).explain,
  deadLetters: () => require('./commands/dead-letters') as typeof DeadLetters,
  restoreLoser: () => (require('./commands/restore-loser') as typeof RestoreLoser).restoreLoser,
  fault: () => require('./commands/fault') as typeof Fault,
};
/* eslint-enable @typescript-eslint/no-require-imports */

function whole(min: number, max: number) {
  return (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`A whole number from ${min} to ${max} is needed.`);
    }
    return value;
  };
}

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 86_400))
    throw new InvalidArgumentError('Seconds are needed, from 0 to 86400.');
  return value;
}

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `10m`, `2h`, `1d` ago, or a date. @returns ms since 1970 */
function since(text: string): number {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const at = unit === undefined ? Date.parse(text) : Date.now() - Number(count) * units[unit]!;
  if (Number.isNaN(at) || at < 0)
    throw new InvalidArgumentError('A duration such as 90s, 10m, 2h, 1d is needed, or a date.');
  return at;
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(path.join(packageRoot(), 'package.json'), 'utf8'));
  return String(Reflect.get(Object(manifest) as object, 'version'));
}

const stateDirHelp = 'where its data, logs and passwords are (default: ".meridian/<stack>")';
const agentOrRedis = (required: boolean): Argument =>
  new Argument(required ? '<what>' : '[what]', 'which of its processes').choices(['agent', 'redis']);

function buildProgram(): Command {
  const program = new Command('meridian')
    .description('Runs a multi-region, active-active Redis stack as real processes on this machine.')
    .version(version(), '-V, --version')
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError('(--help shows how)')
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error:/, 'meridian:')) })
    .addHelpText(
      'after',
      `
Examples:
  meridian up                                 three regions, in the foreground, with a live table
  meridian up --regions 5 --replicas 1 -d     five regions with a replica each, in the background
  meridian cli us-west-2 SET greeting hello   write in one region …
  meridian cli eu-central-1 GET greeting      … and read in another
  meridian fault partition us-west-2          cut a region off, write on both sides,
  meridian fault heal                         … heal,
  meridian verify --wait 10                   … and see that all regions are equal again
  meridian down                               stop; the data stays (--purge removes it)`,
    );

  const command = (name: string, summary: string, examples: string, parent = program): Command => {
    const made = parent
      .command(name)
      .summary(summary)
      .description(summary)
      .option('--stack <name>', 'whose config Pulumi.<name>.yaml is, here or in the package', 'local')
      .option('--state-dir <dir>', stateDirHelp)
      .option('--json', 'for programs: one JSON text on stdout');
    return examples === '' ? made : made.addHelpText('after', `\nExamples:\n${examples}`);
  };

  command(
    'up',
    'start a stack and keep it running; Ctrl-C stops it',
    `  meridian up
  meridian up --regions paris,tokyo --base-port 9000
  meridian up --detach && meridian status --watch

Each region has ten ports on 127.0.0.1, from the base port on: +0 Redis, +1 … +6 its replicas, +7 the agent as Redis
sees it, +8 the agent for its peers, +9 the agent's admin endpoint. The second region starts at base port + 10.`,
  )
    .option('--config <file>', "the stack's config, in place of Pulumi.<stack>.yaml")
    .option('--regions <regions>', 'names a,b,c, or a number, in place of those of the config')
    .option('--replicas <n>', 'replicas of each region', whole(0, 5))
    .option(
      '--base-port <port>',
      "the first of the ports (default: the config's local.basePort, else 7500)",
      whole(1, 65_535),
    )
    .option('--redis-server <path>', 'a redis-server or valkey-server for all regions')
    .option('-d, --detach', 'in the background; returns when all regions are ready')
    .option('--no-agents', 'Redis only: nothing is carried between the regions')
    .addOption(new Option('--background').hideHelp())
    .action((options: Up.UpOptions) => load.up()(options));

  command('down', 'stop a stack; its data stays', '  meridian down\n  meridian down --purge')
    .option('--purge', 'remove its data, passwords, certificates and logs too')
    .option('--forget <regions>', 'remove the data of these regions, a,b, before a start without them')
    .action((options: Down.DownOptions) => load.down()(options));

  command(
    'status',
    'show regions, lag, pending changes and what is broken',
    `  meridian status --watch
  meridian status --json | jq .converged

WRITES/S, APPLIED/S   what the region's own clients write, and what of others' is applied here
TO SEND               what the peer that lacks most has not yet of this region, as bytes of its stream
PENDING               operations of others that are here and not applied yet
CONFLICTS             writes that met others which they had not seen, since the agent began; \`meridian conflicts\` has what lost
LAG                   how old the newest is that the region of the row has of the one of the column`,
  )
    .option('-w, --watch', 'again each second, until Ctrl-C')
    .action((options: Status.StatusOptions) => load.status()(options));

  command(
    'verify',
    'compare every key and every library of functions of every region',
    `  meridian verify                 exit status 0: equal, 1: different, 2: could not compare
  meridian verify --wait 10       look again at what differs, up to 10 seconds long`,
  )
    .option('--wait <seconds>', 'look again at what differs, until it is equal or the time is over', seconds, 0)
    .option('--tolerance <ms>', 'by which times to live may differ', whole(0, 3_600_000), 1000)
    .option('--limit <n>', 'list at most so many keys, and libraries', whole(0, 100_000), 20)
    .option('--values', 'show the values too, shortened')
    .action((options: Verify.VerifyCommandOptions) => load.verify()(options));

  const ofAgents = (made: Command): Command =>
    made
      .option(
        '--agent <url>',
        'admin endpoint of one agent elsewhere, by a forwarded port, in place of those of the stack',
      )
      .option('--token-file <file>', 'with --agent: a copy of admin-token in its state directory');

  ofAgents(
    command(
      'conflicts',
      'list writes that lost against others which they had not seen',
      `  meridian conflicts --key 'user:*' --since 1h
  meridian conflicts --follow --json | jq .key`,
    ),
  )
    .option('--key <pattern>', 'only keys that match, as with KEYS')
    .option('--region <region>', 'only those in which this region won or lost')
    .option('--since <time>', 'only those found since: 10m, 2h, or a date', since)
    .option('-f, --follow', 'go on with those that come')
    .option('--limit <n>', 'the newest so many', whole(1, 1000), 100)
    .action((options: Conflicts.ConflictsOptions) => load.conflicts()(options));

  ofAgents(
    command(
      'explain',
      'tell who wrote a key last, and what of it is still under way, in each region',
      '  meridian explain cart:7\n  meridian explain cart:7 --db 1 --json',
    ),
  )
    .argument('<key>')
    .option('--db <n>', 'its database', whole(0, 65_535), 0)
    .action((key: string, options: Explain.ExplainOptions) => load.explain()(options, key));

  command(
    'restore-loser',
    'write what lost in a conflict once more, as a client would',
    '  meridian conflicts\n  meridian restore-loser 3f9c02a1b7de',
  )
    .argument('<id>', 'of the conflict')
    .option('--region <region>', 'through whose Redis (default: of the region that wrote it)')
    .option('-y, --yes', "don't ask")
    .action((id: string, options: RestoreLoser.RestoreLoserOptions) => load.restoreLoser()(options, id));

  const letters = program
    .command('dead-letters')
    .summary('what a Redis refused for good: list, retry, drop')
    .description('What a Redis refused for good, and the merge rule could not settle.')
    .addHelpText(
      'after',
      `
Examples:
  meridian dead-letters list
  meridian dead-letters retry 3f9c02a1b7de
  meridian dead-letters drop --all --region eu-central-1`,
    );
  const ofLetters = (name: string, summary: string): Command =>
    ofAgents(command(name, summary, '', letters)).option('--region <region>', 'only those of this region');
  ofLetters('list', 'list them').action((options: DeadLetters.DeadLettersOptions) =>
    load.deadLetters().listLetters(options),
  );
  for (const [action, summary] of [
    ['retry', "try again: the key's state of another region, or the command"],
    ['drop', 'forget them'],
  ] as const)
    ofLetters(action, summary)
      .argument('[id]', 'of the letter')
      .option('--all', 'all of them')
      .action((id: string | undefined, options: DeadLetters.DeadLettersOptions) =>
        load.deadLetters().settleLetters(options, action, id),
      );

  command('cli', "talk to a region's Redis", '  meridian cli us-west-2\n  meridian cli us-west-2 HGETALL cart:7')
    .argument('<region>')
    .argument('[args...]', 'a command; none: ask for commands')
    .passThroughOptions()
    .action((region: string, args: string[], options: CommonOptions) => load.cli()(options, region, args));

  command('logs', "show a region's logs", '  meridian logs us-west-2 agent --follow')
    .argument('<region>')
    .addArgument(agentOrRedis(false))
    .option('-f, --follow', 'go on with what is added')
    .option('-n, --lines <n>', 'the last so many lines of each', whole(0, 1_000_000), 50)
    .action((region: string, which: Logs.LogName | undefined, options: Logs.LogsOptions) =>
      load.logs()(options, region, which),
    );

  command(
    'images',
    'list the container images that a stack deploys, and what pins them by digest',
    `  meridian images --stack prod
  meridian images --stack prod --resolve
  meridian images --stack prod --json | jq .pinned`,
  )
    .option('--config <file>', "the stack's config, in place of Pulumi.<stack>.yaml")
    .option('--resolve', 'ask the registries, without a login, for the digests of what is not pinned')
    .action((options: Images.ImagesOptions) => load.images()(options));

  command(
    'alerts',
    "print a stack's alerts as rules of Prometheus, where no operator makes them",
    `  meridian alerts --stack prod-fargate > meridian.rules.yaml`,
  )
    .option('--config <file>', "the stack's config, in place of Pulumi.<stack>.yaml")
    .action((options: Alerts.AlertsOptions) => load.alerts()(options));

  const fault = program
    .command('fault')
    .summary('break a running stack on purpose, and heal it')
    .description('Break a running stack on purpose, and heal it.')
    .addHelpText(
      'after',
      `
Examples:
  meridian fault partition us-west-2 eu-central-1
  meridian fault delay us-west-2 eu-central-1 80
  meridian fault kill ap-northeast-1 redis
  meridian fault heal`,
    );
  command('partition', 'cut the link of two regions, or of one with all others', '', fault)
    .argument('<a>')
    .argument('[b]')
    .action((a: string, b: string | undefined, options: CommonOptions) =>
      load.fault().fault(options, { action: 'partition', a, b }),
    );
  command('delay', 'let everything between two regions arrive later, each way; 0 ends it', '', fault)
    .argument('<a>')
    .argument('<b>')
    .argument('<ms>', 'milliseconds', whole(0, 600_000))
    .action((a: string, b: string, ms: number, options: CommonOptions) =>
      load.fault().fault(options, { action: 'delay', a, b, ms }),
    );
  command('kill', 'kill a process of a region (SIGKILL); the supervisor starts it again', '', fault)
    .argument('<region>')
    .addArgument(agentOrRedis(true))
    .action((region: string, what: Logs.LogName, options: CommonOptions) =>
      load.fault().fault(options, { action: 'kill', region, what }),
    );
  command('pause', 'stop a region in its tracks (SIGSTOP), or one of its processes', '', fault)
    .argument('<region>')
    .addArgument(agentOrRedis(false))
    .action((region: string, what: Logs.LogName | undefined, options: CommonOptions) =>
      load.fault().fault(options, { action: 'pause', region, what }),
    );
  command('heal', 'undo all of it', '', fault).action((options: CommonOptions) =>
    load.fault().fault(options, { action: 'heal' }),
  );
  command('list', 'what is broken at the moment', '', fault).action((options: CommonOptions) =>
    load.fault().listFaults(options),
  );

  return program;
}

/** Runs one command line; a failure is one sentence on stderr, and JSON on stdout where JSON was asked for. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    await buildProgram().parseAsync(argv);
  } catch (error) {
    const { code, message, exitCode } = failureOf(error, argv);
    process.exitCode = exitCode;
    // What is wrong in the command line, and help, commander has written already.
    if (!(error instanceof CommanderError)) process.stderr.write(`meridian: ${message}\n`);
    if (exitCode !== 0 && argv.includes('--json'))
      process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
  }
}

function failureOf(error: unknown, argv: readonly string[]): { code: string; message: string; exitCode: number } {
  if (error instanceof LocalError) return error;
  if (error instanceof CommanderError) {
    // Of `verify` 1 says that regions differ.
    const exitCode = error.exitCode !== 0 && argv[2] === 'verify' ? 2 : error.exitCode;
    return { code: 'BAD_ARGUMENT', message: error.message.replace(/^error: /, ''), exitCode };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : errorText(error);
  return { code: 'UNEXPECTED', message: `unexpected failure: ${text}`, exitCode: 1 };
}

if (require.main === module) void main(process.argv);
