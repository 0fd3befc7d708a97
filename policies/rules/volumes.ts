import { isKind, PodRole, podKinds, workloadOf } from '../kubernetes';
import { at, listAt, shown, textAt } from '../props';
import { type Issue, Level, resourceRule } from '../rule';

const kept: readonly PodRole[] = [PodRole.Redis, PodRole.Sentinel, PodRole.Agent];

/** Mandatory: it loses data. A pod without a volume of its own begins from nothing on another machine. */
export const volumes = resourceRule({
  name: 'volumes',
  level: Level.Mandatory,
  what: 'Redis, Sentinels and agents have volumes of their own, which stay when their pods go.',
  why:
    "Otherwise a pod that moves loses Redis' file, a Sentinel's vote (so that it could vote twice), or an agent's journal, and with it changes that " +
    'other regions have not got yet.',
  fix: 'Run them as a StatefulSet with volumeClaimTemplates, and leave persistentVolumeClaimRetentionPolicy at Retain.',
  settings: {},
  concerns: isKind(...podKinds),
  check: (resource): Issue[] => {
    const workload = workloadOf(resource);
    if (workload === undefined || !kept.includes(workload.role)) return [];
    const { props } = resource;
    const claims = [
      ...listAt(props, 'spec', 'volumeClaimTemplates'),
      ...listAt(workload.spec, 'volumes').filter((volume) => textAt(volume, 'persistentVolumeClaim', 'claimName')),
    ];
    return [
      ...(claims.length > 0
        ? []
        : [
            {
              where: 'spec.volumeClaimTemplates',
              found: 'none',
              allowed: `a claim for the disk of the ${workload.role}`,
            },
          ]),
      ...['whenDeleted', 'whenScaled'].flatMap((moment) => {
        const value = at(props, 'spec', 'persistentVolumeClaimRetentionPolicy', moment);
        const where = `spec.persistentVolumeClaimRetentionPolicy.${moment}`;
        return value === 'Delete' ? [{ where, found: shown(value), allowed: 'Retain' }] : [];
      }),
    ];
  },
});
