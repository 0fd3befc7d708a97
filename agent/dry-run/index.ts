export { DryRun } from './dry-run';
export { dryRunMetrics } from './metrics';
export { Trial, type TrialReport } from './trial';
