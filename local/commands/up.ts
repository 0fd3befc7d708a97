import { appendFileSync } from 'node:fs';

import { renderConnect } from '../connect';
import { Display, type Picture } from '../display';
import { LocalError, errorText } from '../errors';
import { makeDir } from '../files';
import { type StackLayout, layoutOf } from '../layout';
import { basePortDefault } from '../../model';
import { binariesOf, loadStack } from '../stack';
import { alreadyRunning, readState, supervisorOf } from '../state';
import { type StackStatus, reportOf } from '../status';
import { Supervisor } from '../supervisor';
import { renderLine, renderReport } from '../table';
import { type CommonOptions, dirOf, print } from './common';
import { detach } from './detach';

export interface UpOptions extends CommonOptions {
  readonly config?: string;
  readonly regions?: string;
  readonly replicas?: number;
  readonly basePort?: number;
  readonly redisServer?: string;
  readonly detach?: boolean;
  /** False: `--no-agents`. */
  readonly agents: boolean;
  /** Set by `--detach` in the process that it starts. */
  readonly background?: boolean;
}

/** What `up --json` prints once every region is ready. */
export interface ReadyInfo extends StackStatus {
  readonly readyMs: number;
  readonly supervisor: number;
  readonly stateDir: string;
  readonly passwordFile: string;
  /** For a person. */
  readonly connect?: readonly string[];
}

/** From a started background process to the one that waits for it. */
export type BackgroundMessage =
  | { readonly notice: string }
  | { readonly ready: ReadyInfo; readonly lines: readonly string[] }
  | { readonly failed: { readonly code: LocalError['code']; readonly message: string; readonly exitCode: number } };

/** Starts a stack and, in the foreground, keeps it running until a signal ends it. */
export async function up(options: UpOptions): Promise<void> {
  const dir = dirOf(options);
  const holder = supervisorOf(dir);
  if (holder !== undefined) throw alreadyRunning(dir, options.stack, holder);
  const config = loadStack(options.stack, options);
  const layout = layoutOf(options.stack, config, options.basePort ?? config.local.basePort ?? basePortDefault, dir);
  const binaries = binariesOf(config, options.redisServer);
  if (options.detach) return detach(options, layout);

  makeDir(dir.root);
  const startedAt = performance.now();
  const supervisor = new Supervisor({ layout, binaries, agents: options.agents });
  const display = new Display(process.stdout, () => draw(layout));
  const background = options.background === true;
  const tell = (message: BackgroundMessage): void => {
    // Whoever waits for the start may have gone in the meantime.
    if (background && process.connected) process.send?.(message, undefined, undefined, () => undefined);
  };
  const record = (text: string): void => {
    const line = `${new Date().toISOString()} ${text}\n`;
    try {
      appendFileSync(dir.supervisorLog, line, { mode: 0o600 });
    } catch {
      // A full disk or a removed folder shows elsewhere; the stack goes on.
    }
  };
  const notice = (text: string): void => {
    record(text);
    tell({ notice: text });
    if (background) return;
    if (options.json) process.stderr.write(`meridian: ${text}\n`);
    else display.notice(text);
  };
  supervisor.on('notice', notice);
  if (config.security.tls)
    notice('no TLS between clients and Redis: everything stays on this machine (security.tls is for elsewhere)');

  const over = endBySignal(supervisor, notice, display);
  // A reader that has gone (`meridian up | head`) is no reason to stop a stack.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  try {
    await supervisor.start();
    await supervisor.untilReady();
  } catch (error) {
    await supervisor.stop(true);
    if (background && error instanceof LocalError) {
      tell({ failed: { code: error.code, message: error.message, exitCode: error.exitCode } });
    }
    throw error;
  }
  if (supervisor.isReady) {
    const info = await readyInfo(layout, Math.round(performance.now() - startedAt));
    const lines = readyLines(layout, info);
    // Who waits for the background process is told by what follows.
    (background ? record : notice)(lines[0] ?? '');
    tell({ ready: info, lines });
    if (background) process.disconnect?.();
    else if (options.json) print(options, info, []);
    else {
      // On a terminal the block says the same.
      if (!process.stdout.isTTY) process.stdout.write(`${lines.slice(1).join('\n')}\n\n`);
      display.start();
    }
  }
  await over;
}

/** Resolves when a signal has come and everything is stopped. A second signal doesn't wait for anybody. */
function endBySignal(supervisor: Supervisor, notice: (text: string) => void, display: Display): Promise<void> {
  return new Promise((resolve, reject) => {
    let signals = 0;
    const stop = (why: string): void => {
      signals++;
      if (signals === 1) notice(`${why}: stopping everything (once more: at once)`);
      display.stop();
      supervisor.stop(signals > 1).then(() => {
        notice('stopped');
        // Whatever else may be pending, nothing of it matters any more.
        setImmediate(resolve);
      }, reject);
    };
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, stop);
    const crash = (error: unknown): void => {
      process.exitCode = 1;
      process.stderr.write(
        `meridian: the supervisor failed: ${error instanceof Error ? error.stack : errorText(error)}\n`,
      );
      stop('failure');
    };
    process.on('uncaughtException', crash);
    process.on('unhandledRejection', crash);
  });
}

async function readyInfo(layout: StackLayout, readyMs: number): Promise<ReadyInfo> {
  const { dir } = layout;
  const state = readState(dir);
  if (state === undefined) throw new LocalError('STATE_DIR', `${dir.state} has gone: start the stack again.`);
  const { status } = await reportOf(dir, state);
  return { ...status, readyMs, supervisor: process.pid, stateDir: dir.root, passwordFile: dir.password };
}

function readyLines(layout: StackLayout, info: ReadyInfo): string[] {
  const seconds = (info.readyMs / 1000).toFixed(1);
  return [`${layout.regions.length} regions are ready after ${seconds} s`, '', ...renderConnect(layout)];
}

async function draw(layout: StackLayout): Promise<Picture> {
  const state = readState(layout.dir);
  if (state === undefined) throw new LocalError('STATE_DIR', `${layout.dir.state} has gone.`);
  const report = await reportOf(layout.dir, state);
  return {
    ...renderLine(report),
    block: [...renderReport(report), '', ...renderConnect(layout), '', '  Ctrl-C stops everything.'],
  };
}
