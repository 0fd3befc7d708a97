import { aliyunInstance, memoryDb, replicationGroup, tencentInstance } from '../managed';
import { at, listAt, shown, textAt } from '../props';
import { type Checked, type Issue, Level, resourceRule } from '../rule';

const types: readonly string[] = [replicationGroup, memoryDb, aliyunInstance, tencentInstance];

/** Advisory: what it costs is availability; the other regions have the data. */
export const managedZones = resourceRule({
  name: 'managed-zones',
  level: Level.Advisory,
  what: 'A managed Redis has a replica in another zone, which takes over by itself.',
  why: 'Otherwise the region is down with one zone, until a person acts; the other regions have the data.',
  fix: 'The components of Meridian have it so; elsewhere set the argument named here.',
  settings: {},
  concerns: (type) => types.includes(type),
  check: issuesOf,
});

function issuesOf({ type, props }: Checked): Issue[] {
  const need = (where: string, isRight: boolean, value: unknown, allowed: string): Issue[] =>
    isRight ? [] : [{ where, found: shown(value), allowed }];
  switch (type) {
    case replicationGroup: {
      const [failover, zones] = [at(props, 'automaticFailoverEnabled'), at(props, 'multiAzEnabled')];
      return [
        ...need('automaticFailoverEnabled', failover === true, failover, 'true'),
        ...need('multiAzEnabled', zones === true, zones, 'true'),
      ];
    }
    case memoryDb: {
      const replicas = at(props, 'numReplicasPerShard') ?? 1;
      return need('numReplicasPerShard', Number(replicas) >= 1, replicas, '1 or more');
    }
    case aliyunInstance: {
      const [first, second] = [textAt(props, 'zoneId'), textAt(props, 'secondaryZoneId')];
      return need('secondaryZoneId', second !== undefined && second !== first, second, 'another zone than zoneId');
    }
    default: {
      const zones = listAt(props, 'replicaZoneIds');
      return need('replicaZoneIds', zones.length > 0, zones, "a zone, another one than the primary's");
    }
  }
}
