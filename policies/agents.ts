/** The sync agents of a stack, by their configs. */
import { z } from 'zod';

import { isKind, type Place, placeOf } from './kubernetes';
import { mappingAt, textsOf } from './props';
import { type CheckedInStack } from './rule';
import { parsedJson } from './stack';
import { taskFilesOf } from './tasks';

const agentConfig = z.object({
  stack: z.string(),
  region: z.string(),
  members: z.array(z.object({ name: z.string(), weight: z.number().default(0) })).min(1),
  peers: z.array(z.object({ region: z.string() })),
});

export interface FoundAgent {
  readonly config: z.output<typeof agentConfig>;
  readonly urn: string;
  readonly place: Place;
  /** Where the config stands, for messages. */
  readonly where: string;
}

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
    taskFilesOf(resource)
      .filter(([file]) => isAgentFile(file.split('/').at(-1) ?? ''))
      .flatMap(([file, text]) => found(resource, text, `TaskDefinition ${resource.name}: ${file}`)),
  );
}

function found(resource: CheckedInStack, text: string, where: string): FoundAgent[] {
  const parsed = agentConfig.safeParse(parsedJson(text));
  return parsed.success ? [{ config: parsed.data, urn: resource.urn, place: placeOf(resource), where }] : [];
}

const isAgentFile = (file: string): boolean => file === 'agent.json';
