import { concernsConf, confsOf, valueOf } from '../conf';
import { shown } from '../props';
import { type Issue, Level, resourceRule } from '../rule';
import { isCache, shared } from '../stack';

/** Mandatory: it loses data. A Redis that restarts without its file is empty, and so are its replicas a moment later. */
export const persistence = resourceRule({
  name: 'persistence',
  level: Level.Mandatory,
  what: 'A Redis that holds data writes an append-only file, and brings it to the disk.',
  why: 'One that restarts without it is empty, and so are its replicas a moment later.',
  fix: 'Set `appendonly yes` and `appendfsync everysec` (or always); a stack that may lose keys declares `meridian:redis.use: cache`.',
  settings: { use: shared.use },
  concerns: concernsConf,
  check: (resource, { use }) => {
    if (isCache(use)) return [];
    return confsOf(resource)
      .filter(({ server }) => server === 'redis')
      .flatMap((conf): Issue[] => [
        ...(valueOf(conf, 'appendonly') === 'yes'
          ? []
          : [{ where: `${conf.where}: appendonly`, found: shown(valueOf(conf, 'appendonly')), allowed: 'yes' }]),
        ...(valueOf(conf, 'appendfsync') === 'no'
          ? [{ where: `${conf.where}: appendfsync`, found: 'no', allowed: 'everysec, always' }]
          : []),
      ]);
  },
});
