import { type Reply, RedisConnection, ReplyError } from '../../agent/resp';
import { LocalError, errorText } from '../errors';

/** Where a region's Redis is, and how to log in. */
export interface Endpoint {
  /** The region. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
}

/** A Redis that doesn't answer is paused or overloaded: it can't be compared. */
const timeoutMs = 15_000;

/** One Redis that is compared: a connection, and what the server can do. */
export class Server {
  private constructor(
    readonly name: string,
    private readonly connection: RedisConnection,
    private readonly address: string,
    /** Numbers of the databases that hold keys. */
    readonly databases: readonly number[],
    /** Knows PEXPIRETIME (Redis 7.0). */
    readonly tellsExpireTime: boolean,
    /** Fields of a hash can expire (Redis 7.4, Valkey 9). */
    readonly fieldsExpire: boolean,
    /** Has libraries of functions (Redis 7.0). */
    readonly hasFunctions: boolean,
  ) {}

  /** @throws LocalError COULD_NOT_COMPARE */
  static async connect(endpoint: Endpoint): Promise<Server> {
    const { name, host, port, username, password } = endpoint;
    const address = `${host}:${port}`;
    try {
      const connection = await RedisConnection.connect({
        host,
        port,
        username,
        password,
        name: 'meridian-verify',
        connectTimeoutMs: 5000,
        commandTimeoutMs: timeoutMs,
      });
      connection.on('close', () => undefined);
      try {
        const keyspace = text(accept(await connection.call('INFO', 'keyspace')));
        const asked = ['PEXPIRETIME', 'HPEXPIRETIME', 'FUNCTION'];
        const reply = accept(await connection.call('COMMAND', 'INFO', ...asked));
        const [expireTime = false, fieldExpireTime = false, functions = false] = items(reply).map(isCommand);
        const databases = [...keyspace.matchAll(/^db(\d+):/gm)].map(([, db]) => Number(db));
        return new Server(name, connection, address, databases, expireTime, fieldExpireTime, functions);
      } catch (error) {
        connection.close();
        throw error;
      }
    } catch (error) {
      throw unreachable(name, address, error);
    }
  }

  /** One command. @throws ReplyError for an error reply. @throws LocalError COULD_NOT_COMPARE when the server is gone */
  async call(...args: (string | number | Buffer)[]): Promise<Exclude<Reply, ReplyError>> {
    let reply: Reply;
    try {
      reply = await this.connection.call(...args);
    } catch (error) {
      throw unreachable(this.name, this.address, error);
    }
    if (reply instanceof ReplyError && reply.code === 'LOADING') throw unreachable(this.name, this.address, reply);
    return accept(reply);
  }

  close(): void {
    this.connection.close();
  }
}

function unreachable(name: string, address: string, error: unknown): LocalError {
  const why = errorText(error).replace(`${address}: `, '');
  return new LocalError(
    'COULD_NOT_COMPARE',
    `The regions can't be compared: ${name} (${address}) does not take part: ${why}. Try again when it does.`,
    2,
  );
}

function isCommand(reply: Reply | undefined): boolean {
  // Redis 7 answers nil for a command that it doesn't know, older ones too.
  return Array.isArray(reply) && reply.length > 0;
}

function accept(reply: Reply): Exclude<Reply, ReplyError> {
  if (reply instanceof ReplyError) throw reply;
  return reply;
}

export function items(reply: Reply): Reply[] {
  if (!Array.isArray(reply)) throw new TypeError('an array was expected from Redis');
  return reply;
}

export function text(reply: Reply | undefined): string {
  if (Buffer.isBuffer(reply)) return reply.toString('latin1');
  if (typeof reply === 'string' || typeof reply === 'number' || typeof reply === 'bigint') return String(reply);
  throw new TypeError('a text was expected from Redis');
}

export function buffer(reply: Reply | undefined): Buffer {
  if (Buffer.isBuffer(reply)) return reply;
  throw new TypeError('bytes were expected from Redis');
}

export function number(reply: Reply | undefined): number {
  return Number(text(reply));
}
