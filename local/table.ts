import { type AgentDryRun, type AgentStatus } from './agent-status';
import { describeFault } from './faults';
import { type LinkStatus, type RegionStatus, type StackReport } from './status';

/** Columns are as wide as their widest cell; numbers stand at the right. */
export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

export function renderTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ right }, i) =>
        right ? (cells[i] ?? '').padStart(widths[i] ?? 0) : (cells[i] ?? '').padEnd(widths[i] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return [line(columns.map(({ title }) => title)), ...rows.map(line)].map((text) => `  ${text}`);
}

/** A stack for a person: its regions, the lag between them, and what is broken on purpose. */
export function renderReport(report: StackReport): string[] {
  const { status, agents, view } = report;
  const lines = [headline(report), '', ...regionTable(report)];
  if (status.regions.some((region) => region.links.length > 0)) lines.push('', ...lagTable(status.regions));
  lines.push(...dryRunLines(status.regions));
  const starting = view?.services.filter(({ state }) => state !== 'ready') ?? [];
  for (const { name, state, detail } of starting)
    lines.push('', `  ${name}: ${state}${detail === '' ? '' : `, ${detail}`}`);
  const troubles = [...agents].flatMap(([region, agent]) =>
    // Of a dry run it is said above, once.
    agent.reason === undefined || agent.state === 'dry-run' ? [] : [`${region}: ${agent.reason}`],
  );
  for (const trouble of troubles) lines.push('', `  ${trouble}`);
  if (view === undefined)
    lines.push('', '  Nothing starts again what ends, and links go through the supervisor: `meridian up` takes over.');
  const faults = view?.faults ?? [];
  if (faults.length > 0)
    lines.push(
      '',
      '  Broken on purpose (`meridian fault heal` undoes it):',
      ...faults.map((fault) => `    ${describeFault(fault)}`),
    );
  return lines;
}

/**
 * The same in one line, for a log; `state` is the part of it that is worth a new line when it changes.
 */
export function renderLine(report: StackReport): { state: string; line: string } {
  const { status, agents, view } = report;
  const state = [
    ...status.regions.map(({ name, redis, agent, links }) => {
      const broken = links.filter((link) => link.state !== 'up').map(({ peer, state }) => `, ${peer} ${state}`);
      return `${name}: ${redis.pid === null ? 'no Redis' : agent.state}${broken.join('')}`;
    }),
    ...(view?.faults ?? []).map(describeFault),
  ].join('; ');
  const pending = status.regions.reduce((sum, region) => sum + pendingOf(region), 0);
  const rate = [...agents.values()].reduce((sum, agent) => sum + agent.captured.opsPerSecond, 0);
  const lags = status.regions.flatMap((region) => region.links.map((link) => link.lagMs ?? 0));
  const toSend = Math.max(0, ...status.regions.map(toSendOf));
  const numbers = `${number(rate)} writes/s, ${bytes(toSend)} to send, ${number(pending)} pending, lag up to ${number(Math.max(0, ...lags))} ms`;
  return { state, line: agents.size === 0 ? state : `${numbers}; ${state}` };
}

function headline({ status, view }: StackReport): string {
  const count = `${status.regions.length} regions`;
  const agentsOff = status.regions.every((region) => region.agent.state === 'off');
  const isDry = status.regions.some((region) => region.dryRun !== null);
  const state = agentsOff
    ? 'without agents'
    : isDry
      ? 'dry run'
      : status.converged
        ? 'all equal'
        : 'not all equal at this moment';
  return `Stack ${status.stack}: ${count}, ${state}${view === undefined ? '; its supervisor does not answer' : ''}`;
}

