/** Tasks of ECS that several cases begin with, and what can't be read of them. */
import { type Given, type Mutation, set, setIn } from './case';
import { agentConfig, digest } from './fixtures';

const hardened = {
  readonlyRootFilesystem: true,
  linuxParameters: { capabilities: { drop: ['ALL'] }, initProcessEnabled: true },
};

const image = `registry.example.com/meridian@${digest}`;

/** Where the containers of a task stand. */
export const containers = ['containerDefinitions'] as const;

export const taskOf = (name: string, definitions: readonly object[]): Given => ({
  type: 'aws:ecs/taskDefinition:TaskDefinition',
  name,
  props: { family: name, containerDefinitions: JSON.stringify(definitions) },
});

/** The task of an agent in Fargate. */
export const agentTask = (region: string, peers: readonly string[], members = ['east', 'west']): Given =>
  taskOf(`task-${region}`, [
    {
      name: 'files',
      image,
      ...hardened,
      essential: false,
      user: '0:999',
      entryPoint: ['node'],
      command: ['-e', 'write()', '/etc/meridian'],
      environment: [writing({ 'config/agent.json': agentConfig(region, peers, members) })],
      secrets: [{ name: 'MERIDIAN_SECRETS', valueFrom: 'arn:aws:secretsmanager:us-west-2:1:secret:agent' }],
      logConfiguration: { logDriver: 'awslogs', options: { 'awslogs-group': 'agent' } },
    },
    {
      name: 'agent',
      image,
      ...hardened,
      essential: true,
      dependsOn: [{ containerName: 'files', condition: 'SUCCESS' }],
      user: '999:999',
      entryPoint: ['node'],
      command: ['main.js'],
    },
  ]);

/** The variable by which files are written. */
export const writing = (files: object) => ({ name: 'MERIDIAN_FILES', value: JSON.stringify(files) });

export const task = agentTask('west', ['east']);

/** Somebody else's, which rules about Redis and agents leave alone. */
export const otherTask = taskOf('web', [
  { name: 'web', image: 'nginx:1', environment: [{ name: 'LEVEL', value: 'info' }] },
]);

/** The service that runs a task, as it has to be where that is an agent's. */
export const serviceOf = ({ name }: Given): Given => ({
  type: 'aws:ecs/service:Service',
  name: `service-of-${name}`,
  propertyDependencies: { taskDefinition: [name] },
  props: {
    name: `${name}-1234567`,
    cluster: 'arn:aws:ecs:us-west-2:1:cluster/agents',
    launchType: 'FARGATE',
    taskDefinition: `arn:aws:ecs:us-west-2:1:task-definition/${name}:7`,
    desiredCount: 1,
    deploymentMinimumHealthyPercent: 0,
    deploymentMaximumPercent: 100,
    availabilityZoneRebalancing: 'DISABLED',
  },
});

/** What a container says of itself beside what is to be found of it: it hides nothing. */
export const oddities: readonly object[] = [
  { environment: null },
  { environment: [{ name: 'LEVEL', value: 1 }] },
  { environment: [{ name: 'LEVEL' }] },
  { environment: ['LEVEL=info'] },
  { environment: { LEVEL: 'info' } },
  { command: null, entryPoint: 'node', user: 999 },
];

const variables = 'a list of variables, each with name and value';
/** @param prefix of messages, of a rule that looks at a stack */
export function unread({ name }: Given, prefix = ''): Mutation[] {
  const says = (where: string, found: string, allowed: string): string =>
    `${prefix}${where}: found ${found}; allowed: ${allowed}.`;
  const list = 'a list of containers, as JSON';
  return [
    set(name, containers, undefined, says('containerDefinitions', 'nothing', list)),
    set(name, containers, '[{', says('containerDefinitions', 'no JSON', list)),
    set(name, containers, '{}', says('containerDefinitions', 'no list', list)),
    setIn(name, containers, [1], 'agent', says('containerDefinitions[1]', 'something else', 'a container')),
    setIn(
      name,
      containers,
      [1, 'environment'],
      { LEVEL: 'info' },
      says('containerDefinitions[agent].environment', 'something else', variables),
    ),
    setIn(
      name,
      containers,
      [1, 'environment'],
      [{ value: 'info' }],
      says('containerDefinitions[agent].environment', 'something else', variables),
    ),
  ];
}
