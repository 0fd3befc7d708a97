import { agentFileOf } from '../agents';
import { isGiven, listAt, mappingAt, shown, textAt } from '../props';
import { type Checked, type Issue, Level, resourceRule } from '../rule';
import { parsedJson } from '../stack';
import { taskContainersOf, taskDefinition, taskFilesOf, taskOf, type TaskContainer, writesFiles } from '../tasks';

/** Mandatory: it loses data, or leaks it. What Fargate gives a task by itself goes with that task. */
export const taskVolumes = resourceRule({
  name: 'task-volumes',
  level: Level.Mandatory,
  what: 'The journal of an agent in ECS is on EFS, and what tasks of an agent or a Redis keep there is read and written over TLS.',
  why:
    "What is not on EFS goes with the task: the next one has no journal, and changes that other regions have not got yet are lost. Without TLS everybody on the path reads clients' " +
    'keys and values.',
  fix: "FargateSyncAgent has it so; elsewhere mount a volume with efsVolumeConfiguration and transitEncryption ENABLED at the agent's stateDir.",
  settings: {},
  concerns: (type) => type === taskDefinition,
  check: (resource) => {
    const task = taskOf(resource);
    const containers = taskContainersOf(task);
    if (containers.length === 0) return [...task.issues];
    const journals = taskFilesOf(task).flatMap(({ files, at }) => {
      const dir = textAt(parsedJson(agentFileOf(files)?.text ?? ''), 'stateDir');
      return dir === undefined
        ? [{ where: at, found: "no agent's config", allowed: 'one with a stateDir, as JSON' }]
        : journalIssues(dir, containers, resource);
    });
    return [...task.issues, ...journals, ...transitIssues(resource)];
  },
});

const volumesOf = ({ props }: Checked): readonly unknown[] => listAt(props, 'volumes');
const efs = 'efsVolumeConfiguration';

/** The volume that is mounted at an agent's journal, in any container but that which writes its files. */
function journalIssues(dir: string, containers: readonly TaskContainer[], resource: Checked): Issue[] {
  const holds = (mount: unknown): boolean => `${dir}/`.startsWith(`${textAt(mount, 'containerPath') ?? dir}/`);
  const mounts = containers
    .filter((one) => !writesFiles(one))
    .flatMap(({ container }) => listAt(container, 'mountPoints'))
    .filter(holds);
  if (mounts.length === 0)
    return [
      { where: 'containerDefinitions', found: `no volume at ${dir}`, allowed: 'one on EFS: the journal is there' },
    ];
  return mounts.flatMap((mount) => {
    const name = textAt(mount, 'sourceVolume') ?? '';
    const volume = volumesOf(resource).find((one) => textAt(one, 'name') === name);
    return isGiven(volume, efs)
      ? []
      : [{ where: `volumes[${name}].${efs}`, found: 'nothing', allowed: `a file system: the journal is there` }];
  });
}

function transitIssues(resource: Checked): Issue[] {
  return volumesOf(resource)
    .filter((volume) => isGiven(volume, efs))
    .flatMap((volume) => {
      const { transitEncryption } = mappingAt(volume, efs);
      const where = `volumes[${textAt(volume, 'name') ?? ''}].${efs}.transitEncryption`;
      return transitEncryption === 'ENABLED' ? [] : [{ where, found: shown(transitEncryption), allowed: '"ENABLED"' }];
    });
}
