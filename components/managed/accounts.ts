import * as pulumi from '@pulumi/pulumi';
import * as random from '@pulumi/random';

import {
  applicationRules,
  clusterAgentRules,
  exporterRules,
  notificationAgentRules,
  SystemUser,
  usersDefault,
} from '../../model';
import { dataOptions, type Passwords, pickPasswords } from '../common';

type Rules = Readonly<Record<string, readonly string[]>>;

/**
 * Everybody who logs in to a managed Redis: no `meridian-node`, for the nodes are the provider's.
 * @param isCluster it has several shards
 */
export function accountsOf(users: Rules = usersDefault, isCluster = false): Record<string, readonly string[]> {
  return {
    [SystemUser.Agent]: [...notificationAgentRules, ...(isCluster ? clusterAgentRules : [])],
    [SystemUser.Exporter]: exporterRules,
    ...Object.fromEntries(Object.entries(users).map(([name, rules]) => [name, applicationRules(rules)])),
  };
}

/** Commands that change nothing: what an account that only reads can run anyway. */
const reading = new Set(['+@read', '+@connection', '+@transaction']);

/** Whether read-only is enough for these rules of a user, where a service knows nothing finer. */
function readsOnly(rules: readonly string[]): boolean {
  return rules.filter((rule) => rule.startsWith('+')).every((rule) => reading.has(rule));
}

/** The same for everybody: the exporter reads, the agent writes, and of the others it depends on their rules. */
export function readers(users: Rules = usersDefault): Record<string, boolean> {
  return {
    [SystemUser.Agent]: false,
    [SystemUser.Exporter]: true,
    ...Object.fromEntries(Object.entries(users).map(([name, rules]) => [name, readsOnly(rules)])),
  };
}

/** The same when they are known; the first one is handed out. Secret. */
export function passwordsOf(
  all: pulumi.Input<{ [user: string]: string[] }>,
  user: string,
): pulumi.Output<[string, ...string[]]> {
  return pulumi.secret(all).apply((passwords: Passwords) => pickPasswords(passwords, user));
}

/** Alibaba Cloud and Tencent Cloud: at least three of small and capital letters, digits, others. */
export function kindsOf(password: string): number {
  return [/[a-z]/, /[A-Z]/, /\d/, /[^A-Za-z0-9]/].filter((kind) => kind.test(password)).length;
}

/** A password that nobody is told: of the account that a service insists on and nobody uses. */
export function unusedPassword(
  parent: pulumi.Resource,
  name: string,
  length: number,
  keep: { readonly protect?: boolean; readonly retainOnDelete?: boolean } = {},
): pulumi.Output<string> {
  return new random.RandomPassword(
    name,
    { length, special: false, minLower: 2, minUpper: 2, minNumeric: 2 },
    dataOptions(parent, keep),
  ).result;
}
