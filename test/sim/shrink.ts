/**
 * Finds the events that a failure needs: leaves out ever smaller parts of a schedule as long as it still fails (ddmin, Zeller and
 * Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).
 */
import { SimFailure, World, type WorldOptions } from './world';

/** Schedules that are tried at most. */
const TRIES_MAX = 2000;

/**
 * @param failure what the schedule of `seed` and `options` ended with
 * @returns the failure of the smallest schedule found, which may be another one than the first
 */
export function shrink(failure: SimFailure, options: WorldOptions): SimFailure {
  let smallest = failure;
  let tries = 0;
  const failureOf = (events: readonly number[]): SimFailure | null => {
    tries++;
    try {
      new World(failure.seed, { ...options, only: new Set(events) }).run();
      return null;
    } catch (error) {
      if (error instanceof SimFailure) return error;
      throw error;
    }
  };
  for (let size = Math.ceil(failure.events.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    // The last events first: what comes behind a failure's cause is seldom needed.
    for (let end = smallest.events.length; end > 0 && tries < TRIES_MAX; end -= size) {
      const { events } = smallest;
      const without = [...events.slice(0, Math.max(0, end - size)), ...events.slice(end)];
      const found = without.length === events.length ? null : failureOf(without);
      if (found !== null) smallest = found;
    }
  }
  return smallest;
}
