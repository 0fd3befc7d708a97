import { isPinned } from '../../model/images';
import { isKind, podKinds, workloadOf } from '../kubernetes';
import { shown } from '../props';
import { Level, resourceRule } from '../rule';
import { isProduction, shared } from '../stack';
import { taskContainersOf, taskDefinition, taskOf } from '../tasks';

/** Mandatory: it leaks. Who may push a tag would run their code beside the data; and no two nodes need run the same. */
export const imageDigests = resourceRule({
  name: 'image-digests',
  level: Level.Mandatory,
  what: 'In production images are pinned by digest.',
  why: 'Who may push a tag would run their code beside the data, with its passwords; and two nodes of one Redis may run different ones.',
  fix: 'Give `name@sha256:…` for agentImage, redisImage and exporterImage in `meridian:kubernetes`; `meridian images --stack NAME` lists them, and says what pins each (docs/production.md).',
  settings: { productionStacks: shared.productionStacks },
  concerns: (type) => isKind(...podKinds)(type) || type === taskDefinition,
  check: (resource, { productionStacks }) => {
    if (!isProduction(resource.urn, productionStacks)) return [];
    const task = taskOf(resource);
    const unpinned = [...(workloadOf(resource)?.containers ?? []), ...taskContainersOf(task)]
      .filter(({ image }) => !isPinned(image))
      .map(({ at, image }) => ({ where: `${at}.image`, found: shown(image), allowed: 'name@sha256:…' }));
    return [...task.issues, ...unpinned];
  },
});
