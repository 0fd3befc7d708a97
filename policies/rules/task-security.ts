import { z } from 'zod';

import { at, listAt, shown, textAt, textsAt } from '../props';
import { type Checked, type Issue, Level, resourceRule } from '../rule';
import { type TaskContainer, taskContainersOf, taskDefinition, taskOf } from '../tasks';

/** Advisory: a second wall, as for pods. */
export const taskSecurity = resourceRule({
  name: 'task-security',
  level: Level.Advisory,
  what: "Containers of an agent or a Redis in ECS have no right that they don't need: no root, no privileges, no capabilities, a root file system that is read-only, nothing of the machine's own.",
  why: "It is a second wall: nothing leaks by it alone, but what is taken over would take more. Root without capabilities is let pass where others wait for its end, for volumes of Fargate are root's.",
  fix: 'Set user, readonlyRootFilesystem and linuxParameters.capabilities of each container, as FargateSyncAgent does.',
  settings: {
    allowedContainers: z.array(z.string()).default([]).describe('Containers that may do more, by name.'),
  },
  concerns: (type) => type === taskDefinition,
  check: (resource, { allowedContainers }) => {
    const task = taskOf(resource);
    const all = taskContainersOf(task);
    if (all.length === 0) return [...task.issues];
    const looked = all.filter(({ name }) => !allowedContainers.includes(name));
    const hasMachine = isOnMachine(resource);
    return [
      ...task.issues,
      ...sharedIssues(resource),
      ...looked.flatMap((one) => containerIssues(one, all, hasMachine)),
    ];
  },
});

const need = (isRight: boolean, where: string, value: unknown, allowed: string): Issue[] =>
  isRight ? [] : [{ where, found: shown(value), allowed }];

/** What the containers share with the machine; Fargate refuses all of it, EC2 does not. */
function sharedIssues({ props }: Checked): Issue[] {
  const [network, pid, ipc] = [at(props, 'networkMode'), at(props, 'pidMode'), at(props, 'ipcMode')];
  return [
    ...need(network !== 'host', 'networkMode', network, 'awsvpc: security groups of its own'),
    ...need(pid !== 'host', 'pidMode', pid, 'none'),
    ...need(ipc !== 'host', 'ipcMode', ipc, 'none'),
  ];
}

/** Whether it says that it runs on machines of one's own, where there is more to set. */
function isOnMachine({ props }: Checked): boolean {
  const kinds = textsAt(props, 'requiresCompatibilities');
  return kinds.length > 0 && !kinds.includes('FARGATE');
}

/** https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html */
function containerIssues(one: TaskContainer, all: readonly TaskContainer[], hasMachine: boolean): Issue[] {
  const { container, at: where } = one;
  const capabilities = (key: string): string[] => textsAt(container, 'linuxParameters', 'capabilities', key);
  const [dropped, added] = [capabilities('drop'), capabilities('add')];
  const hasNoCapabilities = dropped.includes('ALL') && added.length === 0;
  const { user, privileged, readonlyRootFilesystem, dockerSecurityOptions } = container;
  const options = textsAt(dockerSecurityOptions);
  return [
    ...need(!privileged, `${where}.privileged`, privileged, 'false'),
    ...need(!isRoot(user) || (hasNoCapabilities && endsFirst(one, all)), `${where}.user`, user, 'one that is not root'),
    ...need(readonlyRootFilesystem === true, `${where}.readonlyRootFilesystem`, readonlyRootFilesystem, 'true'),
    ...need(dropped.includes('ALL'), `${where}.linuxParameters.capabilities.drop`, dropped, 'ALL'),
    ...need(added.length === 0, `${where}.linuxParameters.capabilities.add`, added, 'none'),
    // Fargate knows no such options.
    ...need(
      !hasMachine || options.includes('no-new-privileges'),
      `${where}.dockerSecurityOptions`,
      options,
      'no-new-privileges',
    ),
  ];
}

/** Where none is given it is the image's own, which may be root. */
const isRoot = (user: unknown): boolean =>
  /^(root|0*)(:|$)/.test(typeof user === 'string' || typeof user === 'number' ? String(user) : '');

/** Whether others start only when it has ended: it prepares something for them. */
function endsFirst({ name, container }: TaskContainer, all: readonly TaskContainer[]): boolean {
  const isAwaited = (dependency: unknown): boolean =>
    textAt(dependency, 'containerName') === name &&
    ['SUCCESS', 'COMPLETE'].includes(textAt(dependency, 'condition') ?? '');
  return container['essential'] === false && all.some((other) => listAt(other.container, 'dependsOn').some(isAwaited));
}
