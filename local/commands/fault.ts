import { LocalError } from '../errors';
import { askFault, askView } from '../control';
import { type FaultRequest, describeFault } from '../faults';
import { requireRunning } from '../status';
import { type CommonOptions, dirOf, print } from './common';

/** Breaks or heals something in a running stack. */
export async function fault(options: CommonOptions, request: FaultRequest): Promise<void> {
  const dir = dirOf(options);
  requireRunning(dir, options.stack);
  const done = await askFault(dir, request);
  const faults = (await askView(dir))?.faults ?? [];
  print(options, { done, faults }, [done]);
}

/** Lists what is broken on purpose at the moment. */
export async function listFaults(options: CommonOptions): Promise<void> {
  const dir = dirOf(options);
  requireRunning(dir, options.stack);
  const view = await askView(dir);
  if (view === undefined) {
    throw new LocalError('NOT_RUNNING', `No supervisor answers for ${dir.root}: start the stack with \`meridian up\`.`);
  }
  print(
    options,
    { faults: view.faults },
    view.faults.length === 0 ? ['nothing is broken on purpose'] : view.faults.map(describeFault),
  );
}
