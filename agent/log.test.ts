import { createLogger, logLevel, type LogLevel, logs } from './log';

function lines(level: LogLevel, write: (log: ReturnType<typeof createLogger>) => void): Record<string, unknown>[] {
  const out: string[] = [];
  write(createLogger({ region: 'eu', level, destination: { write: (line) => void out.push(line) } }));
  return out.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('a line is one JSON object with time, level, region and message', () => {
  const [line] = lines('info', (log) => log.info({ link: 'us' }, 'up'));
  expect(line).toMatchObject({ level: 'info', region: 'eu', pid: process.pid, link: 'us', msg: 'up' });
  expect(Date.parse(String(line?.['time']))).toBeGreaterThan(Date.now() - 60_000);
});

test('no secret and no value is ever written, whatever the level', () => {
  const secret = 'canary';
  const all = lines('trace', (log) => {
    for (const level of ['trace', 'debug', 'info', 'error'] as const) {
      log[level]({ password: secret, auth: secret, value: secret, payload: Buffer.from(secret) }, 'at the top');
      log[level]({ redis: { host: 'h', password: secret, requirepass: secret }, op: { args: [secret] } }, 'below');
      const error = Object.assign(new Error('ERR syntax error'), { command: { name: 'set', args: ['k', secret] } });
      log[level]({ err: error }, 'as an error');
      log[level](error);
    }
  });
  expect(all).toHaveLength(16);
  expect(JSON.stringify(all)).not.toContain(secret);
  expect(all[1]).toMatchObject({ redis: { host: 'h', password: '[removed]' } });
});

test('names of keys are written at debug, and left out above', () => {
  const all = lines('debug', (log) => {
    log.debug({ key: 'user:42' }, 'settled');
    log.warn({ key: 'user:42', keys: ['user:42'], db: 3 }, 'differs');
  });
  expect(all[0]).toMatchObject({ key: 'user:42' });
  expect(all[1]).toMatchObject({ db: 3, msg: 'differs' });
  expect(JSON.stringify(all[1])).not.toContain('user:42');
});

test('an error is written with code, place and cause', () => {
  const cause = Object.assign(new Error('no space'), { code: 'ENOSPC' });
  const [line] = lines('info', (log) => log.error({ err: new Error('cannot write', { cause }) }, 'journal'));
  expect(line?.['err']).toMatchObject({
    message: 'cannot write',
    stack: expect.stringContaining('log.test'),
    cause: { code: 'ENOSPC', message: 'no space' },
  });
  expect(line?.['err']).not.toHaveProperty('cause.stack');
});

test('the level is the one of the config, else of the environment, else info', () => {
  expect(logLevel('warn', { MERIDIAN_LOG_LEVEL: 'debug' })).toBe('warn');
  expect(logLevel(undefined, { MERIDIAN_LOG_LEVEL: 'DEBUG' })).toBe('debug');
  expect(logLevel(undefined, { MERIDIAN_LOG_LEVEL: 'loud' })).toBe('info');
  expect(logLevel(undefined, {})).toBe('info');
  expect(lines('warn', (log) => log.info('quiet'))).toEqual([]);
  const log = createLogger({ region: 'eu', level: 'warn', destination: { write: () => undefined } });
  expect([logs(log, 'info'), logs(log, 'error')]).toEqual([false, true]);
});
