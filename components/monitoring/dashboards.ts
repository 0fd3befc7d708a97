import { type Dashboard, type Panel, type Row } from './panel';

/** What good looks like; a line in the panels. With the defaults of `meridian:monitoring.targets`. */
export interface DashboardSettings {
  readonly lagMs?: number;
  readonly p99LatencyMs?: number;
  readonly hitRate?: number;
  readonly memory?: number;
  readonly cpu?: number;
  readonly errorRate?: number;
  /** PromQL of the application's error rate. Default: no panel. */
  readonly errorRateQuery?: string;
  /** More matchers of every series, as for alerts. */
  readonly matchers?: string;
}

/** The mesh as a whole, and one region. */
export function dashboards(settings: DashboardSettings): Dashboard[] {
  return [
    {
      uid: 'meridian-mesh',
      title: 'Meridian / Mesh',
      hasRegions: false,
      rows: rowsOf(settings, 'region=~".+"', false),
    },
    {
      uid: 'meridian-region',
      title: 'Meridian / Region',
      hasRegions: true,
      rows: rowsOf(settings, 'region="$region"', true),
    },
  ];
}

/** The same questions, of all regions or, node by node, of one. */
function rowsOf(settings: DashboardSettings, matcher: string, isOne: boolean): Row[] {
  const common = settings.matchers === undefined ? matcher : `${matcher},${settings.matchers}`;
  const of = (metric: string, ...more: string[]): string => `${metric}{${[common, ...more].join(',')}}`;
  const per = isOne ? 'pod' : 'region';
  const legend = `{{${per}}}`;
  const sum = (metric: string, ...more: string[]): string => `sum by (${per}) (${of(metric, ...more)})`;
  const rate = (metric: string, ...more: string[]): string => `sum by (${per}) (rate(${of(metric, ...more)}[5m]))`;
  const line = (
    title: string,
    description: string,
    unit: Panel['unit'],
    expr: string,
    more: Partial<Panel> = {},
  ): Panel => ({
    title,
    description,
    kind: 'series',
    unit,
    queries: [{ expr, legend }],
    ...more,
  });
  const stat = (title: string, description: string, expr: string, more: Partial<Panel> = {}): Panel => ({
    title,
    description,
    kind: 'stat',
    unit: 'short',
    queries: [{ expr, legend: '{{region}}' }],
    width: 6,
    ...more,
  });
  const byLink = (expr: string): Partial<Panel> => ({ queries: [{ expr, legend: '{{region}} ← {{peer}}' }] });
  const perLink = (metric: string, how: (series: string) => string = (series) => series): string =>
    `max by (region, peer) (${how(of(metric))})`;
  const hits = rate('redis_keyspace_hits_total');
  const misses = rate('redis_keyspace_misses_total');

  return [
    {
      title: isOne ? 'State of $region' : 'State of the mesh',
      panels: [
        isOne
          ? stat('Agent', 'The state that it is in.', '', {
              queries: [{ expr: `max by (state) (${of('meridian_agent_state')}) == 1`, legend: '{{state}}' }],
            })
          : stat(
              'Agents',
              '1 where one is active.',
              `max by (region) (${of('meridian_agent_state', 'state="active"')})`,
              {
                target: { value: 1, bad: 'below' },
              },
            ),
        stat('Redis nodes up', 'That answer redis_exporter.', `sum by (region) (${of('redis_up')})`),
        stat(
          'Primaries',
          'One, or as many as a cluster has shards.',
          `count by (region) (${of('redis_instance_info', 'role="master"')})`,
        ),
        stat('Links down', 'Links between agents without a connection.', '', {
          queries: [{ expr: `count(${of('meridian_link_up')} == 0) or vector(0)`, legend: 'links' }],
          target: { value: 1, bad: 'above' },
        }),
      ],
    },
    {
      title: 'Replication between regions',
      panels: [
        line('Lag', 'By how much a region (left) is behind another (right).', 'ms', '', {
          ...byLink(perLink('meridian_link_lag_ms')),
          target: { value: settings.lagMs ?? 1000, bad: 'above' },
        }),
        line(
          'Waiting to be applied',
          'Operations received and not applied yet.',
          'short',
          '',
          byLink(perLink('meridian_link_pending_operations')),
        ),
        line(
          'Received',
          'Operations a second by each link.',
          'ops',
          '',
          byLink(perLink('meridian_link_received_operations_total', (series) => `rate(${series}[5m])`)),
        ),
        line(
          'Bytes received',
          'By each link.',
          'Bps',
          '',
          byLink(perLink('meridian_link_received_bytes_total', (series) => `rate(${series}[5m])`)),
        ),
        line(
          'Link errors',
          'Errors a second by each link; 0 is good.',
          'ops',
          '',
          byLink(perLink('meridian_link_errors_total', (series) => `rate(${series}[5m])`)),
        ),
        line('Operations', 'Of clients here, and foreign ones applied here.', 'ops', '', {
          queries: [
            {
              expr: `sum by (region) (rate(${of('meridian_captured_operations_total')}[5m]))`,
              legend: '{{region}}: clients',
            },
            {
              expr: `sum by (region) (rate(${of('meridian_applied_operations_total')}[5m]))`,
              legend: '{{region}}: applied',
            },
          ],
        }),
        line('Conflicts', 'Keys that two regions wrote at once, by type; merged by rule.', 'ops', '', {
          queries: [
            {
              expr: `sum by (region, type) (rate(${of('meridian_conflicts_total')}[5m]))`,
              legend: '{{region}}: {{type}}',
            },
          ],
        }),
        line('Set aside', 'Commands that could not be applied: the regions may differ. 0 is good.', 'short', '', {
          queries: [
            { expr: `sum by (region, code) (${of('meridian_dead_letters_total')})`, legend: '{{region}}: {{code}}' },
          ],
          target: { value: 1, bad: 'above' },
        }),
        line('Journal', 'On disk, until every region has it.', 'bytes', '', {
          queries: [{ expr: `max by (region) (${of('meridian_journal_bytes')})`, legend: '{{region}}' }],
        }),
        line('Window', 'Operations in the memory of the agent that not every region has seen.', 'short', '', {
          queries: [{ expr: `max by (region) (${of('meridian_window_operations')})`, legend: '{{region}}' }],
        }),
        line('Window in memory', 'Of its budget; beyond it the oldest go to disk.', 'percentunit', '', {
          queries: [
            {
              expr: `max by (region) (${of('meridian_window_load_bytes')} / (${of('meridian_window_budget_bytes')} > 0))`,
              legend: '{{region}}',
            },
          ],
          target: { value: 1.5, bad: 'above' },
        }),
        line('Window on disk', 'What is beyond its budget.', 'bytes', '', {
          queries: [{ expr: `max by (region) (${of('meridian_window_shelf_bytes')})`, legend: '{{region}}' }],
        }),
        line('Corrections', 'Keys corrected after a client wrote beside a foreign change.', 'ops', '', {
          queries: [{ expr: `sum by (region) (rate(${of('meridian_corrections_total')}[5m]))`, legend: '{{region}}' }],
        }),
        line('Full syncs', 'In an hour.', 'short', '', {
          queries: [
            {
              expr: `sum by (region, kind) (increase(${of('meridian_full_syncs_total')}[1h]))`,
              legend: '{{region}}: {{kind}}',
            },
          ],
        }),
      ],
    },
    {
      title: 'Redis',
      panels: [
        line('Connections', 'Clients connected.', 'short', sum('redis_connected_clients')),
        line(
          'Memory',
          'Of maxmemory.',
          'percentunit',
          `max by (${per}) (${of('redis_memory_used_bytes')} / (${of('redis_memory_max_bytes')} > 0))`,
          { target: { value: settings.memory ?? 0.8, bad: 'above' } },
        ),
        line(
          'Memory used',
          'Data, buffers and overhead.',
          'bytes',
          `max by (${per}) (${of('redis_memory_used_bytes')})`,
        ),
        line('Commands', 'A second, of clients, replicas and agents.', 'ops', rate('redis_commands_total')),
        line('Commands by name', 'The ten that take the most time of Redis.', 's', '', {
          queries: [
            {
              expr: `topk(10, sum by (cmd) (rate(${of('redis_commands_duration_seconds_total')}[5m])))`,
              legend: '{{cmd}}',
            },
          ],
        }),
        line(
          'Latency',
          'Of 99 in 100 commands, inside Redis.',
          'ms',
          `histogram_quantile(0.99, sum by (${per}, le) (rate(${of('redis_commands_latencies_usec_bucket')}[5m]))) / 1000`,
          { target: { value: settings.p99LatencyMs ?? 100, bad: 'above' } },
        ),
        line('Hit rate', 'Lookups that found their key.', 'percentunit', `${hits} / (${hits} + ${misses})`, {
          target: { value: settings.hitRate ?? 0.9, bad: 'below' },
        }),
        line(
          'CPU',
          "Of one core, by Redis' main thread.",
          'percentunit',
          `max by (${per}) (rate(${of('redis_cpu_user_main_thread_seconds_total')}[5m]) + rate(${of('redis_cpu_sys_main_thread_seconds_total')}[5m]))`,
          { target: { value: settings.cpu ?? 0.7, bad: 'above' } },
        ),
        line(
          'Keys',
          'In all databases; on the primary.',
          'short',
          `max by (${per}) (sum by (region, pod) (${of('redis_db_keys')}))`,
        ),
        line('Network in', 'Bytes a second.', 'Bps', rate('redis_net_input_bytes_total')),
        line('Network out', 'Bytes a second.', 'Bps', rate('redis_net_output_bytes_total')),
        line('Expired and evicted', 'Keys a second. A data stack evicts none.', 'ops', '', {
          queries: [
            { expr: rate('redis_expired_keys_total'), legend: `${legend}: expired` },
            { expr: rate('redis_evicted_keys_total'), legend: `${legend}: evicted` },
          ],
        }),
      ],
    },
    ...(settings.errorRateQuery === undefined
      ? []
      : [
          {
            title: 'Application',
            panels: [
              line('Error rate', 'By the configured query.', 'percentunit', '', {
                queries: [{ expr: settings.errorRateQuery, legend: 'errors' }],
                target: { value: settings.errorRate ?? 0.01, bad: 'above' },
              }),
            ],
          },
        ]),
  ];
}
