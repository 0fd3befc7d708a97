import { z } from 'zod';

import {
  aliyunInstance,
  isManagedRedis,
  memoryDb,
  replicationGroup,
  serverlessCache,
  tencentInstance,
} from '../managed';
import { at, listAt, shown } from '../props';
import { type CheckedInStack, type Issue, Level, stackRule } from '../rule';
import { isCache, shared } from '../stack';

const tencentBackups = 'tencentcloud:Redis/backupConfig:BackupConfig';

/** Mandatory: it loses data. Replication carries a FLUSHALL or a bug everywhere; a snapshot is the only way back. */
export const snapshots = stackRule({
  name: 'snapshots',
  level: Level.Mandatory,
  what: 'A managed Redis that holds data makes snapshots, and keeps them.',
  why: 'Replication carries a FLUSHALL, or a bug, into every region and replica: a snapshot is the only way back.',
  fix: 'Set `snapshotRetentionDays` at ElastiCacheRedis; AliyunRedis and TencentRedis make backups by themselves.',
  settings: {
    daysMin: z
      .int()
      .min(1)
      .default(1)
      .describe('For how many days snapshots have to be kept at least, where the service lets one say it.'),
    use: shared.use,
  },
  check: (resources, { daysMin, use }) =>
    isCache(use) ? [] : resources.filter(isManagedRedis).flatMap((resource) => issuesOf(resource, resources, daysMin)),
});

function issuesOf(resource: CheckedInStack, resources: readonly CheckedInStack[], daysMin: number): Issue[] {
  const { type, urn, name, props } = resource;
  switch (type) {
    case replicationGroup:
    case serverlessCache:
    case memoryDb: {
      const key = 'snapshotRetentionLimit';
      const days = at(props, key);
      if (typeof days === 'number' && days >= daysMin) return [];
      return [{ urn, where: `${name}: ${key}`, found: shown(days), allowed: `${daysMin} days or more` }];
    }
    case aliyunInstance:
      if (listAt(props, 'backupPeriods').length > 0) return [];
      return [{ urn, where: `${name}: backupPeriods`, found: 'no day', allowed: 'one day a week or more' }];
    case tencentInstance:
      if (resources.some((other) => other.type === tencentBackups && other.dependencies.includes(urn))) return [];
      return [{ urn, where: name, found: `no ${tencentBackups}`, allowed: 'one for it' }];
    default:
      return [];
  }
}
