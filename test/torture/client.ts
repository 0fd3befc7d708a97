/** A client of one region: sends what its workload says, and writes down what it was answered. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandWriter, RedisConnection, type Reply, ReplyError } from '../../agent/resp';
import { loopback } from '../../local/ports';
import { type Command } from './command';
import { type Effect, type History, type Moment } from './history';
import { type Act, type Workload } from './workload';

export interface Endpoint {
  /** Index in the history. */
  readonly region: number;
  readonly name: string;
  readonly port: number;
  readonly password: string;
}

/** In database 0, one of each region. */
export function beatKey(region: string): string {
  return `beat:${region}`;
}

const beatEveryMs = 25;
const reconnectMs = 20;

/** Runs commands that its caller gives as JSON; one that fails does not end the others. */
const script = `
local replies = {}
for i, command in ipairs(cjson.decode(ARGV[1])) do replies[i] = redis.pcall(unpack(command)) end
return replies`;

/** Connects again whenever the connection is lost, and sends nothing twice: what was lost may have run. */
abstract class Loop {
  private stopping = false;
  private running: Promise<void> = Promise.resolve();
  private connection: RedisConnection | null = null;

  constructor(protected readonly endpoint: Endpoint) {}

  start(): this {
    this.running = this.run();
    return this;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.stopping) {
      this.connection ??= await this.connect();
      if (this.connection === null) await sleep(reconnectMs);
      else {
        await this.round(this.connection);
        if (!this.connection.open) this.connection = null;
      }
    }
    this.connection?.close();
  }

  private async connect(): Promise<RedisConnection | null> {
    const { port, password } = this.endpoint;
    try {
      const connection = await RedisConnection.connect({ host: loopback, port, password });
      connection.on('close', () => undefined);
      return connection;
    } catch {
      return null; // not there yet, or paused
    }
  }

  protected abstract round(connection: RedisConnection): Promise<void>;
}

export class Client extends Loop {
  private readonly writer = new CommandWriter(1024);

  constructor(
    endpoint: Endpoint,
    private readonly name: string,
    private readonly history: History,
    private readonly workload: Workload,
    /** Between the beginnings of two acts. */
    private readonly everyMs: number,
  ) {
    super(endpoint);
  }

  protected async round(connection: RedisConnection): Promise<void> {
    const startMs = this.history.nowMs;
    await this.act(connection, this.workload.next(), startMs);
    const pauseMs = startMs + this.everyMs - this.history.nowMs;
    if (pauseMs > 0) await sleep(pauseMs);
  }

  /** Beats are read just before and just behind, on the same connection: Redis runs them in this order. */
  private async act(connection: RedisConnection, act: Act, startMs: number): Promise<void> {
    const { history, writer } = this;
    const beats = ['MGET', ...history.regions.map(beatKey)];
    writer.command(['SELECT', 0]).command(beats).command(['SELECT', act.db]);
    if (act.how === 'lua') writer.command(['EVAL', script, 0, JSON.stringify(act.commands.map(({ args }) => args))]);
    else {
      if (act.how === 'multi') writer.command(['MULTI']);
      for (const { args } of act.commands) writer.command([...args]);
      if (act.how === 'multi') writer.command(['EXEC']);
    }
    writer.command(['SELECT', 0]).command(beats);
    const count = writer.commands;
    let replies: Reply[];
    try {
      replies = await connection.pipeline(writer.take(), count);
    } catch {
      const ran: Moment = { fromMs: startMs, toMs: Infinity };
      const effects = act.commands.flatMap((command) => command.maybe(ran));
      history.add({
        ...this.described(act),
        startMs,
        endMs: Infinity,
        sure: false,
        before: null,
        after: null,
        effects,
      });
      return;
    }
    const endMs = history.nowMs;
    const ran: Moment = { fromMs: startMs, toMs: endMs };
    const answers = answersOf(act, replies.slice(3, -2));
    if (answers.every((answer) => answer instanceof ReplyError)) {
      history.refused++;
      // A server that is loading answers at once.
      if (answers.some((answer) => answer.code === 'LOADING')) await sleep(reconnectMs);
      return;
    }
    const effects = act.commands.flatMap((command, i) => effectsOf(command, answers[i] ?? null, ran));
    const [before, after] = [numbersOf(replies[1]), numbersOf(replies.at(-1))];
    history.add({ ...this.described(act), startMs, endMs, sure: true, before, after, effects });
  }

  private described(act: Act): { region: number; what: string } {
    const text = act.commands.map(({ args }) => args.join(' ')).join('; ');
    return { region: this.endpoint.region, what: `${this.name}: ${act.how === 'plain' ? '' : `${act.how}: `}${text}` };
  }
}

/** Counts its region's beat up. */
export class Beater extends Loop {
  constructor(
    endpoint: Endpoint,
    private readonly history: History,
  ) {
    super(endpoint);
  }

  protected async round(connection: RedisConnection): Promise<void> {
    const beats = this.history.beats[this.endpoint.region]!;
    const n = beats.start(this.history.nowMs);
    try {
      const reply = await connection.call('SET', beatKey(this.endpoint.name), n);
      if (reply === 'OK') beats.end(n, this.history.nowMs);
    } catch {
      return; // it may stand or not
    }
    await sleep(beatEveryMs);
  }
}

function answersOf(act: Act, replies: readonly Reply[]): readonly Reply[] {
  if (act.how === 'plain') return replies;
  const last = replies.at(-1) ?? null;
  return Array.isArray(last) ? last : act.commands.map(() => last);
}

function effectsOf(command: Command, answer: Reply, ran: Moment): readonly Effect[] {
  return answer instanceof ReplyError ? [] : command.done(answer, ran);
}

/** Beats that were never written are 0; null where Redis refused to read them. */
function numbersOf(reply: Reply | undefined): number[] | null {
  return Array.isArray(reply) ? reply.map((value) => (Buffer.isBuffer(value) ? Number(value.toString()) : 0)) : null;
}
