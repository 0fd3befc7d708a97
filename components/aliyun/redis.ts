import * as pulumi from '@pulumi/pulumi';

import { Capture, type ConfigIssue, demandIssues } from '../../model';
import {
  checkArguments,
  checkPackages,
  childOptions,
  componentType,
  dataOptions,
  dnsLabel,
  namesList,
  oneOf,
  rule,
} from '../common';
import { RedisUse } from '../kubernetes/args';
import {
  allowListIssues,
  captureOf,
  checkedNetwork,
  eventIssues,
  eventsOf,
  kindsOf,
  passwordsOf,
  readers,
  unusedPassword,
} from '../managed';
import { alicloud } from './provider';

export interface AliyunRedisArgs extends AliyunInstanceArgs {
  /** Name of the region in the stack. */
  region: string;
  /** `userPasswords` of RedisSecurity. The first password of each user alone is accepted: an account has one. */
  userPasswords: pulumi.Input<{ [user: string]: string[] }>;
  /**
   * Users of the applications and their rules on commands. The service knows two privileges only: who has no rule but `+@read` gets an account that
   * reads, everybody else one that reads and writes, `admin` too. Plain, for each is a resource. Default: app, read, admin.
   */
  users?: { [user: string]: string[] };
  /** How the sync agent learns of changes; a Capture. `psync` is refused. Default: notifications. */
  capture?: Capture;
  /** A RedisUse: whether a full Redis evicts. Default: data. */
  use?: RedisUse;
  /** Refuse to delete the instance, in Pulumi and in the service. For production. Default: false. */
  protect?: boolean;
  /** Leave the instance and its accounts alone when they leave the program. For production. Default: false. */
  retainOnDelete?: boolean;
}

/** Where an instance of ApsaraDB is, and what can be chosen about it. */
export interface AliyunInstanceArgs {
  /**
   * Alibaba Cloud's name of the region. Its resources have no argument for it: the provider decides, so give the component one of this region
   * (`providers` of its options). Zones are checked against it. Default: `region`.
   */
  providerRegion?: string;
  /** Zone of the primary, such as cn-hangzhou-h. With TLS it can't be moved later. */
  zoneId: string;
  /** Zone of the replica, another one of the region. */
  secondaryZoneId: string;
  /** VSwitch in the primary's zone; it decides the VPC. */
  vswitchId: pulumi.Input<string>;
  /** IPv4 networks from which clients may connect, by names of your choice; /8 or narrower, never 0.0.0.0/0. At least one. */
  clientCidrs: { [name: string]: pulumi.Input<string> };

  /** `notify-keyspace-events`. With capture by notifications it has A, K and E at least. Default: `AKE` with it, else as the service has it: none in a new instance. */
  notifyKeyspaceEvents?: string;
  /** Version: 6.0 or 7.0. Those before have no TLS in this architecture, or none of the commands the agent needs. Default: 7.0. */
  engineVersion?: string;
  /** Size, by the service's name of it. Default: redis.master.large.default, 8 GB, the primary and its replica. */
  instanceClass?: pulumi.Input<string>;

  /** Days of the backups, in English. Default: every day. */
  backupDays?: pulumi.Input<pulumi.Input<string>[]>;
  /** The hour of the backups, UTC. Default: 19:00Z-20:00Z, the night in China. */
  backupTime?: pulumi.Input<string>;

  /** Tags of the instance. Default: none. */
  tags?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

const redisPort = 6379;
const versions = ['6.0', '7.0'];
const passwordLengthMax = 32;
const passwordKindsMin = 3;
const days = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];

/** An account's name has underscores where a user's has hyphens. */
const accountName = (user: string): string => user.replaceAll('-', '_');

/**
 * One region's Redis as an instance of ApsaraDB (Tair, Redis OSS-compatible): one primary and one replica in two zones, TLS, accounts, an allow list, backups.
 * What it lacks: see `capabilities.aliyun` in model/capabilities.ts.
 */
export class AliyunRedis extends pulumi.ComponentResource {
  /** Where applications connect, inside the VPC: the service moves it to the replica when the primary fails. */
  public readonly host: pulumi.Output<string>;
  /** The same: a replica of this architecture answers nobody. */
  public readonly replicaHost: pulumi.Output<string>;
  /** Port; TLS only, with a certificate of the service's authority. */
  public readonly port: pulumi.Output<number>;
  /** The instance, for recovery by the service's API. */
  public readonly instanceId: pulumi.Output<string>;
  /** Log in to Redis as: the accounts of the users. */
  public readonly userNames: pulumi.Output<{ [user: string]: string }>;

