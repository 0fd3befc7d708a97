import {
  aliyunInstance,
  cacheCluster,
  isCopy,
  isManagedRedis,
  memoryDb,
  replicationGroup,
  serverlessCache,
  tencentInstance,
} from '../managed';
import { at, shown } from '../props';
import { type CheckedInStack, type Issue, Level, stackRule } from '../rule';

const tencentSsl = 'tencentcloud:Redis/ssl:Ssl';

/** Mandatory: without TLS everybody on the path reads the data and the passwords. */
export const managedTls = stackRule({
  name: 'managed-tls',
  level: Level.Mandatory,
  what: 'A managed Redis speaks TLS only.',
  why: 'Otherwise everybody on the path reads the data and the passwords.',
  fix: 'The components of Meridian have it on; elsewhere set the argument named here.',
  settings: {},
  check: (resources) =>
    resources
      .filter((resource) => isManagedRedis(resource) && !isCopy(resource))
      .flatMap((resource) => issuesOf(resource, resources)),
});

function issuesOf(resource: CheckedInStack, resources: readonly CheckedInStack[]): Issue[] {
  const { type, urn, name, props } = resource;
  const need = (key: string, isRight: (value: unknown) => boolean, allowed: string): Issue[] =>
    isRight(at(props, key)) ? [] : [{ urn, where: `${name}: ${key}`, found: shown(at(props, key)), allowed }];
  switch (type) {
    case replicationGroup:
      return [
        ...need('transitEncryptionEnabled', (value) => value === true, 'true'),
        ...need('transitEncryptionMode', (value) => value !== 'preferred', '"required"'),
      ];
    case cacheCluster:
      return need('transitEncryptionEnabled', (value) => value === true, 'true');
    case memoryDb:
      return need('tlsEnabled', (value) => value !== false, 'true');
    case aliyunInstance:
      return need('sslEnable', (value) => value === 'Enable' || value === 'Update', '"Enable"');
    case tencentInstance: {
      const isOn = resources.some(
        (other) =>
          other.type === tencentSsl && other.dependencies.includes(urn) && at(other.props, 'sslConfig') === 'enabled',
      );
      return isOn ? [] : [{ urn, where: name, found: `no ${tencentSsl}`, allowed: 'one with sslConfig enabled' }];
    }
    case serverlessCache: // knows nothing else
    default:
      return [];
  }
}
