/** The sync agents of a stack, by their configs. */
import { z } from 'zod';

import { isKind, type Place, placeOf } from './kubernetes';
import { mappingAt, textsOf } from './props';
import { type CheckedInStack } from './rule';
import { parsedJson } from './stack';

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
      return textsOf(named).flatMap(([file, text]) => {
        const parsed = agentConfig.safeParse(parsedJson(text));
        if (!parsed.success) return [];
        const { urn, name } = resource;
        return [{ config: parsed.data, urn, place: placeOf(resource), where: `ConfigMap ${name}: data.${file}` }];
      });
    });
}

const isAgentFile = (file: string): boolean => file === 'agent.json';
