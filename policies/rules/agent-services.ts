import { at, shown, textAt } from '../props';
import { type CheckedInStack, type Issue, Level, stackRule } from '../rule';
import { isAgentTask, isOfFargateAgent, runsTask, scalableTarget, service } from '../tasks';

/** Mandatory: it loses data. A second agent writes to the journal of the first, whose lock knows processes of its own machine only. */
export const agentServices = stackRule({
  name: 'agent-services',
  level: Level.Mandatory,
  what: 'An agent in ECS is one task at a time: its service ends the old one before it starts a new one, and nothing scales it.',
  why: 'Two agents of one region write to one journal, apply the same changes twice and move one cursor; where ECS may start a second one, it does so at each deployment.',
  fix:
    'FargateSyncAgent has it so; elsewhere set desiredCount 1, deploymentMinimumHealthyPercent 0, deploymentMaximumPercent 100 and availabilityZoneRebalancing DISABLED, ' +
    'and leave autoscaling away.',
  settings: {},
  check: issuesOf,
});

/** What needs less to be known comes first. A service that is right is not asked whether it is an agent's: of its task a preview may know nothing. */
function* issuesOf(resources: readonly CheckedInStack[]): Iterable<Issue> {
  const services = resources.filter(({ type }) => type === service);
  const [own, others] = [services.filter(isOfFargateAgent), services.filter((one) => !isOfFargateAgent(one))];
  yield* own.flatMap(serviceIssues);
  const all = [...own, ...others];
  for (const [i, one] of all.entries()) {
    const issues = [
      ...(i < own.length ? [] : serviceIssues(one)),
      ...all.slice(0, i).flatMap((other) => sameTask(one, other)),
      ...targetIssues(one, resources),
    ];
    if (issues.length > 0 && runsAgent(one, resources)) yield* issues;
  }
}

const nameOf = ({ name }: CheckedInStack): string => `Service ${name}`;

/** https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateService.html */
function serviceIssues(one: CheckedInStack): Issue[] {
  const { urn, props } = one;
  const need = (isRight: boolean, key: string, value: unknown, allowed: string): Issue[] =>
    isRight ? [] : [{ urn, where: `${nameOf(one)}: ${key}`, found: shown(value), allowed }];
  const [count, least, most] = [
    at(props, 'desiredCount'),
    at(props, 'deploymentMinimumHealthyPercent'),
    at(props, 'deploymentMaximumPercent'),
  ];
  const scheduling = at(props, 'schedulingStrategy') ?? 'REPLICA';
  const controller = at(props, 'deploymentController', 'type') ?? 'ECS';
  const strategy = at(props, 'deploymentConfiguration', 'strategy') ?? 'ROLLING';
  // What is not given when a service is made is ENABLED.
  const rebalancing = at(props, 'availabilityZoneRebalancing');
  return [
    ...need(
      scheduling === 'REPLICA',
      'schedulingStrategy',
      scheduling,
      'REPLICA: one on each machine is more than one',
    ),
    ...need(count === undefined || Number(count) <= 1, 'desiredCount', count, '1'),
    ...need(
      Number(most ?? 200) <= 100,
      'deploymentMaximumPercent',
      most,
      '100: more is a second agent at each deployment',
    ),
    ...need(
      least === 0,
      'deploymentMinimumHealthyPercent',
      least,
      '0: the old agent has to end before the new one starts',
    ),
    ...need(
      rebalancing === 'DISABLED',
      'availabilityZoneRebalancing',
      rebalancing,
      'DISABLED: it starts a second one first',
    ),
    ...need(controller === 'ECS', 'deploymentController.type', controller, 'ECS: the others start a second one first'),
    ...need(
      strategy === 'ROLLING',
      'deploymentConfiguration.strategy',
      strategy,
      'ROLLING: the others start a second one first',
    ),
  ];
}

/** Two services that run one task, by reference: two texts are compared by nobody but ECS. */
function sameTask(one: CheckedInStack, other: CheckedInStack): Issue[] {
  const task = one.propertyDependencies['taskDefinition']?.[0];
  return task !== undefined && other.propertyDependencies['taskDefinition']?.includes(task)
    ? [
        {
          urn: one.urn,
          where: `${nameOf(one)}: taskDefinition`,
          found: `that of ${nameOf(other)}`,
          allowed: 'one service',
        },
      ]
    : [];
}

/** By reference, else by name: `service/<cluster>/<service>`. */
function targetIssues(one: CheckedInStack, resources: readonly CheckedInStack[]): Issue[] {
  const services = resources.filter(({ type }) => type === service);
  const isOf = (target: CheckedInStack): boolean => {
    const urns = target.propertyDependencies['resourceId'] ?? [];
    return services.some(({ urn }) => urns.includes(urn)) ? urns.includes(one.urn) : isNamed(target, one);
  };
  return resources
    .filter((target) => target.type === scalableTarget && isOf(target))
    .map(({ urn, name }) => ({
      urn,
      where: `Target ${name}`,
      found: `autoscaling of ${nameOf(one)}`,
      allowed: 'none',
    }));
}

function isNamed(target: CheckedInStack, { props }: CheckedInStack): boolean {
  const [, cluster, name] = (textAt(target.props, 'resourceId') ?? '').split('/');
  // Of a cluster the name, or an ARN that ends with it.
  const isSameCluster = (): boolean => (textAt(props, 'cluster') ?? 'default').split('/').at(-1) === cluster;
  return name !== undefined && textAt(props, 'name') === name && isSameCluster();
}

/** By whose child it is, else by its task. */
function runsAgent(one: CheckedInStack, resources: readonly CheckedInStack[]): boolean {
  return isOfFargateAgent(one) || runsTask(one, resources, isAgentTask);
}
