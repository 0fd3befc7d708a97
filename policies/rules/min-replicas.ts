import { z } from 'zod';

import { concernsConf, confsOf, valueOf } from '../conf';
import { type Issue, Level, resourceRule } from '../rule';

/** Mandatory: it loses data. After a partition both primaries take writes, and those of one are thrown away. */
export const minReplicas = resourceRule({
  name: 'min-replicas',
  level: Level.Mandatory,
  what: 'A primary that Sentinels watch takes writes only while replicas hear it.',
  why: 'Otherwise an old primary that is cut off goes on taking writes, which are thrown away when it comes back.',
  fix: 'Set `minReplicasToWrite` at KubernetesRedis (`meridian:redis.minReplicas.toWrite`), or `min-replicas-to-write`.',
  settings: {
    toWriteMin: z.int().min(1).default(1).describe('The least `min-replicas-to-write`.'),
    maxLagSecondsMax: z.int().min(1).default(30).describe('The most `min-replicas-max-lag`, in seconds.'),
  },
  concerns: concernsConf,
  check: (resource, { toWriteMin, maxLagSecondsMax }) =>
    confsOf(resource)
      .filter(({ server, hasSentinel }) => server === 'redis' && hasSentinel)
      .flatMap((conf): Issue[] => {
        // Redis' own defaults are 0 replicas and 10 seconds.
        const toWrite = valueOf(conf, 'min-replicas-to-write') ?? '0';
        const maxLag = valueOf(conf, 'min-replicas-max-lag') ?? '10';
        // A lag of 0 turns the guard off.
        const isLagRight = Number(maxLag) >= 1 && Number(maxLag) <= maxLagSecondsMax;
        return [
          ...(Number(toWrite) >= toWriteMin
            ? []
            : [{ where: `${conf.where}: min-replicas-to-write`, found: toWrite, allowed: `${toWriteMin} or more` }]),
          ...(isLagRight
            ? []
            : [{ where: `${conf.where}: min-replicas-max-lag`, found: maxLag, allowed: `1 to ${maxLagSecondsMax}` }]),
        ];
      }),
});
