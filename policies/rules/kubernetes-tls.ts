import { type Conf, concernsConf, confsOf, valueOf } from '../conf';
import { shown } from '../props';
import { type Issue, Level, resourceRule } from '../rule';

const defaultPort = { redis: '6379', sentinel: '26379' };

/** Mandatory: without TLS everybody on the path reads the data and the passwords. */
export const kubernetesTls = resourceRule({
  name: 'kubernetes-tls',
  level: Level.Mandatory,
  what: 'Redis and Sentinel on Kubernetes speak TLS only, to clients and among themselves.',
  why: 'Otherwise everybody on the path reads the data and the passwords.',
  fix: 'Set `tls: true` at KubernetesRedis (`meridian:security.tls`), or `port 0`, `tls-port` and `tls-replication yes` in the config.',
  settings: {},
  concerns: concernsConf,
  check: (resource) => confsOf(resource).flatMap(issuesOf),
});

function issuesOf(conf: Conf): Issue[] {
  const port = valueOf(conf, 'port') ?? defaultPort[conf.server];
  const needed = ['tls-replication', ...(valueOf(conf, 'cluster-enabled') === 'yes' ? ['tls-cluster'] : [])];
  return [
    ...(port === '0' ? [] : [{ where: `${conf.where}: port`, found: port, allowed: '0, and a tls-port' }]),
    ...(valueOf(conf, 'tls-port') === undefined
      ? [{ where: `${conf.where}: tls-port`, found: 'nothing', allowed: 'a port' }]
      : []),
    ...needed
      .filter((directive) => valueOf(conf, directive) !== 'yes')
      .map((directive) => ({
        where: `${conf.where}: ${directive}`,
        found: shown(valueOf(conf, directive)),
        allowed: 'yes',
      })),
  ];
}
