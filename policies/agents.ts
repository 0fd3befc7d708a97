/** The sync agents of a stack, by their configs. */
import { z } from 'zod';

import { isKind, type Place, placeOf } from './kubernetes';
import { mappingAt, textsOf } from './props';
import { type CheckedInStack, type Issue } from './rule';
import { parsedJson } from './stack';
import { type Task, type TaskFiles, taskFilesOf, taskOf } from './tasks';

const agentConfig = z.object({
  stack: z.string(),
  region: z.string(),
  members: z.array(z.object({ name: z.string(), weight: z.number().default(0) })).min(1),
  peers: z.array(z.object({ region: z.string() })),
  redis: z.object({ cluster: z.object({ slots: z.string() }).optional() }).optional(),
});

export interface FoundAgent {
  readonly config: z.output<typeof agentConfig>;
  readonly urn: string;
  readonly place: Place;
  /** Where the config stands, for messages. */
  readonly where: string;
}

/** Of the shard of a cluster that an agent serves; empty: Redis is none. */
export const slotsOf = ({ redis }: FoundAgent['config']): string => redis?.cluster?.slots ?? '';

const isConfigMap = isKind('ConfigMap');

/** Every config of an agent: the JSON that names a region, its members and its peers. */
export function agentConfigsIn(resources: readonly CheckedInStack[]): FoundAgent[] {
  return [...inConfigMaps(resources), ...inTasks(resources)];
}

function inConfigMaps(resources: readonly CheckedInStack[]): FoundAgent[] {
  return resources
    .filter(({ type }) => isConfigMap(type))
    .flatMap((resource) => {
      const files = mappingAt(resource.props, 'data');
      // No other file is read: in a preview it may be unknown.
      const named = Object.fromEntries(
        Object.keys(files)
          .filter(isAgentFile)
          .map((file) => [file, files[file]]),
      );
      return textsOf(named).flatMap(([file, text]) =>
        found(resource, text, `ConfigMap ${resource.name}: data.${file}`),
      );
    });
}

function inTasks(resources: readonly CheckedInStack[]): FoundAgent[] {
  return resources.flatMap((resource) =>
    filesInTask(taskOf(resource), resource).flatMap(({ text, where }) =>
      text === undefined ? [] : found(resource, text, where),
    ),
  );
}

/** The config in each container that writes an agent's files; its text is undefined where there is none. */
function filesInTask(
  task: Task,
  { name }: CheckedInStack,
): { readonly text: string | undefined; readonly where: string }[] {
  return taskFilesOf(task).map(({ files, at }) => {
    const found = agentFileOf(files);
    return { text: found?.text, where: `TaskDefinition ${name}: ${found?.file ?? at}` };
  });
}

/** What can't be read of tasks, where an agent's config might be. A file in a ConfigMap may be somebody else's; a task that writes an agent's files is one. */
export function unreadAgentsIn(resources: readonly CheckedInStack[]): Issue[] {
  return resources.flatMap((resource) => {
    const { urn, name } = resource;
    const task = taskOf(resource);
    const unread = task.issues.map(({ where, ...issue }) => ({
      ...{ ...issue, urn },
      where: `TaskDefinition ${name}: ${where}`,
    }));
    const without = filesInTask(task, resource)
      .filter(({ text, where }) => text === undefined || found(resource, text, where).length === 0)
      .map(({ where }) => ({ urn, where, found: "no agent's config", allowed: 'one, as JSON' }));
    return [...unread, ...without];
  });
}

function found(resource: CheckedInStack, text: string, where: string): FoundAgent[] {
  const parsed = agentConfig.safeParse(parsedJson(text));
  return parsed.success ? [{ config: parsed.data, urn: resource.urn, place: placeOf(resource), where }] : [];
}

/** An agent's config among the files that a task writes. */
export function agentFileOf(
  files: TaskFiles['files'] = {},
): { readonly file: string; readonly text: string } | undefined {
  const [file, text] = Object.entries(files).find(([place]) => isAgentFile(place.split('/').at(-1) ?? '')) ?? [];
  return file === undefined || text === undefined ? undefined : { file, text };
}

const isAgentFile = (file: string): boolean => file === 'agent.json';
