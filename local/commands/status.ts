import { setTimeout as sleep } from 'node:timers/promises';

import { Display } from '../display';
import { reportOf, requireRunning } from '../status';
import { renderLine, renderReport } from '../table';
import { type CommonOptions, dirOf, print } from './common';

export interface StatusOptions extends CommonOptions {
  readonly watch?: boolean;
}

const watchMs = 1000;

export async function status(options: StatusOptions): Promise<void> {
  const dir = dirOf(options);
  const look = (): ReturnType<typeof reportOf> => reportOf(dir, requireRunning(dir, options.stack));
  if (!options.watch) {
    const report = await look();
    print(options, report.status, renderReport(report));
    return;
  }
  if (options.json) {
    // One line a look: made for `| jq`.
    for (;;) {
      print(options, (await look()).status, []);
      await sleep(watchMs);
    }
  }
  await look();
  const display = new Display(process.stdout, async () => {
    const report = await look();
    return { ...renderLine(report), block: renderReport(report) };
  });
  await new Promise<never>((_, reject) => display.start(reject)).finally(() => display.stop());
}
