/** Series of a dry run: there are none where changes are applied. */
import { Counter, Gauge, type Registry } from 'prom-client';

export interface DryRunMetrics {
  operations(name: string, n: number): void;
  conflicts(type: string, n: number): void;
}

export function dryRunMetrics(registry: Registry): DryRunMetrics {
  const registers = [registry];
  new Gauge({
    name: 'meridian_dry_run',
    help: '1: this agent reads and reports, and writes nothing to Redis.',
    registers,
  }).set(1);
  const operations = new Counter({
    name: 'meridian_dry_run_operations_total',
    help: 'Foreign operations that would have been applied, by what becomes of their commands.',
    labelNames: ['class'],
    registers,
  });
  const conflicts = new Counter({
    name: 'meridian_dry_run_conflicts_total',
    help: 'Operations that would have met one which they had not seen.',
    labelNames: ['type'],
    registers,
  });
  return {
    operations: (name, n) => operations.inc({ class: name }, n),
    conflicts: (type, n) => conflicts.inc({ type }, n),
  };
}
