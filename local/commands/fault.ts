import { commandOf } from '../connect';
import { LocalError } from '../errors';
import { askFault, askView } from '../control';
import { type FaultRequest, describeFault } from '../faults';
import { type StateDir } from '../layout';
import { requireRunning } from '../status';
import { type CommonOptions, dirOf, print } from './common';

/** Breaks or heals something in a running stack. */
export async function fault(options: CommonOptions, request: FaultRequest): Promise<void> {
  const dir = dirOf(options);
  requireRunning(dir, options.stack);
  const done = await askFault(dir, request);
  if (done === undefined) throw noSupervisor(options, dir);
  const faults = (await askView(dir))?.faults ?? [];
  print(options, { done, faults }, [done]);
}

/** Lists what is broken on purpose at the moment. */
export async function listFaults(options: CommonOptions): Promise<void> {
  const dir = dirOf(options);
  requireRunning(dir, options.stack);
  const view = await askView(dir);
  if (view === undefined) throw noSupervisor(options, dir);
  print(
    options,
    { faults: view.faults },
    view.faults.length === 0 ? ['nothing is broken on purpose'] : view.faults.map(describeFault),
  );
}

function noSupervisor({ stack }: CommonOptions, dir: StateDir): LocalError {
  return new LocalError(
    'NOT_RUNNING',
    `No supervisor answers for ${dir.root}: \`${commandOf('up', stack, dir)}\` takes over what runs.`,
  );
}
