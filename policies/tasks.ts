/** Tasks of ECS, as rules look at them: their containers are JSON in one text. */
import { z } from 'zod';

import { redisImage } from './kubernetes';
import { at, isMapping, listAt, type Mapping, textAt, textsAt } from './props';
import { type Checked, type CheckedInStack, type Issue } from './rule';
import { parsedJson } from './stack';

export const taskDefinition = 'aws:ecs/taskDefinition:TaskDefinition';
export const fileSystem = 'aws:efs/fileSystem:FileSystem';
export const service = 'aws:ecs/service:Service';
export const scalableTarget = 'aws:appautoscaling/target:Target';

/** Variable of the container that writes an agent's files: places and texts, as JSON. FargateSyncAgent has it. */
const agentFiles = 'MERIDIAN_FILES';

export interface TaskVariable {
  readonly name: string;
  /** A number or the like as the text that it becomes; empty where nothing is given. */
  readonly value: string;
}

export interface TaskContainer {
  readonly name: string;
  /** Empty where none is given. */
  readonly image: string;
  readonly environment: readonly TaskVariable[];
  /** Entry point and command together. */
  readonly words: readonly string[];
  readonly container: Mapping;
  /** Where it stands, for messages. */
  readonly at: string;
}

/** What a task definition says of its containers. */
export interface Task {
  readonly containers: readonly TaskContainer[];
  /** What of it can't be read; a rule that needs it says so, as there might be an agent in it. */
  readonly issues: readonly Issue[];
}

/** All that can be read: one thing that is odd hides nothing else. */
export function taskOf({ type, props }: Checked): Task {
  if (type !== taskDefinition) return { containers: [], issues: [] };
  const list = 'containerDefinitions';
  const text = textAt(props, list);
  const found = text === undefined ? undefined : parsedJson(text);
  if (!Array.isArray(found)) {
    const what = text === undefined ? 'nothing' : found === undefined ? 'no JSON' : 'no list';
    return { containers: [], issues: [{ where: list, found: what, allowed: 'a list of containers, as JSON' }] };
  }
  const read = found.map((item, i) => containerOf(lowerKeys(item), i, list));
  return { containers: read.flatMap(({ container }) => container), issues: read.flatMap(({ issues }) => issues) };
}

interface ReadContainer {
  readonly container: readonly TaskContainer[];
  readonly issues: readonly Issue[];
}

function containerOf(item: unknown, i: number, list: string): ReadContainer {
  const name = textAt(item, 'name') ?? String(i);
  const where = `${list}[${name}]`;
  if (!isMapping(item)) return { container: [], issues: [{ where, found: 'something else', allowed: 'a container' }] };
  const variables = at(item, 'environment') ?? [];
  const environment = listAt(variables).map(variableOf);
  const container: TaskContainer = {
    ...{ name, at: where, container: item },
    image: textAt(item, 'image') ?? '',
    environment: environment.filter((variable) => variable !== undefined),
    words: [...textsAt(item, 'entryPoint'), ...textsAt(item, 'command')],
  };
  const isRead = Array.isArray(variables) && !environment.includes(undefined);
  const allowed = 'a list of variables, each with name and value';
  const issue: Issue = { where: `${where}.environment`, found: 'something else', allowed };
  return { container: [container], issues: isRead ? [] : [issue] };
}

/** Undefined where it is none. Its value is not shown anywhere: it may be secret. */
function variableOf(item: unknown): TaskVariable | undefined {
  const name = textAt(item, 'name');
  if (name === undefined) return undefined;
  const value = at(item, 'value') ?? '';
  return { name, value: typeof value === 'string' ? value : JSON.stringify(value) };
}

/** The provider takes keys in whatever case; CloudFormation's begin with a capital. */
function lowerKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(lowerKeys);
  if (!isMapping(value)) return value;
  const entries = Object.entries(value);
  return Object.fromEntries(
    entries.map(([key, inner]) => [key.charAt(0).toLowerCase() + key.slice(1), lowerKeys(inner)]),
  );
}

/** Whether the container writes the files of an agent. */
export const writesFiles = ({ environment }: TaskContainer): boolean =>
  environment.some(({ name }) => name === agentFiles);

/** Whether a task is that of an agent. */
export const isAgentTask = (resource: Checked): boolean => taskOf(resource).containers.some(writesFiles);

/** Whether a resource is a part of FargateSyncAgent: no label says it, but whose child it is. */
export const isOfFargateAgent = ({ urn }: Checked): boolean => urn.includes('meridian:index:FargateSyncAgent$');

/** Whether a service runs a task of a kind: by reference, else by the name of its task: a family, with a revision or without. */
export function runsTask(
  { props, propertyDependencies }: CheckedInStack,
  resources: readonly CheckedInStack[],
  isOfKind: (task: Checked) => boolean,
): boolean {
  const tasks = resources.filter(({ type }) => type === taskDefinition);
  const urns = propertyDependencies['taskDefinition'] ?? [];
  const referred = tasks.filter(({ urn }) => urns.includes(urn));
  if (referred.length > 0) return referred.some(isOfKind);
  const [, family] =
    /^(?:arn:.*:task-definition\/)?([^:/]+)(?::\d+)?$/.exec(textAt(props, 'taskDefinition') ?? '') ?? [];
  return tasks.some((task) => textAt(task.props, 'family') === family && isOfKind(task));
}

/** The containers of an agent's task, or of a Redis; none of all others. */
export function taskContainersOf({ containers }: Task): readonly TaskContainer[] {
  return containers.some((one) => redisImage.test(one.image) || writesFiles(one)) ? containers : [];
}

/** Files that an agent's task writes. */
export interface TaskFiles {
  /** Texts by their places. Undefined where they can't be read. */
  readonly files: Readonly<Record<string, string>> | undefined;
  /** Where they stand, for messages. */
  readonly at: string;
}

const filesOf = z.record(z.string(), z.string());

/** The files of each container that writes some. */
export function taskFilesOf({ containers }: Task): TaskFiles[] {
  return containers.flatMap(({ environment, at: where }) =>
    environment
      .filter(({ name }) => name === agentFiles)
      .map(({ name, value }) => ({
        files: filesOf.safeParse(parsedJson(value)).data,
        at: `${where}.environment[${name}]`,
      })),
  );
}
