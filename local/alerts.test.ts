import path from 'node:path';
import { parse } from 'yaml';

import { promtool, runPromtool } from '../test/promtool';
import { packageRoot } from './package-root';
import { Cleanup, Meridian } from './testing';

jest.setTimeout(60_000);

const cleanup = new Cleanup();
let meridian: Meridian;
beforeAll(() => (meridian = new Meridian(cleanup.dir())));
afterAll(() => cleanup.run());

interface Rules {
  readonly groups: readonly { readonly name: string; readonly rules: readonly { readonly alert: string }[] }[];
}

async function rulesOf(stack: string, more: readonly string[] = []): Promise<Rules> {
  const config = path.join(packageRoot(), `Pulumi.${stack}.yaml`);
  const { status, stdout, stderr } = await meridian.run('alerts', '--stack', stack, '--config', config, ...more);
  expect([status, stderr]).toEqual([0, '']);
  return parse(stdout) as Rules;
}

test('of agents in Fargate: what they tell, and nothing that asks for an exporter', async () => {
  const rules = await rulesOf('prod-fargate');
  const regions = ['us-west-2', 'eu-central-1', 'ap-northeast-1'];
  expect(rules.groups.map(({ name }) => name)).toEqual(regions.map((region) => `meridian-${region}-replication`));
  expect(rules.groups[0]?.rules.map(({ alert }) => alert)).toContain('MeridianCertificateExpires');
  expect(JSON.stringify(rules)).not.toContain('redis_');
  expect(await rulesOf('prod-fargate', ['--json'])).toEqual(rules);
});

(promtool === undefined ? test.skip : test)('Prometheus takes them', async () => {
  const { ok, output } = runPromtool(
    { 'rules.yaml': await rulesOf('prod-kubernetes') },
    'check',
    'rules',
    'rules.yaml',
  );
  expect([ok, output]).toEqual([true, expect.stringMatching(/SUCCESS: \d+ rules found/)]);
});
