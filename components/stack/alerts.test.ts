import { readFileSync } from 'node:fs';
import path from 'node:path';

import { ActiveActiveRedis } from '..';
import { parseStackFile, type StackConfig } from '../../model';
import { stackAlerts } from '../../model/alerts/stack';
import { deploy } from '../testing';
import { meshArgs } from '.';

function configOf(stack: string): StackConfig {
  const file = `Pulumi.${stack}.yaml`;
  const result = parseStackFile(readFileSync(path.join(__dirname, '../..', file), 'utf8'), file);
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return result.config;
}

const kubernetes = configOf('prod-kubernetes');
const { monitoring } = kubernetes;
const cases: readonly [string, StackConfig][] = [
  ['prod-kubernetes', kubernetes],
  ['prod', configOf('prod')],
  [
    'figures of its own',
    {
      ...kubernetes,
      monitoring: {
        ...{ ...monitoring, kubernetesMetrics: true, certManagerMetrics: true, errorRateQuery: 'x' },
        ...{ runbookBaseUrl: 'https://runbooks', critical: { ...monitoring.critical, lagMs: 7000 } },
        ...{ warning: { ...monitoring.warning, forSeconds: 60 }, targets: { ...monitoring.targets, p99LatencyMs: 7 } },
      },
    },
  ],
];

test.each(cases)('%s: the rules in a file are those that the operator gets', async (_, config) => {
  const made = await deploy(() => new ActiveActiveRedis('redis', meshArgs('prod', config)), {
    outputs: (type) => (type.endsWith(':LoadBalancer') ? { dnsName: 'balancer' } : {}),
  });
  const groups = made.resources
    .filter(({ type }) => type.endsWith(':PrometheusRule'))
    .flatMap(({ inputs }) => (inputs['spec'] as { groups: unknown[] }).groups);
  const byName = (some: readonly unknown[]): unknown[] =>
    (some as { name: string }[]).toSorted((a, b) => a.name.localeCompare(b.name));
  expect(groups.length).toBeGreaterThan(0);
  expect(byName(stackAlerts(config))).toEqual(byName(groups));
});
