/** Tasks of ECS, as rules look at them: their containers are JSON in one text. */
import { z } from 'zod';

import { redisImage } from './kubernetes';
import { textAt } from './props';
import { type Checked } from './rule';
import { parsedJson } from './stack';

export const taskDefinition = 'aws:ecs/taskDefinition:TaskDefinition';
export const fileSystem = 'aws:efs/fileSystem:FileSystem';

/** Variable of the container that writes an agent's files: places and texts, as JSON. FargateSyncAgent has it. */
const agentFiles = 'MERIDIAN_FILES';

const containers = z.array(
  z.object({
    name: z.string(),
    image: z.string(),
    environment: z.array(z.object({ name: z.string(), value: z.string() })).default([]),
  }),
);
export type TaskContainer = z.output<typeof containers>[number];

/** The containers of an agent's task, or of a Redis; none of all others. */
export function taskContainersOf({ type, props }: Checked): TaskContainer[] {
  if (type !== taskDefinition) return [];
  const parsed = containers.safeParse(parsedJson(textAt(props, 'containerDefinitions') ?? ''));
  if (!parsed.success) return [];
  const isOurs = parsed.data.some(
    ({ image, environment }) => redisImage.test(image) || environment.some(({ name }) => name === agentFiles),
  );
  return isOurs ? parsed.data : [];
}

/** The files that an agent's task writes, by their places. */
export function taskFilesOf(task: Checked): [string, string][] {
  return taskContainersOf(task)
    .flatMap(({ environment }) => environment)
    .filter(({ name }) => name === agentFiles)
    .flatMap(({ value }) => Object.entries(z.record(z.string(), z.string()).catch({}).parse(parsedJson(value))));
}
