import { PeerTopology } from '../agent';
import { type Deployment, deploy, valueOf } from '../testing';
import { Mesh, RedisNetworkPolicy, type RedisNetworkPolicyArgs } from '.';

const minimal: RedisNetworkPolicyArgs = {
  region: 'west',
  namespace: 'redis-west',
  regions: ['west', 'middle', 'east'],
  peerNamespaces: { middle: 'redis-middle' },
  peerCidrs: { east: ['10.3.0.0/16'] },
};
const make = (args: Partial<RedisNetworkPolicyArgs> = {}): Promise<Deployment<RedisNetworkPolicy>> =>
  deploy(() => new RedisNetworkPolicy('net', { ...minimal, ...args }));

interface Rule {
  from?: object[];
  to?: object[];
  ports?: { port: number; protocol: string }[];
}
interface Spec {
  podSelector: { matchLabels: Record<string, string> };
  policyTypes: string[];
  ingress?: Rule[];
  egress?: Rule[];
}
const spec = (made: Deployment<unknown>, suffix: string): Spec => made.find(`net-${suffix}`).inputs['spec'] as Spec;
const pods = (component: string, region = 'west') => ({
  podSelector: {
    matchLabels: {
      'app.kubernetes.io/part-of': 'meridian',
      'app.kubernetes.io/component': component,
      'meridian.redis/region': region,
    },
  },
});
const namespace = (name: string) => ({ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } } });
/** The rules that open a port. */
const at = (rules: Rule[] | undefined, port: number): Rule[] =>
  (rules ?? []).filter(({ ports }) => ports?.some((found) => found.port === port));

test('exact children', async () => {
  const names = ['agent', 'deny', 'dns', 'redis', 'sentinel', 'slots'].map((suffix) => `NetworkPolicy net-${suffix}`);
  expect((await make()).children('net')).toEqual(names);
  expect((await make({ mesh: Mesh.Sidecar })).children('net')).toContain('NetworkPolicy net-mesh');
});

test('nothing is allowed to begin with, for every pod of the region', async () => {
  expect(spec(await make(), 'deny')).toEqual({
    podSelector: { matchLabels: { 'app.kubernetes.io/part-of': 'meridian', 'meridian.redis/region': 'west' } },
    policyTypes: ['Ingress', 'Egress'],
  });
});

test('DNS', async () => {
  expect(spec(await make(), 'dns').egress).toEqual([
    {
      to: [namespace('kube-system')],
      ports: [
        { protocol: 'TCP', port: 53 },
        { protocol: 'UDP', port: 53 },
      ],
    },
  ]);
});

test('DNS of a cache on each node, which is in no namespace', async () => {
  const made = await make({ dnsNamespace: 'dns', dnsCidrs: ['169.254.20.10/32'] });
  const to = [namespace('dns'), { ipBlock: { cidr: '169.254.20.10/32' } }];
  expect(spec(made, 'dns').egress).toEqual([expect.objectContaining({ to })]);
});

test('Redis is for its own, for the agent and for clients by their label', async () => {
  const { ingress, egress } = spec(await make(), 'redis');
  expect(at(ingress, 6379)).toEqual([
    {
      from: [
        pods('redis'),
        pods('sentinel'),
        pods('agent'),
        pods('slots'),
        { namespaceSelector: {}, podSelector: { matchLabels: { 'meridian.redis/client': 'true' } } },
      ],
      ports: [{ protocol: 'TCP', port: 6379 }],
    },
  ]);
  expect(at(ingress, 16379).map(({ from }) => from)).toEqual([[pods('redis')]]);
  expect(at(ingress, 9121).map(({ from }) => from)).toEqual([[namespace('monitoring')]]);
  expect(at(egress, 26379).map(({ to }) => to)).toEqual([[pods('sentinel')]]);
  expect(at(egress, 443).map(({ to }) => to)).toEqual([[{ ipBlock: { cidr: '0.0.0.0/0' } }]]);
});

test('clients can be narrowed to some namespaces', async () => {
  const made = await make({ clientNamespaceLabels: { team: 'shop' }, clientPodLabels: { app: 'cart' } });
  expect(at(spec(made, 'redis').ingress, 6379)[0]?.from?.at(-1)).toEqual({
    namespaceSelector: { matchLabels: { team: 'shop' } },
    podSelector: { matchLabels: { app: 'cart' } },
  });
});

test('agents talk to those that the graph links them with', async () => {
  const made = await make();
  const { ingress, egress } = spec(made, 'agent');
  const middle = { ...namespace('redis-middle'), ...pods('agent', 'middle') };
  const east = { ipBlock: { cidr: '10.3.0.0/16' } };
  expect(at(ingress, 7600).map(({ from }) => from)).toEqual([[middle], [east]]);
  expect(at(egress, 7600).map(({ to }) => to)).toEqual([[middle], [east]]);
  expect(at(ingress, 7602).map(({ from }) => from)).toEqual([[pods('redis'), pods('sentinel')]]);
  expect(at(ingress, 7601).map(({ from }) => from)).toEqual([[namespace('monitoring')]]);
  expect((await valueOf(made.result.peers)).value).toEqual(['middle', 'east']);

  const star = await make({ topology: PeerTopology.Star, hub: 'middle' });
  expect(at(spec(star, 'agent').ingress, 7600).map(({ from }) => from)).toEqual([[middle]]);
});

test('a mesh has what it needs', async () => {
  const sidecar = await make({ mesh: Mesh.Sidecar, peerPorts: { east: 15443 } });
  expect(spec(sidecar, 'mesh').egress).toEqual([
    {
      to: [namespace('istio-system')],
      ports: [
        { protocol: 'TCP', port: 15012 },
        { protocol: 'TCP', port: 15443 },
      ],
    },
  ]);
  expect(at(spec(sidecar, 'agent').egress, 15443).map(({ to }) => to)).toEqual([
    [{ ipBlock: { cidr: '10.3.0.0/16' } }],
  ]);
  // What comes from another cluster comes from the gateway.
  expect(at(spec(sidecar, 'agent').ingress, 7600)[1]?.from).toEqual([
    { ipBlock: { cidr: '10.3.0.0/16' } },
    namespace('istio-system'),
  ]);
  expect(at(spec(sidecar, 'redis').ingress, 6379)[0]?.from?.at(-1)).toEqual(namespace('istio-system'));
  const { ingress, egress } = spec(await make({ mesh: Mesh.Ambient }), 'mesh');
  expect(at(ingress, 15008)).toEqual([{ ports: [{ protocol: 'TCP', port: 15008 }] }]);
  expect(at(egress, 15008)).toEqual([{ ports: [{ protocol: 'TCP', port: 15008 }] }]);
});

test.each<[Partial<RedisNetworkPolicyArgs>, RegExp]>([
  [{ region: 'north' }, /region: found north; allowed: a name in regions/],
  [{ peerCidrs: {} }, /peerCidrs: found nothing for east, and no namespace either/],
  [{ topology: PeerTopology.Star }, /hub: found nothing; allowed: a name in regions/],
  [{ mesh: 'linkerd' as Mesh }, /mesh: found "linkerd"; allowed: none, sidecar, ambient/],
])('refuses %j', async (args, message) => {
  await expect(make(args)).rejects.toThrow(message);
});
