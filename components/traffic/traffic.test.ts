import * as pulumi from '@pulumi/pulumi';

import { type Deployment, deploy, valueOf } from '../testing';
import { customSchemas, violations } from '../testing/crds';
import { RegionalTraffic, type RegionalTrafficArgs } from '.';

const west = 'us-west-2';
const middle = 'eu-central-1';
const east = 'ap-northeast-1';

const regions = [
  { name: west, locality: west, address: 'redis.redis.svc.cluster.local', network: west },
  { name: middle, locality: middle, address: 'gateway.eu.example.com', network: middle },
  { name: east, locality: `${east}/1a`, address: '203.0.113.7', network: east },
];
const base = { region: west, namespace: 'redis', host: 'redis.prod.meridian', regions };
const distribute = {
  [west]: { [west]: 70, [middle]: 20, [east]: 10 },
  [middle]: { [west]: 20, [middle]: 80, [east]: 0 },
  [east]: { [west]: 15, [middle]: 15, [east]: 70 },
};
const make = (args: Partial<RegionalTrafficArgs>): Promise<Deployment<RegionalTraffic>> =>
  deploy(() => new RegionalTraffic('t', { ...base, ...args }));

interface Endpoint {
  address: string;
  ports: Record<string, number>;
  labels: Record<string, string>;
  network?: string;
}
interface Policy {
  loadBalancer: { localityLbSetting?: { distribute?: object[]; failover?: object[] } };
  connectionPool: { tcp: Record<string, unknown> };
  outlierDetection: object;
}
interface Specs {
  entry: { endpoints: Endpoint[]; ports: object[] };
  rule: { trafficPolicy: Policy; subsets?: object[] };
  route: { http?: object; tcp: { match: object[]; route: object[] }[] };
}
const specs = (made: Deployment<unknown>): Specs => {
  const spec = (name: string): unknown => made.find(name).inputs['spec'];
  return { entry: spec('t-entry'), rule: spec('t-rule'), route: spec('t-route') } as Specs;
};

test('exact children, in the namespace, with the host and the port as outputs', async () => {
  const made = await make({ distribute });
  expect(made.children('t')).toEqual(['DestinationRule t-rule', 'ServiceEntry t-entry', 'VirtualService t-route']);
  const kubernetes = made.resources.filter(({ type }) => type.startsWith('kubernetes:'));
  for (const { inputs, type } of kubernetes) {
    expect(type).toMatch(/^kubernetes:networking\.istio\.io\/v1:/);
    expect(inputs['metadata']).toMatchObject({ name: 't', namespace: 'redis' });
  }
  expect(await valueOf(made.result.host)).toEqual({ value: 'redis.prod.meridian', secret: false });
  expect((await valueOf(made.result.port)).value).toBe(6379);
});

test('an endpoint in each region: the Service where pods reach it, the gateway in other networks', async () => {
  const made = await make({ distribute, virtualAddress: '240.240.0.1' });
  expect(made.find('t-entry').inputs['spec']).toEqual({
    hosts: ['redis.prod.meridian'],
    exportTo: ['*'],
    addresses: ['240.240.0.1'],
    location: 'MESH_INTERNAL',
    resolution: 'DNS',
    ports: [{ number: 6379, name: 'tcp-redis', protocol: 'TCP' }],
    endpoints: [
      {
        address: 'redis.redis.svc.cluster.local',
        ports: { 'tcp-redis': 6379 },
        locality: west,
        network: west,
        labels: { 'meridian.redis/region': west, 'security.istio.io/tlsMode': 'istio' },
      },
      {
        address: 'gateway.eu.example.com',
        ports: { 'tcp-redis': 15443 },
        locality: middle,
        network: middle,
        labels: { 'meridian.redis/region': middle, 'security.istio.io/tlsMode': 'istio' },
      },
      {
        address: '203.0.113.7',
        ports: { 'tcp-redis': 15443 },
        locality: `${east}/1a`,
        network: east,
        labels: { 'meridian.redis/region': east, 'security.istio.io/tlsMode': 'istio' },
      },
    ],
  });
});

test('in one network every region is reached at its Service, also without mutual TLS', async () => {
  const { entry } = specs(
    await make({ distribute, mutualTls: false, regions: regions.map((one) => ({ ...one, network: undefined })) }),
  );
  expect(entry.endpoints.map(({ ports }) => ports)).toEqual(regions.map(() => ({ 'tcp-redis': 6379 })));
  expect(entry.endpoints.some((one) => 'network' in one)).toBe(false);
  expect(entry.endpoints.map(({ labels }) => labels)).toEqual(
    regions.map(({ name }) => ({ 'meridian.redis/region': name })),
  );
});

