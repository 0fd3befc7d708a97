import { kindOf, PodRole, workloadOf } from '../kubernetes';
import { globalReplicationGroup, isManagedRedis } from '../managed';
import { at } from '../props';
import { type Checked, Level, resourceRule } from '../rule';
import { isProduction, shared } from '../stack';
import { fileSystem, isOfFargateAgent } from '../tasks';

/** Mandatory: it loses data. A name that changes, or a `pulumi destroy` in the wrong window, deletes what can't be made again. */
export const dataProtected = resourceRule({
  name: 'data-protected',
  level: Level.Mandatory,
  what: 'In production what holds data is protected: `protect: true`.',
  why: 'Otherwise a name that changes, or a `pulumi destroy` in the wrong window, deletes what nobody can make again.',
  fix: 'Set `protect` at the component (`meridian:kubernetes.protect`), or in the options of the resource.',
  settings: { productionStacks: shared.productionStacks },
  concerns: () => true,
  check: (resource, { productionStacks }) =>
    resource.opts.protect || !holdsData(resource) || !isProduction(resource.urn, productionStacks)
      ? []
      : [{ where: 'the option protect', found: 'false', allowed: 'true' }],
});

const isJournal = (resource: Checked): boolean => resource.type === fileSystem && isOfFargateAgent(resource);

function holdsData(resource: Checked): boolean {
  switch (kindOf(resource.type)) {
    case 'StatefulSet': {
      const role = workloadOf(resource)?.role;
      return role === PodRole.Redis || role === PodRole.Agent;
    }
    case 'PersistentVolumeClaim':
    case 'Namespace': // what is in it goes with it, volumes too
      return at(resource.props, 'metadata', 'labels', 'app.kubernetes.io/part-of') === 'meridian';
    case undefined:
      return isManagedRedis(resource) || resource.type === globalReplicationGroup || isJournal(resource);
    default:
      return false;
  }
}
