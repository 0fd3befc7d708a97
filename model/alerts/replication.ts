import { type Draft, Severity } from './rule';
import { selectorOf } from './selector';
import { type AlertSettings } from './settings';

/** Between regions: agents, links, journals. Metrics: agent/metrics.ts. */
export function replicationAlerts(settings: AlertSettings): Draft[] {
  const { agentJob, critical, warning, lagForSeconds, peers, region } = settings;
  const of = selectorOf(settings);
  // An agent that is not active keeps the last lag it measured; that it isn't active is an alert of its own.
  const active = of('meridian_agent_state', 'state="active"');
  const lag = `max by (region, peer) (${of('meridian_link_lag_ms')} and on (instance) ${active} == 1)`;
  const lagAlert = (severity: Severity, lagMs: number): Draft => ({
    alert: 'MeridianReplicationLag',
    severity,
    expr: `${lag} > ${lagMs}`,
    forSeconds: lagForSeconds,
    summary: `{{ $labels.region }} is {{ $value | printf "%.0f" }} ms behind {{ $labels.peer }}`,
    description: `What is written in {{ $labels.peer }} reaches {{ $labels.region }} later than ${lagMs} ms. Were {{ $labels.peer }} lost now, so much of it would be missing.`,
  });
  const journal = `max by (region, instance) (${of('meridian_journal_bytes')}) / ${settings.journalBytesMax}`;
  const journalAlert = (severity: Severity, share: number): Draft => ({
    alert: 'MeridianJournalFull',
    severity,
    expr: `${journal} > ${share}`,
    forSeconds: 60,
    summary: `The journal of {{ $labels.region }} has {{ $value | humanizePercentage }} of its size`,
    description: `It grows while some region doesn't take what is in it. Beyond its size of ${settings.journalBytesMax} bytes the agent goes on writing until the disk is full.`,
  });
  return [
    lagAlert(Severity.Critical, critical.lagMs),
    lagAlert(Severity.Warning, warning.lagMs),
    ...(peers.length > 0 ? [lagUnknownAlert(settings)] : []),
    {
      alert: 'MeridianLinkDown',
      severity: Severity.Warning,
      // No more than a warning: while others relay, the data comes; when it doesn't, the lag is critical.
      // By pod, for of a cluster each shard has an agent, and a link of its own.
      expr: `max by (region, peer, pod) (${of('meridian_link_up')}) == 0`,
      forSeconds: 60,
      summary: `{{ $labels.region }} has no link to {{ $labels.peer }}`,
      description: `Nothing arrives in {{ $labels.region }} from {{ $labels.peer }} directly. Other regions may pass it on.`,
    },
    {
      alert: 'MeridianLinkErrors',
      severity: Severity.Warning,
      expr: `sum by (region, peer) (increase(${of('meridian_link_errors_total')}[10m])) > 5`,
      forSeconds: 60,
      summary: `The link from {{ $labels.peer }} to {{ $labels.region }} breaks again and again`,
      description: `{{ $value | printf "%.0f" }} errors in ten minutes.`,
    },
    {
      alert: 'MeridianAgentDown',
      severity: Severity.Critical,
      expr: `${of('up', `job="${agentJob}"`)} == 0 or absent(${of('up', `job="${agentJob}"`)})`,
      forSeconds: critical.downSeconds,
      summary: `The sync agent of ${region} is not there`,
      description: `It doesn't answer Prometheus, or isn't known to it. While it is down nothing leaves ${region} and nothing arrives; both are made up for when it is back.`,
    },
    {
      alert: 'MeridianAgentInactive',
      severity: Severity.Critical,
      expr: `max by (region, pod) (${of('up', `job="${agentJob}"`)}) == 1 unless on (region, pod) ${active} == 1 unless on (region, pod) ${of('meridian_dry_run')} == 1`,
      forSeconds: 120,
      summary: `No agent of {{ $labels.region }} is active`,
      description: `An agent runs, but doesn't replicate: its Redis can't be reached or is a replica, or it waits for a peer to join.`,
    },
    {
      alert: 'MeridianDivergence',
      severity: Severity.Critical,
      // A series that begins at 1 has no increase: what is there now and wasn't before counts, too.
      expr: firstOrMore('sum by (region, code)', of('meridian_dead_letters_total')),
      forSeconds: 0,
      summary: `{{ $labels.region }} could not apply commands of other regions ({{ $labels.code }})`,
      description: `Commands were set aside. The keys they are about may differ between the regions until they are written again.`,
    },
    {
      alert: 'MeridianDeadLetters',
      severity: Severity.Warning,
      expr: `max by (region) (${of('meridian_dead_letters')}) > 0`,
      forSeconds: 900,
      summary: `{{ $labels.region }} has {{ $value | printf "%.0f" }} dead letters`,
      description: `Commands of other regions that its Redis refused wait for somebody to retry or drop them. Until then their keys may differ between the regions.`,
    },
    {
      alert: 'MeridianFlushRefused',
      severity: Severity.Warning,
      // Its data comes back by itself; until then clients of that region miss it.
      expr: firstOrMore('sum by (region)', of('meridian_flushes_refused_total')),
      forSeconds: 0,
      summary: `A client has flushed the Redis of {{ $labels.region }}`,
      description: `FLUSHALL or FLUSHDB was not carried to other regions (\`replication.flush: refuse\`). The region gets its data back from them.`,
    },
    {
      alert: 'MeridianTrespass',
      severity: Severity.Warning,
      // What they wrote is gone some tens of milliseconds later: only by this does anybody learn of it who doesn't read it back.
      expr: firstOrMore('sum by (region)', of('meridian_trespasses_total')),
      forSeconds: 0,
      summary: `Clients of {{ $labels.region }} write keys that another region owns`,
      description: `By the policy of these keys (\`region:<name>\`) what they write there is put back, and reaches no other region.`,
    },
    {
      alert: 'MeridianFullSyncs',
      severity: Severity.Warning,
      expr: `sum by (region) (increase(${of('meridian_full_syncs_total')}[1h])) > 3`,
      forSeconds: 0,
      summary: `{{ $labels.region }} syncs in full again and again`,
      description: `{{ $value | printf "%.0f" }} full syncs in an hour: Redis restarts, or its backlog is too short for the agent's absences.`,
    },
    {
      alert: 'MeridianWindowLarge',
      severity: Severity.Warning,
      // Somewhat beyond its budget it is whenever it goes to disk.
      expr: `max by (region) (${of('meridian_window_load_bytes')} / (${of('meridian_window_budget_bytes')} > 0)) > 1.5`,
      forSeconds: 300,
      summary: `The window of {{ $labels.region }} takes {{ $value | humanizePercentage }} of its memory`,
      description: `What not every region has seen grows while one is away, and some of it can't go to disk: streams above all. The agent comes closer to its memory limit.`,
    },
    journalAlert(Severity.Critical, critical.journal),
    journalAlert(Severity.Warning, warning.journal),
    {
      alert: 'MeridianCertificateExpires',
      severity: Severity.Warning,
      // Of those in use, whoever issued them: one that was renewed counts when it is shown.
      expr: `min by (region, certificate) (${of('meridian_certificate_expiration_timestamp_seconds')}) - time() < ${warning.certificateDays} * 86400`,
      forSeconds: 3600,
      summary: `The certificate that {{ $labels.region }} uses ({{ $labels.certificate }}) ends in {{ $value | humanizeDuration }}`,
      description: `It is the one that the agent, its Redis, or an authority that it trusts has in use now. When it ends, agents refuse each other, or clients refuse Redis.`,
    },
  ];
}

/** More in the last 15 minutes, the first one included. */
function firstOrMore(sum: string, series: string): string {
  return `${sum} (increase(${series}[15m]) > 0 or (${series} unless ${series} offset 15m) > 0)`;
}

function lagUnknownAlert(settings: AlertSettings): Draft {
  const { peers, region } = settings;
  const of = selectorOf(settings);
  return {
    alert: 'MeridianLagUnknown',
    severity: Severity.Warning,
    // A lag that nobody has measured is absent, not 0.
    expr: peers.map((peer) => `absent(${of('meridian_link_lag_ms', `peer="${peer}"`)})`).join(' or '),
    forSeconds: 300,
    summary: `How far ${region} is behind {{ $labels.peer }} is not known`,
    description: `The agent of ${region} has had no heartbeat of {{ $labels.peer }} since it started, or isn't scraped.`,
  };
}