  constructor(name: string, args: AliyunRedisArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments(
      'AliyunRedis',
      name,
      args,
      ['region', 'zoneId', 'secondaryZoneId', 'vswitchId', 'clientCidrs', 'userPasswords'],
      () => issuesOf(args),
    );
    checkPackages('AliyunRedis', name, ['@pulumi/alicloud']);
    super(componentType('AliyunRedis'), name, args, opts);

    const events = eventsOf(args);
    const instance = new alicloud.kvstore.Instance(
      name,
      {
        dbInstanceName: name,
        instanceType: 'Redis',
        engineVersion: args.engineVersion ?? '7.0',
        instanceClass: args.instanceClass ?? 'redis.master.large.default',
        nodeType: 'MASTER_SLAVE',
        paymentType: 'PostPaid',
        zoneId: args.zoneId,
        secondaryZoneId: args.secondaryZoneId,
        vswitchId: args.vswitchId,
        // The account that the service makes by itself: a password is required, and nobody is told this one.
        password: unusedPassword(this, `${name}-default-password`, passwordLengthMax),
        vpcAuthMode: 'Open',
        sslEnable: 'Enable',
        securityIps: Object.entries(args.clientCidrs).map(([client, cidr]) =>
          checkedNetwork(`clientCidrs.${client}`, cidr),
        ),
        config: {
          appendonly: 'yes',
          // The service's own spelling of maxmemory-policy.
          EvictionPolicy: args.use === RedisUse.Cache ? 'allkeys-lru' : 'noeviction',
          ...(events === '' ? {} : { 'notify-keyspace-events': events }),
        },
        backupPeriods: args.backupDays ?? days,
        backupTime: args.backupTime ?? '19:00Z-20:00Z',
        instanceReleaseProtection: args.protect === true,
        tags: args.tags,
      },
      dataOptions(this, args),
    );
    const accounts = Object.entries(readers(args.users)).map(([user, isReader]) => {
      const account = new alicloud.kvstore.Account(
        `${name}-user-${user}`,
        {
          instanceId: instance.id,
          accountName: accountName(user),
          accountPassword: passwordsOf(args.userPasswords, user).apply(([first]) => checkPassword(first, user)),
          accountPrivilege: isReader ? 'RoleReadOnly' : 'RoleReadWrite',
        },
        args.retainOnDelete === true ? dataOptions(this, { retainOnDelete: true }) : childOptions(this),
      );
      return [user, account.accountName] as const;
    });

    this.host = instance.connectionDomain;
    this.replicaHost = instance.connectionDomain;
    this.port = pulumi.output(redisPort);
    this.instanceId = instance.id;
    this.userNames = pulumi.output(Object.fromEntries(accounts));
    this.registerOutputs({
      host: this.host,
      replicaHost: this.replicaHost,
      port: this.port,
      instanceId: this.instanceId,
      userNames: this.userNames,
    });
  }
}

/** Everything that is wrong with the plain arguments. */
export function issuesOf(args: AliyunRedisArgs): ConfigIssue[] {
  const { zoneId, secondaryZoneId, clientCidrs, users = {} } = args;
  const region = args.providerRegion ?? args.region;
  const inRegion = (path: string, zone: string): ConfigIssue[] =>
    rule(zone.startsWith(region), path, `"${zone}"`, `a zone of ${region}`);
  return [
    ...dnsLabel('region', args.region),
    ...dnsLabel('providerRegion', region),
    ...inRegion('zoneId', zoneId),
    ...inRegion('secondaryZoneId', secondaryZoneId),
    ...rule(zoneId !== secondaryZoneId, 'secondaryZoneId', `"${secondaryZoneId}" again`, 'another zone than zoneId'),
    ...allowListIssues('clientCidrs', clientCidrs),
    ...namesList('users', Object.keys(users), 0),
    ...oneOf('capture', args.capture, Capture),
    ...oneOf('use', args.use, RedisUse),
    ...eventIssues(args),
    ...rule(
      args.engineVersion === undefined || versions.includes(args.engineVersion),
      'engineVersion',
      `"${args.engineVersion ?? ''}"`,
      versions.join(', '),
    ),
    ...demandIssues('aliyun', { capture: captureOf(args), replicas: 1, zones: true, snapshots: true }),
  ];
}

/** What the service takes as a password, or words why not: it answers with a number only. @throws RunError */
export function checkPassword(password: string, user: string): string {
  if (password.length <= passwordLengthMax && kindsOf(password) >= passwordKindsMin) return password;
  throw new pulumi.RunError(
    `AliyunRedis: userPasswords: found one of ${user} with ${password.length} characters of ${kindsOf(password)} kinds; ` +
      `allowed: up to ${passwordLengthMax} of ${passwordKindsMin} kinds or more (small, capital, digits, others)`,
  );
}
