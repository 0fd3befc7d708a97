/** The part of Grafana's dashboards that we use: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/ */

/** How values read: https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts */
export type Unit = 'short' | 'ms' | 's' | 'bytes' | 'Bps' | 'ops' | 'percentunit';

export interface Query {
  /** PromQL. */
  readonly expr: string;
  /** With labels as `{{region}}`. */
  readonly legend: string;
}

export interface Panel {
  readonly title: string;
  /** What one sees, and from when on it is bad. */
  readonly description: string;
  /** `series` is a line over time, `stat` the last value. */
  readonly kind: 'series' | 'stat';
  readonly unit: Unit;
  readonly queries: readonly Query[];
  /** A line at what good looks like. */
  readonly target?: { readonly value: number; readonly bad: 'above' | 'below' };
  /** Of 24 columns. Default: 8. */
  readonly width?: number;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

export interface Dashboard {
  /** Stays the same, for links. */
  readonly uid: string;
  readonly title: string;
  /** A choice of regions at the top. */
  readonly hasRegions: boolean;
  readonly rows: readonly Row[];
}

const columns = 24;
const panelHeight = 8;
const datasource = { type: 'prometheus', uid: '${datasource}' };

/** As Grafana reads it. */
export function renderDashboard({ uid, title, hasRegions, rows }: Dashboard): object {
  const panels: object[] = [];
  let y = 0;
  for (const row of rows) {
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title: row.title,
      collapsed: false,
      panels: [],
      gridPos: { x: 0, y, w: columns, h: 1 },
    });
    y += 1;
    let x = 0;
    for (const panel of row.panels) {
      const w = panel.width ?? 8;
      if (x + w > columns) {
        x = 0;
        y += panelHeight;
      }
      panels.push(renderPanel(panel, panels.length + 1, { x, y, w, h: panelHeight }));
      x += w;
    }
    y += panelHeight;
  }
  return {
    uid,
    title,
    tags: ['meridian', 'redis'],
    schemaVersion: 39,
    editable: false,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    timezone: 'browser',
    templating: { list: [datasourceVariable, ...(hasRegions ? [regionVariable] : [])] },
    panels,
  };
}

function renderPanel(panel: Panel, id: number, gridPos: object): object {
  const { title, description, kind, unit, queries, target } = panel;
  const good = { color: 'green', value: null };
  const steps =
    target === undefined
      ? [good]
      : target.bad === 'above'
        ? [good, { color: 'red', value: target.value }]
        : [
            { color: 'red', value: null },
            { color: 'green', value: target.value },
          ];
  return {
    id,
    type: kind === 'series' ? 'timeseries' : 'stat',
    title,
    description,
    datasource,
    gridPos,
    targets: queries.map(({ expr, legend }, i) => ({
      refId: String.fromCharCode(65 + i),
      datasource,
      expr,
      legendFormat: legend,
    })),
    fieldConfig: {
      defaults: {
        unit,
        thresholds: { mode: 'absolute', steps },
        ...(kind === 'series'
          ? {
              custom: {
                lineWidth: 1,
                fillOpacity: 5,
                thresholdsStyle: { mode: target === undefined ? 'off' : 'line' },
              },
            }
          : {}),
      },
      overrides: [],
    },
    options:
      kind === 'series'
        ? { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } }
        : { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: 'value', graphMode: 'area' },
  };
}

const datasourceVariable = { name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus' };

const regionVariable = {
  name: 'region',
  label: 'Region',
  type: 'query',
  datasource,
  query: { query: 'label_values(meridian_agent_state, region)', refId: 'region' },
  refresh: 2,
  sort: 1,
};
