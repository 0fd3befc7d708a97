import { at, shown } from '../props';
import { type Issue, Level, stackRule } from '../rule';
import { isOfFargateAgent, runsTask, service, taskContainersOf, taskOf } from '../tasks';

/** Mandatory: it leaks. Security groups are then all that stands before the data. */
export const taskAddresses = stackRule({
  name: 'task-addresses',
  level: Level.Mandatory,
  what: 'No task of an agent or a Redis in ECS has a public address.',
  why: "What has a public address is one rule of a security group away from the Internet: an agent's admin port has no password, and a Redis is found within hours.",
  fix: 'Leave assignPublicIp at false, as FargateSyncAgent does: from private subnets the image is reached by NAT or VPC endpoints.',
  settings: {},
  check: function* (resources): Iterable<Issue> {
    for (const one of resources.filter(({ type }) => type === service)) {
      const value = at(one.props, 'networkConfiguration', 'assignPublicIp');
      if ((value ?? false) === false) continue;
      const isOurs =
        isOfFargateAgent(one) || runsTask(one, resources, (task) => taskContainersOf(taskOf(task)).length > 0);
      const where = `Service ${one.name}: networkConfiguration.assignPublicIp`;
      if (isOurs) yield { urn: one.urn, where, found: shown(value), allowed: 'false' };
    }
  },
});
