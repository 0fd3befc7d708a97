import type * as ec2 from '@pulumi/aws/ec2';
import type * as elasticache from '@pulumi/aws/elasticache';
import type * as vpc from '@pulumi/aws/vpc';
import * as pulumi from '@pulumi/pulumi';

import { dataOptions, childOptions } from '../common';
import { accountsOf, checkedNetwork, passwordsOf } from '../managed';
import { sha256Hex } from '../security/hash';
import { type ElastiCacheRedisArgs, type ElastiCacheSecondaryArgs, type Shape } from './args';
import { aws } from './provider';

export const redisPort = 6379;

/** One region's part: the component's own region, or a secondary of its Global Datastore. */
export interface Part {
  readonly parent: pulumi.Resource;
  /** First part of its children's names. */
  readonly name: string;
  /** AWS' name. */
  readonly region: string;
  readonly args: ElastiCacheRedisArgs;
  readonly shape: Shape;
  readonly network: Pick<ElastiCacheSecondaryArgs, 'vpcId' | 'subnetIds' | 'clientSecurityGroups' | 'clientCidrs'>;
}

/** In two zones or more, as far as can be seen from their number. @throws RunError */
export function requireSubnets(name: string, ids: readonly string[]): string[] {
  if (new Set(ids).size >= 2) return [...ids];
  throw new pulumi.RunError(`${name}: subnetIds: found ${ids.join(', ')}; allowed: 2 or more, in different zones`);
}

export function createSubnetGroup({ parent, name, region, args, network }: Part): elasticache.SubnetGroup {
  const subnetIds = pulumi.output(network.subnetIds).apply((ids) => requireSubnets(name, ids));
  return new aws.elasticache.SubnetGroup(
    `${name}-subnets`,
    { region, subnetIds, description: `Redis ${name}`, tags: args.tags },
    keptWithData(parent, args),
  );
}

/**
 * A security group that lets in nobody but the clients given: Redis calls nobody, so that it has no way out at all. The rules are resources of
 * their own: rules inside of a security group and beside it undo each other.
 */
export function createSecurityGroup({ parent, name, region, args, network }: Part): ec2.SecurityGroup {
  const { clientSecurityGroups = {}, clientCidrs = {} } = network;
  const group = new aws.ec2.SecurityGroup(
    `${name}-clients`,
    { region, vpcId: network.vpcId, description: `Clients of Redis ${name}`, tags: args.tags },
    keptWithData(parent, args),
  );
  const allow = (client: string, from: Partial<vpc.SecurityGroupIngressRuleArgs>): void => {
    new aws.vpc.SecurityGroupIngressRule(
      `${name}-from-${client}`,
      {
        region,
        securityGroupId: group.id,
        description: `Redis from ${client}`,
        ipProtocol: 'tcp',
        fromPort: redisPort,
        toPort: redisPort,
        tags: args.tags,
        ...from,
      },
      childOptions(parent),
    );
  };
  for (const [client, id] of Object.entries(clientSecurityGroups)) allow(client, { referencedSecurityGroupId: id });
  for (const [client, cidr] of Object.entries(clientCidrs))
    allow(client, { cidrIpv4: checkedNetwork(`clientCidrs.${client}`, cidr) });
  return group;
}

/**
 * The users of one region and their group. Who connects without a name is `default`: it must be there, is off, and its password is told to
 * nobody (a group for Valkey takes no user without one).
 */
export function createUserGroup(part: Part, defaultPassword: pulumi.Output<string>): elasticache.UserGroup {
  const { parent, name, region, args, shape } = part;
  const { engine, idPrefix } = shape;
  const create = (user: string, accessString: string, passwords: pulumi.Output<[string, ...string[]]>) =>
    new aws.elasticache.User(
      `${name}-user-${user}`,
      {
        region,
        userId: `${idPrefix}-${user}`,
        userName: user,
        engine,
        accessString,
        ...passwordArgs(passwords, args.passwordOverlap === true && user !== 'default'),
        tags: args.tags,
      },
      keptWithData(parent, args),
    );
  const users = [
    create(
      'default',
      'off ~keys* -@all',
      defaultPassword.apply((only): [string] => [only]),
    ),
    ...Object.entries(accountsOf(args.users, shape.shards > 1)).map(([user, rules]) =>
      create(user, accessString(rules), passwordsOf(args.userPasswords, user)),
    ),
  ];
  return new aws.elasticache.UserGroup(
    `${name}-users`,
    { region, engine, userGroupId: idPrefix, userIds: users.map(({ userId }) => userId), tags: args.tags },
    keptWithData(parent, args),
  );
}

/**
 * ElastiCache gives access strings back in this order, and another one would be a difference at each refresh. From Redis 7 on a user has no
 * channels unless it is given some.
 */
function accessString(rules: readonly string[]): string {
  return ['on', ...rules.filter((rule) => rule !== 'resetchannels')].join(' ');
}

const versionDigits = 7;

/**
 * The write-only argument is sent again when its version changes. The version is made of the password's hash, so that nobody has to count; 28
 * bits of the hash say nothing about 190 random ones.
 */
function passwordArgs(
  passwords: pulumi.Output<[string, ...string[]]>,
  isOverlap: boolean,
): Pick<elasticache.UserArgs, 'authenticationMode' | 'passwordsWo' | 'passwordsWoVersion'> {
  const passwordsMax = 2;
  if (isOverlap) {
    const accepted = passwords.apply((all) => [...new Set(all)].slice(0, passwordsMax));
    return { authenticationMode: { type: 'password', passwords: accepted } };
  }
  const version = passwords.apply(([first]) => parseInt(sha256Hex(first).slice(0, versionDigits), 16));
  return {
    passwordsWo: pulumi.secret(passwords.apply(([first]) => first)),
    passwordsWoVersion: pulumi.unsecret(version),
  };
}

/** Options of what the data can't be reached or run without: it stays when the data does, but is no data. */
export function keptWithData(
  parent: pulumi.Resource,
  { retainOnDelete }: Pick<ElastiCacheRedisArgs, 'retainOnDelete'>,
): pulumi.CustomResourceOptions {
  return dataOptions(parent, { retainOnDelete });
}