/** What regions in a dry run would do. */
function dryRunLines(regions: readonly RegionStatus[]): string[] {
  const found = regions.flatMap(({ name, dryRun }) => (dryRun === null ? [] : [{ name, dryRun }]));
  if (found.length === 0) return [];
  const columns = [
    { title: 'DRY RUN' },
    { title: 'WOULD APPLY', right: true },
    { title: 'WOULD CONFLICT', right: true },
    { title: 'KEYS' },
  ];
  const rows = found.map(({ name, dryRun: { wouldApply, wouldConflict, keys } }) => [
    name,
    number(wouldApply.operations),
    number(wouldConflict.operations),
    keys === null ? 'not compared yet' : keysText(keys),
  ]);
  return ['', ...renderTable(columns, rows), '', '  Nothing is written to Redis (replication.dryRun).'];
}

function keysText(keys: NonNullable<AgentDryRun['keys']>): string {
  if (keys.with === null) return `${number(keys.here)}, with which the mesh would begin`;
  const parts = [
    `${number(keys.equal)} as in ${keys.with}`,
    `${number(keys.differing)} would become ${keys.with}'s`,
    `${number(keys.onlyThere)} would come`,
    `${number(keys.onlyHere)} would be offered`,
  ];
  return parts.join(', ');
}

/** What matters least stands at the right, where a narrow terminal cuts it off. */
function regionTable({ status, agents, primary }: StackReport): string[] {
  const columns = [
    { title: 'REGION' },
    { title: 'ROLE' },
    { title: 'PORT', right: true },
    { title: 'AGENT' },
    { title: 'WRITES/S', right: true },
    { title: 'APPLIED/S', right: true },
    { title: 'TO SEND', right: true },
    { title: 'PENDING', right: true },
    { title: 'CONFLICTS', right: true },
    { title: 'WEIGHT', right: true },
    { title: 'REPLICAS', right: true },
    { title: 'JOURNAL', right: true },
    { title: 'REDIS' },
  ];
  const rows = status.regions.map((region) => {
    const agent = agents.get(region.name);
    const running = region.replicas.filter((replica) => replica.pid !== null).length;
    const ofAgent = (text: (agent: AgentStatus) => string): string => (agent === undefined ? '' : text(agent));
    return [
      region.name,
      region.name === primary ? 'primary' : 'member',
      String(region.redis.port),
      region.redis.pid === null ? 'no Redis' : region.agent.state,
      ofAgent(({ captured }) => number(captured.opsPerSecond)),
      ofAgent(({ applied }) => number(applied.opsPerSecond)),
      ofAgent(() => bytes(toSendOf(region))),
      ofAgent(() => number(pendingOf(region))),
      ofAgent((status) => number(conflictsOf(status))),
      String(region.weight),
      `${running}/${region.replicas.length}`,
      ofAgent(({ journal }) => bytes(journal.bytes)),
      ofAgent(({ redis }) => redis.version),
    ];
  });
  return renderTable(columns, rows);
}

/** Rows are who is behind, columns whose changes it is behind with. */
function lagTable(regions: readonly RegionStatus[]): string[] {
  const names = regions.map((region) => region.name);
  const columns = [{ title: 'LAG' }, ...names.map((name) => ({ title: `of ${name}`, right: true }))];
  const rows = regions.map((region) => [
    region.name,
    ...names.map((peer) => (peer === region.name ? '-' : linkCell(region.links.find((link) => link.peer === peer)))),
  ]);
  return renderTable(columns, rows);
}

function linkCell(link: LinkStatus | undefined): string {
  if (link === undefined) return '';
  return link.state === 'up' ? (link.lagMs === null ? 'up' : `${number(link.lagMs)} ms`) : link.state;
}

function pendingOf(region: RegionStatus): number {
  return region.links.reduce((sum, link) => sum + link.pendingOps, 0);
}

/** To the peer that lacks most. */
function toSendOf(region: RegionStatus): number {
  return Math.max(0, ...region.links.map((link) => link.toSendBytes));
}

function conflictsOf(agent: AgentStatus): number {
  if (agent.dryRun !== null) return agent.dryRun.wouldConflict.operations;
  return Object.values(agent.conflicts.byType).reduce((a, b) => a + b, 0);
}

function number(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  const power = Math.min(Math.floor(Math.log2(value) / 10), units.length);
  return `${(value / 1024 ** power).toFixed(1)} ${units[power - 1]}`;
}
