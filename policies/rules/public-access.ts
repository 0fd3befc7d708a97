import { isKind, podKinds, workloadOf } from '../kubernetes';
import { aliyunInstance } from '../managed';
import { at, listAt, mappingAt, shown, textAt, textsAt } from '../props';
import { type Checked, type Issue, Level, resourceRule } from '../rule';

/** Redis, the bus of a cluster, Sentinel. */
const redisPorts = [6379, 16_379, 26_379];

/** Annotations that keep a load balancer inside of the network. */
const internal: Readonly<Record<string, RegExp>> = {
  'service.beta.kubernetes.io/aws-load-balancer-internal': /^(true|0\.0\.0\.0\/0)$/,
  'service.beta.kubernetes.io/aws-load-balancer-scheme': /^internal$/,
  'service.beta.kubernetes.io/azure-load-balancer-internal': /^true$/,
  'networking.gke.io/load-balancer-type': /^Internal$/i,
  'service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type': /^intranet$/,
  'service.kubernetes.io/qcloud-loadbalancer-internal-subnetid': /./,
};

const checks: Readonly<Record<string, (resource: Checked) => Issue[]>> = {
  'aws:ec2/securityGroup:SecurityGroup': ({ props }) =>
    listAt(props, 'ingress').flatMap((rule, i) =>
      openRule(`ingress[${i}].cidrBlocks`, at(rule, 'fromPort'), at(rule, 'toPort'), [
        ...textsAt(rule, 'cidrBlocks'),
        ...textsAt(rule, 'ipv6CidrBlocks'),
      ]),
    ),
  'aws:ec2/securityGroupRule:SecurityGroupRule': ({ props }) =>
    at(props, 'type') === 'egress'
      ? []
      : openRule('cidrBlocks', at(props, 'fromPort'), at(props, 'toPort'), [
          ...textsAt(props, 'cidrBlocks'),
          ...textsAt(props, 'ipv6CidrBlocks'),
        ]),
  'aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule': ({ props }) =>
    openRule('cidrIpv4', at(props, 'fromPort'), at(props, 'toPort'), [
      textAt(props, 'cidrIpv4') ?? '',
      textAt(props, 'cidrIpv6') ?? '',
    ]),
  'alicloud:kvstore/connection:Connection': () => [
    { where: 'the resource', found: 'a public address of an instance', allowed: 'none' },
  ],
  [aliyunInstance]: ({ props }) => [
    ...(textsAt(props, 'securityIps').some(isEverywhere)
      ? [{ where: 'securityIps', found: 'everywhere', allowed: 'networks' }]
      : []),
    ...(at(props, 'vpcAuthMode') === 'Close'
      ? [{ where: 'vpcAuthMode', found: '"Close", no password inside of the VPC', allowed: '"Open"' }]
      : []),
  ],
  'tencentcloud:Security/groupRuleSet:GroupRuleSet': ({ props }) =>
    listAt(props, 'ingresses').flatMap((rule, i) =>
      at(rule, 'action') === 'ACCEPT' &&
      includesRedis(textAt(rule, 'port')) &&
      isEverywhere(textAt(rule, 'cidrBlock') ?? '')
        ? [{ where: `ingresses[${i}].cidrBlock`, found: 'everywhere', allowed: 'a network' }]
        : [],
    ),
};

/** Mandatory: it leaks. What the Internet reaches is found within hours, and tried ever after. */
export const publicAccess = resourceRule({
  name: 'public-access',
  level: Level.Mandatory,
  what: 'Nobody outside of the network reaches Redis or Sentinel.',
  why: 'What the Internet reaches is found within hours and tried ever after: a password, or a bug, is then all that stands before the data.',
  fix: 'Let in the networks or security groups of the clients; agents reach each other by their own port, with certificates.',
  settings: {},
  concerns: (type) => type in checks || isKind('Service', ...podKinds)(type),
  check: (resource) => {
    const check = checks[resource.type];
    if (check !== undefined) return check(resource);
    return resource.type.endsWith(':Service') ? serviceIssues(resource) : hostIssues(resource);
  },
});

const isEverywhere = (cidr: string): boolean => cidr.trim().endsWith('/0') || cidr.trim() === '0.0.0.0';

/** All ports where none are named: `-1`, or nothing. */
function openRule(where: string, from: unknown, to: unknown, cidrs: readonly string[]): Issue[] {
  const [first, last] = [Number(from ?? -1), Number(to ?? -1)];
  const isRedis = first === -1 || redisPorts.some((port) => port >= first && port <= last);
  const open = cidrs.find(isEverywhere);
  return isRedis && open !== undefined ? [{ where, found: open, allowed: 'the networks of the clients' }] : [];
}

/** Tencent Cloud's words: `6379`, `6000-7000`, `80,6379`, `ALL`. */
function includesRedis(ports = 'ALL'): boolean {
  return ports.split(',').some((part) => {
    const [first = '', last = first] = part.split('-');
    return part.toUpperCase() === 'ALL' || redisPorts.some((port) => port >= Number(first) && port <= Number(last));
  });
}

function serviceIssues({ props }: Checked): Issue[] {
  const spec = mappingAt(props, 'spec');
  const isRedis = listAt(spec, 'ports').some((port) =>
    [at(port, 'port'), at(port, 'targetPort')].some((one) => redisPorts.includes(Number(one))),
  );
  if (!isRedis) return [];
  const type = textAt(spec, 'type');
  const annotations = mappingAt(props, 'metadata', 'annotations');
  const isInternal = Object.entries(internal).some(([key, value]) => value.test(textAt(annotations, key) ?? ''));
  return [
    ...(type === 'NodePort' || (type === 'LoadBalancer' && !isInternal)
      ? [
          {
            where: 'spec.type',
            found: shown(type),
            allowed: 'ClusterIP, or a load balancer with an annotation that keeps it internal',
          },
        ]
      : []),
    ...(listAt(spec, 'externalIPs').length > 0
      ? [{ where: 'spec.externalIPs', found: 'addresses', allowed: 'none' }]
      : []),
  ];
}

/** On a machine's own network NetworkPolicies don't hold. */
function hostIssues(resource: Checked): Issue[] {
  const workload = workloadOf(resource);
  if (workload === undefined) return [];
  return [
    ...(at(workload.spec, 'hostNetwork') === true
      ? [{ where: `${workload.at}.hostNetwork`, found: 'true', allowed: 'false' }]
      : []),
    ...workload.containers
      .filter(({ container }) => listAt(container, 'ports').some((port) => at(port, 'hostPort') !== undefined))
      .map((one) => ({ where: `${one.at}.ports`, found: 'a hostPort', allowed: 'none' })),
  ];
}
