/**
 * The agent's log: one JSON object per line on stdout. What may stand in it is decided here and not at each call:
 * secrets and values never; names of keys at level debug and below only, for they are often personal data.
 */
import pino, { type DestinationStream, type Level, type Logger } from 'pino';

export type { Logger } from 'pino';

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  readonly region: string;
  /** Default: MERIDIAN_LOG_LEVEL, else info. */
  readonly level?: LogLevel | undefined;
  /** Default: stdout. */
  readonly destination?: DestinationStream;
  readonly env?: NodeJS.ProcessEnv;
}

const REMOVED = '[removed]';
const SECRETS = ['password', 'pass', 'secret', 'token', 'auth', 'credentials', 'requirepass', 'masterauth', 'tlsKey'];
const VALUES = ['value', 'values', 'payload', 'args'];
const KEYS = ['key', 'keys', 'field', 'member'];

/** A field at the top and one level below. */
const paths = (names: readonly string[]): string[] => names.flatMap((name) => [name, `*.${name}`]);

/** Which level applies: the config's, else the environment's, else info. */
export function logLevel(configured: LogLevel | undefined, env: NodeJS.ProcessEnv = process.env): LogLevel {
  if (configured !== undefined) return configured;
  const named = env['MERIDIAN_LOG_LEVEL']?.toLowerCase();
  return LOG_LEVELS.find((level) => level === named) ?? 'info';
}

export function createLogger(o: LogOptions): Logger {
  const debug = pino.levels.values['debug'] as number;
  return pino(
    {
      level: logLevel(o.level, o.env),
      base: { region: o.region, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: [...paths(SECRETS), ...paths(VALUES)], censor: REMOVED },
      serializers: { err: errorFields, error: errorFields },
      hooks: {
        logMethod(args, method, level) {
          const [first] = args as unknown[];
          if (level > debug && isPlain(first)) (args as unknown[])[0] = withoutKeys(first);
          method.apply(this, args);
        },
      },
    },
    o.destination ?? pino.destination({ dest: 1, sync: true }),
  );
}

/**
 * An error's name, code and message, and the same of its cause: not what else hangs on it (ioredis puts a command's arguments there). Where it arose stands with those that
 * nobody gave a code: they were not expected.
 */
function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  return {
    name: error.name,
    ...(code === undefined ? {} : { code }),
    message: error.message,
    ...(code === undefined || String(code).startsWith('ERR_') ? { stack: error.stack } : {}),
    ...(error.cause instanceof Error ? { cause: errorFields(error.cause) } : {}),
  };
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !(value instanceof Error);
}

function withoutKeys(fields: Record<string, unknown>): Record<string, unknown> {
  if (!KEYS.some((name) => name in fields)) return fields;
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !KEYS.includes(name)));
}

/** Whether a line of this level would be written: for callers who would have to compute its fields. */
export function logs(log: Logger, level: Level): boolean {
  return log.isLevelEnabled(level);
}
