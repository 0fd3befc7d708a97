import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

import { commandOf } from '../connect';
import { LocalError } from '../errors';
import { makeDir } from '../files';
import { type StackLayout } from '../layout';
import { print } from './common';
import { type BackgroundMessage, type UpOptions } from './up';

const waitMsMax = 120_000;

/** Starts `up` again as a process of its own in the background, and waits until it says that all is ready. */
export async function detach(options: UpOptions, layout: StackLayout): Promise<void> {
  const { dir } = layout;
  makeDir(dir.root);
  const log = openSync(dir.supervisorLog, 'a', 0o600);
  const args = process.argv.slice(2).filter((arg) => arg !== '--detach' && arg !== '-d');
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1] ?? '', ...args, '--background'], {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
  });
  closeSync(log);

  let cancelledBy: string | undefined;
  const cancel = (name: NodeJS.Signals): void => {
    cancelledBy = name;
    child.kill('SIGTERM');
  };
  process.on('SIGINT', cancel).on('SIGTERM', cancel);
  try {
    await new Promise<void>((resolve, reject) => {
      let latest = '';
      const timer = setTimeout(() => {
        const why = latest === '' ? '' : ` (last: ${latest})`;
        reject(
          new LocalError(
            'START_FAILED',
            `Not everything is ready after ${waitMsMax / 1000} s${why}: it goes on in the background; watch it with \`${commandOf('status', layout.stack, dir)}\`, or see ${dir.supervisorLog}.`,
          ),
        );
      }, waitMsMax);
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        act();
      };
      child.on('message', (message: BackgroundMessage) => {
        if ('ready' in message) {
          settle(() => {
            print(options, message.ready, [...message.lines, `  Stop it   ${commandOf('down', layout.stack, dir)}`]);
            resolve();
          });
        } else if ('failed' in message) {
          const { code, message: text, exitCode } = message.failed;
          settle(() => reject(new LocalError(code, text, exitCode)));
        } else {
          latest = message.notice;
          process.stderr.write(`meridian: ${message.notice}\n`);
        }
      });
      child.on('error', (error) => settle(() => reject(error)));
      child.on('exit', (code, signal) =>
        settle(() =>
          reject(
            new LocalError(
              'START_FAILED',
              cancelledBy === undefined
                ? `The supervisor ended before all was ready (${signal ?? `status ${code}`}): see ${dir.supervisorLog}.`
                : `The start was broken off by ${cancelledBy}; nothing of it runs.`,
            ),
          ),
        ),
      );
    });
  } finally {
    process.off('SIGINT', cancel).off('SIGTERM', cancel);
    if (child.connected) child.disconnect();
    child.unref();
  }
}
