import { stringify } from 'yaml';

import { stackAlerts } from '../../model/alerts/stack';
import { readStack } from '../stack';
import { type CommonOptions, print } from './common';

export interface AlertsOptions extends CommonOptions {
  readonly config?: string;
}

/** The alerts of a stack as a file of rules, for a Prometheus without the operator. */
export function alerts(options: AlertsOptions): void {
  const { config } = readStack(options.stack, options.config);
  const groups = stackAlerts(config);
  print(options, { groups }, [
    `# Alerts of stack ${options.stack}. Scrape agents as job meridian-agent, redis_exporter as job meridian-redis with a label region.`,
    stringify({ groups }, { lineWidth: 0 }).trimEnd(),
  ]);
}