describe('distribute', () => {
  test('70 / 20 / 10 from us-west-2; a 0 is left out; never together with failover', async () => {
    const { rule } = specs(await make({ distribute }));
    expect(rule.trafficPolicy.loadBalancer.localityLbSetting).toEqual({
      enabled: true,
      distribute: [
        { from: 'us-west-2/*', to: { 'us-west-2/*': 70, 'eu-central-1/*': 20, 'ap-northeast-1/1a/*': 10 } },
        { from: 'eu-central-1/*', to: { 'us-west-2/*': 20, 'eu-central-1/*': 80 } },
        { from: 'ap-northeast-1/1a/*', to: { 'us-west-2/*': 15, 'eu-central-1/*': 15, 'ap-northeast-1/1a/*': 70 } },
      ],
    });
    expect(rule.subsets).toBeUndefined();
  });

  test('outlier detection by failed connections, and connections that end', async () => {
    const { rule } = specs(await make({ distribute }));
    expect(rule.trafficPolicy.outlierDetection).toEqual({
      splitExternalLocalOriginErrors: true,
      consecutiveLocalOriginFailures: 5,
      consecutiveGatewayErrors: 5,
      consecutive5xxErrors: 0,
      interval: '10s',
      baseEjectionTime: '30s',
      maxEjectionPercent: 100,
    });
    expect(rule.trafficPolicy.connectionPool).toEqual({
      tcp: {
        connectTimeout: '3s',
        maxConnectionDuration: '3600s',
        tcpKeepalive: { time: '30s', interval: '10s', probes: 3 },
      },
    });
    const never = specs(await make({ distribute, maxConnectionSeconds: 0 }));
    expect(never.rule.trafficPolicy.connectionPool.tcp['maxConnectionDuration']).toBeUndefined();
  });

  test('TCP routes, to all endpoints', async () => {
    const { route } = specs(await make({ distribute }));
    expect(route).toEqual({
      hosts: ['redis.prod.meridian'],
      exportTo: ['*'],
      tcp: [
        {
          match: [{ port: 6379 }],
          route: [{ destination: { host: 'redis.prod.meridian', port: { number: 6379 } } }],
        },
      ],
    });
  });

  test('a drained region gets nothing from anywhere; its endpoint stays, for the gateways', async () => {
    const { rule, entry } = specs(await make({ distribute, drain: [west] }));
    expect(rule.trafficPolicy.loadBalancer.localityLbSetting?.distribute).toEqual([
      { from: 'us-west-2/*', to: { 'eu-central-1/*': 67, 'ap-northeast-1/1a/*': 33 } },
      { from: 'eu-central-1/*', to: { 'eu-central-1/*': 100 } },
      { from: 'ap-northeast-1/1a/*', to: { 'eu-central-1/*': 18, 'ap-northeast-1/1a/*': 82 } },
    ]);
    expect(entry.endpoints).toHaveLength(3);
  });

  test('a shift moves a part of what a region gets', async () => {
    const { rule } = specs(await make({ distribute, shift: [{ from: west, to: middle, percent: 50 }] }));
    expect(rule.trafficPolicy.loadBalancer.localityLbSetting?.distribute?.[0]).toEqual({
      from: 'us-west-2/*',
      to: { 'us-west-2/*': 35, 'eu-central-1/*': 55, 'ap-northeast-1/1a/*': 10 },
    });
  });
});

describe('failover', () => {
  test('names the region that stands in; the others may be anything', async () => {
    const { rule } = specs(await make({ failover: { [west]: middle, [east]: west } }));
    expect(rule.trafficPolicy.loadBalancer.localityLbSetting).toEqual({
      enabled: true,
      failover: [
        { from: west, to: middle },
        { from: east, to: west },
      ],
    });
    expect(rule.trafficPolicy.outlierDetection).toMatchObject({ consecutiveLocalOriginFailures: 5 });
    const any = specs(await make({ failover: {} }));
    expect(any.rule.trafficPolicy.loadBalancer.localityLbSetting).toEqual({ enabled: true });
  });

  test('a drained region has no endpoint, and stands in for nobody', async () => {
    const { rule, entry } = specs(await make({ failover: { [west]: middle, [east]: west }, drain: [middle] }));
    expect(entry.endpoints.map(({ address }) => address)).toEqual(['redis.redis.svc.cluster.local', '203.0.113.7']);
    expect(rule.trafficPolicy.loadBalancer.localityLbSetting?.failover).toEqual([{ from: east, to: west }]);
  });
});

test('weights: a subset for each region, and routes by them', async () => {
  const { rule, route } = specs(
    await make({ weights: { [west]: 60, [middle]: 25, [east]: 15 }, drain: [middle], maxEjectionPercent: 50 }),
  );
  expect(rule.subsets).toEqual(regions.map(({ name }) => ({ name, labels: { 'meridian.redis/region': name } })));
  expect(rule.trafficPolicy.loadBalancer.localityLbSetting).toBeUndefined();
  const destination = (subset: string): object => ({ host: 'redis.prod.meridian', port: { number: 6379 }, subset });
  expect(route.tcp[0]?.route).toEqual([
    { destination: destination(west), weight: 80 },
    { destination: destination(east), weight: 20 },
  ]);
});

