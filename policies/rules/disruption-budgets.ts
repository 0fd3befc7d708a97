import { z } from 'zod';

import { isKind, isSamePlace, nameOf, type Placed, placeOf, PodRole, selects, workloadsOf } from '../kubernetes';
import { at, shown } from '../props';
import { type CheckedInStack, type Issue, Level, stackRule } from '../rule';

const isBudget = isKind('PodDisruptionBudget');

/** Advisory: what it costs is availability. Pods that are drained hand over, and their volumes stay. */
export const disruptionBudgets = stackRule({
  name: 'disruption-budgets',
  level: Level.Advisory,
  what: 'Redis, Sentinels and agents have a PodDisruptionBudget, which lets one of them go at a time.',
  why: 'Otherwise an upgrade of the cluster drains the primary and its replica together, or a majority of the Sentinels: no data goes, but nobody can write.',
  fix: 'KubernetesRedis and SyncAgent make one; elsewhere add a PodDisruptionBudget with maxUnavailable 1.',
  settings: {
    maxUnavailableMax: z.int().min(0).default(1).describe('The most pods of one kind that may be taken away together.'),
  },
  check: (resources, { maxUnavailableMax }) => {
    const budgets = resources.filter(({ type }) => isBudget(type));
    return workloadsOf(resources)
      .filter(({ role }) => role !== PodRole.Exporter)
      .flatMap((workload) => issuesOf(workload, budgets, maxUnavailableMax));
  },
});

function issuesOf(workload: Placed, budgets: readonly CheckedInStack[], most: number): Issue[] {
  const { urn, labels, place } = workload;
  const budget = budgets.find(
    (one) => isSamePlace(placeOf(one), place) && selects(at(one.props, 'spec', 'selector'), labels),
  );
  const where = nameOf(workload);
  if (budget === undefined) return [{ urn, where, found: 'no PodDisruptionBudget', allowed: 'one for its pods' }];
  const maxUnavailable = at(budget.props, 'spec', 'maxUnavailable');
  const isRight =
    typeof maxUnavailable === 'number'
      ? maxUnavailable <= most
      : maxUnavailable === undefined && at(budget.props, 'spec', 'minAvailable') !== undefined;
  if (isRight) return [];
  const allowed = `${most} or less, or minAvailable`;
  return [{ urn: budget.urn, where: `the budget of ${where}: maxUnavailable`, found: shown(maxUnavailable), allowed }];
}
