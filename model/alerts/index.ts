/** What one region's Prometheus watches for. Pure: settings in, rules out. */
import { redisAlerts } from './redis';
import { replicationAlerts } from './replication';
import { type AlertGroup, type AlertRule, type Draft } from './rule';
import { type AlertSettings } from './settings';
import { surroundingAlerts } from './surroundings';

export { type AlertGroup, type AlertRule, Severity } from './rule';
export { type AlertSettings, defaultAlertSettings } from './settings';
export { type Selector, selectorOf } from './selector';

/**
 * All alerts of one region, in groups. Every series is asked for by its region, so that rules of several regions may be in one
 * Prometheus without telling anything twice.
 */
export function alertRules(settings: AlertSettings): AlertGroup[] {
  const group = (name: string, drafts: readonly Draft[]): AlertGroup => ({
    name: `meridian-${settings.region}-${name}`,
    rules: drafts.map((draft) => finished(draft, settings)),
  });
  return [
    group('replication', replicationAlerts(settings)),
    ...(settings.hasExporter ? [group('redis', redisAlerts(settings))] : []),
    group('surroundings', surroundingAlerts(settings)),
  ].filter(({ rules }) => rules.length > 0);
}

function finished(draft: Draft, { region, runbookBaseUrl }: AlertSettings): AlertRule {
  const { alert, severity, expr, forSeconds, summary, description } = draft;
  return {
    alert,
    expr,
    for: `${forSeconds}s`,
    labels: { severity, region },
    annotations: { summary, description, runbook_url: `${runbookBaseUrl.replace(/\/$/, '')}/${alert}.md` },
  };
}