const crds = customSchemas();
const testSchemas = crds.schemas === undefined ? test.skip : test;
testSchemas(`Istio's own schemas take all of it ${crds.reason === '' ? '' : `(skipped: ${crds.reason})`}`, async () => {
  const schemas = crds.schemas!;
  for (const args of [
    { distribute },
    { failover: { [west]: middle }, drain: [east], virtualAddress: '240.240.0.1' },
    { weights: { [west]: 60, [middle]: 25, [east]: 15 }, exportTo: ['shop'] },
  ]) {
    const made = await make(args);
    for (const resource of made.resources.filter(({ parent }) => parent === 't')) {
      expect(violations(schemas, resource)).toEqual([]);
    }
    // The check itself: a field that Istio doesn't know is one too many.
    const rule = made.find('t-rule');
    const spec = { ...(rule.inputs['spec'] as object), localityLbSetting: {} };
    expect(violations(schemas, { ...rule, inputs: { ...rule.inputs, spec } })).toEqual([
      'spec.localityLbSetting: unknown',
    ]);
  }
});

describe('refuses', () => {
  const at = (name: string, more: object) => regions.map((one) => (one.name === name ? { ...one, ...more } : one));
  test.each<[string, Partial<RegionalTrafficArgs>, RegExp]>([
    ['both modes', { distribute, failover: {} }, /found distribute and failover; allowed: exactly one of them/],
    ['no mode', {}, /distribute, failover, weights: found none of them/],
    [
      'a region that is not named as a target',
      { distribute: { ...distribute, [west]: { [west]: 70, [middle]: 30 } } },
      /distribute\.us-west-2\.ap-northeast-1: found nothing; allowed: a percent for each region; 0 says/,
    ],
    [
      'a region whose clients have no entry',
      { distribute: { [west]: distribute[west], [middle]: distribute[middle] } },
      /distribute\.ap-northeast-1: found nothing; allowed: an entry for each region/,
    ],
    [
      'another sum',
      { distribute: { ...distribute, [west]: { [west]: 70, [middle]: 20, [east]: 20 } } },
      /distribute\.us-west-2: found 70 \+ 20 \+ 20 = 110; allowed: percents with a sum of 100/,
    ],
    [
      'a share that is no percent',
      { weights: { [west]: 101, [middle]: -1, [east]: 0 } },
      /weights\.us-west-2: found 101; allowed: a whole number from 0 to 100 \(percent\)\nweights\.eu-central-1: found -1/,
    ],
    [
      'an unknown region',
      { failover: { [west]: 'mars' } },
      /failover\.us-west-2: found "mars"; allowed: a region: us-w/,
    ],
    [
      'failover to itself',
      { failover: { [west]: west } },
      /failover\.us-west-2: found us-west-2; allowed: another region/,
    ],
    ['to drain all', { distribute, drain: [west, middle, east] }, /drain: found .*; allowed: not every region/],
    ['to drain the unknown', { distribute, drain: ['mars'] }, /drain\[0\]: found "mars"/],
    [
      'a shift with failover',
      { failover: {}, shift: [{ from: west, to: east, percent: 10 }] },
      /shift: found a value, with failover/,
    ],
    [
      'a shift to a drained region',
      { distribute, drain: [east], shift: [{ from: west, to: east, percent: 10 }] },
      /shift\[0\]\.to: found ap-northeast-1; allowed: a region that is not drained/,
    ],
    [
      'a shift of nothing',
      { distribute, shift: [{ from: west, to: west, percent: 0 }] },
      /shift\[0\]\.to: found us-west-2; .*\nshift\[0\]\.percent: found 0; allowed: a whole number from 1 to 100/,
    ],
    [
      'a locality that is none',
      { distribute, regions: at(east, { locality: 'ap/*' }) },
      /regions\[2\]\.locality: found "ap/,
    ],
    [
      'localities that contain each other',
      { distribute, regions: at(east, { locality: `${west}/2a` }) },
      /regions\[2\]\.locality: found us-west-2\/2a; allowed: one beside that of us-west-2/,
    ],
    [
      'failover inside a locality',
      {
        failover: {},
        regions: [
          { name: west, locality: 'us/west', address: 'a' },
          { name: east, locality: 'us/east', address: 'b' },
        ],
      },
      /regions\[1\]\.locality: found us\/east; allowed: another first part than that of us-west-2/,
    ],
    [
      'networks of some only',
      { distribute, regions: at(east, { network: undefined }) },
      /regions\[2\]\.network: found nothing/,
    ],
    [
      'other networks without mutual TLS',
      { distribute, mutualTls: false },
      /mutualTls: found false, with eu-central-1 in/,
    ],
    ['a region that is not there', { distribute, region: 'mars' }, /region: found "mars"; allowed: a region/],
  ])('%s', (_, args, message) => {
    expect(() => new RegionalTraffic('t', { ...base, ...args })).toThrow(message);
    expect(() => new RegionalTraffic('t', { ...base, ...args })).toThrow(pulumi.RunError);
  });
});
