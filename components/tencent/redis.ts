import * as pulumi from '@pulumi/pulumi';

import { Capture, type ConfigIssue, demandIssues } from '../../model';
import {
  checkArguments,
  childOptions,
  componentType,
  dataOptions,
  dnsLabel,
  namesList,
  oneOf,
  rule,
  whole,
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
import {
  TencentAccount,
  TencentBackupConfig,
  TencentInstance,
  TencentParam,
  TencentSecurityGroup,
  TencentSecurityGroupRules,
  TencentSsl,
} from './resources';

export interface TencentRedisArgs extends TencentInstanceArgs {
  /** Name of the region in the stack. */
  region: string;
  /**
   * `userPasswords` of RedisSecurity. The first password of each user alone is accepted, and of it the first 30 characters, the most that the service
   * takes: see the output of the same name.
   */
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
  /** Refuse to delete the instance. For production. Default: false. */
  protect?: boolean;
  /** Leave the instance, and what it needs, alone when they leave the program. For production. Default: false. */
  retainOnDelete?: boolean;
}

/** Where an instance of TencentDB is, and what can be chosen about it. */
export interface TencentInstanceArgs {
  /**
   * Tencent Cloud's name of the region. Its resources have no argument for it: the provider decides, so give the component a TencentProvider of
   * this region (`providers` of its options). Zones are checked against it. Default: `region`.
   */
  providerRegion?: string;
  /** Zone of the primary, such as ap-guangzhou-3. */
  zone: string;
  /** Zone of the replica by the service's number of it, another one of the region, such as 100004 for ap-guangzhou-4. */
  replicaZoneId: number;
  /** VPC of the region. */
  vpcId: pulumi.Input<string>;
  /** Subnet in the primary's zone. */
  subnetId: pulumi.Input<string>;
  /** IPv4 networks from which clients may connect, by names of your choice; /8 or narrower, never 0.0.0.0/0. At least one. */
  clientCidrs: { [name: string]: pulumi.Input<string> };

  /** `notify-keyspace-events`. With capture by notifications it has A, K and E at least. Default: `AKE` with it, else none. */
  notifyKeyspaceEvents?: string;
  /** Type of the instance, by the service's number: 15 is Redis 6.2, 17 is Redis 7.0, both with one shard. Default: 17. */
  typeId?: number;
  /** Memory of the shard, in MB, of the sizes that the service sells. Default: 16384. */
  memoryMb?: number;
  /** The hour of the daily backup, China's time. Default: 03:00-04:00. */
  backupTime?: pulumi.Input<string>;

  /** Tags of the instance and its security group. Default: none. */
  tags?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

const redisPort = 6379;
/** Redis 6.2 and 7.0 with one shard; older ones lack commands that the agent needs. */
const types = [15, 17];
const passwordLengthMax = 30;
const passwordKindsMin = 2;
/** Of the account that the service makes by itself. */
const defaultPasswordLength = 16;

/**
 * One region's Redis as an instance of TencentDB: one shard, one primary and one replica in two zones, TLS, accounts, a security group, daily backups.
 * What it lacks: see `capabilities.tencent` in model/capabilities.ts.
 */
export class TencentRedis extends pulumi.ComponentResource {
  /** Where applications connect: an address in the VPC, which stays when the replica is promoted. */
  public readonly host: pulumi.Output<string>;
  /** The same: the service decides where reads go. */
  public readonly replicaHost: pulumi.Output<string>;
  /** Port; TLS only, with a certificate of the service's authority. */
  public readonly port: pulumi.Output<number>;
  /** The instance, for recovery by the service's API. */
  public readonly instanceId: pulumi.Output<string>;
  /** The accounts of the users. Redis is told name and password as one: `AUTH name@password`. */
  public readonly userNames: pulumi.Output<{ [user: string]: string }>;
  /** The password of each account, as the service took it. Secret. */
  public readonly userPasswords: pulumi.Output<{ [user: string]: string[] }>;

  constructor(name: string, args: TencentRedisArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments(
      'TencentRedis',
      name,
      args,
      ['region', 'zone', 'replicaZoneId', 'vpcId', 'subnetId', 'clientCidrs', 'userPasswords'],
      () => issuesOf(args),
    );
    super(componentType('TencentRedis'), name, args, opts);

    const events = eventsOf(args);
    const kept = (more: pulumi.CustomResourceOptions = {}): pulumi.CustomResourceOptions =>
      dataOptions(this, { retainOnDelete: args.retainOnDelete }, more);

    const group = new TencentSecurityGroup(
      `${name}-clients`,
      { name: `${name}-clients`, description: `Clients of Redis ${name}`, tags: args.tags },
      kept(),
    );
    new TencentSecurityGroupRules(
      `${name}-from-clients`,
      {
        securityGroupId: group.id,
        ingresses: Object.entries(args.clientCidrs).map(([client, cidr]) => ({
          action: 'ACCEPT',
          cidrBlock: checkedNetwork(`clientCidrs.${client}`, cidr),
          protocol: 'TCP',
          port: String(redisPort),
          description: `Redis from ${client}`,
        })),
      },
      childOptions(this),
    );
    const instance = new TencentInstance(
      name,
      {
        name,
        typeId: args.typeId ?? 17,
        availabilityZone: args.zone,
        replicaZoneIds: [args.replicaZoneId],
        redisShardNum: 1,
        redisReplicasNum: 1,
        memSize: args.memoryMb ?? 16_384,
        chargeType: 'POSTPAID',
        port: redisPort,
        // A password is required, and nobody is told this one.
        password: unusedPassword(this, `${name}-default-password`, defaultPasswordLength),
        vpcId: args.vpcId,
        subnetId: args.subnetId,
        securityGroups: [group.id],
        tags: args.tags,
      },
      dataOptions(this, args),
    );

    // One after the other: while the service makes one change it refuses the next.
    const ssl = new TencentSsl(`${name}-tls`, { instanceId: instance.id, sslConfig: 'enabled' }, kept());
    const parameters = new TencentParam(
      `${name}-parameters`,
      {
        instanceId: instance.id,
        instanceParams: {
          'maxmemory-policy': args.use === RedisUse.Cache ? 'allkeys-lru' : 'noeviction',
          // The service writes no events as two quotation marks.
          'notify-keyspace-events': events === '' ? '""' : events,
        },
      },
      kept({ dependsOn: [ssl] }),
    );
    let last: pulumi.Resource = new TencentBackupConfig(
      `${name}-backups`,
      { redisId: instance.id, backupTime: args.backupTime ?? '03:00-04:00' },
      kept({ dependsOn: [parameters] }),
    );
    const users = readers(args.users);
    const passwords = Object.fromEntries(
      Object.keys(users).map((user) => [
        user,
        passwordsOf(args.userPasswords, user).apply(([first]) => takenPassword(first, user)),
      ]),
    );
    for (const [user, isReader] of Object.entries(users)) {
      const privilege = isReader ? 'r' : 'rw';
      const accountPassword = passwords[user] ?? '';
      last = new TencentAccount(
        `${name}-user-${user}`,
        { instanceId: instance.id, accountName: user, accountPassword, privilege, readonlyPolicies: ['master'] },
        kept({ dependsOn: [last] }),
      );
    }

    this.host = instance.ip;
    this.replicaHost = instance.ip;
    this.port = pulumi.output(redisPort);
    this.instanceId = instance.id;
    this.userNames = pulumi.output(Object.fromEntries(Object.keys(users).map((user) => [user, user])));
    this.userPasswords = pulumi.secret(
      pulumi
        .all(passwords)
        .apply((all) => Object.fromEntries(Object.entries(all).map(([user, password]) => [user, [password]]))),
    );
    this.registerOutputs({
      host: this.host,
      replicaHost: this.replicaHost,
      port: this.port,
      instanceId: this.instanceId,
      userNames: this.userNames,
      userPasswords: this.userPasswords,
    });
  }
}

/** Everything that is wrong with the plain arguments. */
export function issuesOf(args: TencentRedisArgs): ConfigIssue[] {
  const { zone, replicaZoneId, clientCidrs, users = {} } = args;
  const region = args.providerRegion ?? args.region;
  // Zone 3 of Guangzhou, whose zones are numbered from 100001, is ap-guangzhou-3 and 100003.
  const numberOfZone = Number(/-(\d+)$/.exec(zone)?.[1]);
  return [
    ...dnsLabel('region', args.region),
    ...dnsLabel('providerRegion', region),
    ...rule(zone.startsWith(`${region}-`), 'zone', `"${zone}"`, `a zone of ${region}`),
    ...whole('replicaZoneId', replicaZoneId, 10_001, 999_999, "the service's number of a zone"),
    ...rule(
      replicaZoneId % 1000 !== numberOfZone,
      'replicaZoneId',
      `${replicaZoneId}, which is ${zone}`,
      "another zone than the primary's",
    ),
    ...allowListIssues('clientCidrs', clientCidrs),
    ...namesList('users', Object.keys(users), 0),
    ...oneOf('capture', args.capture, Capture),
    ...oneOf('use', args.use, RedisUse),
    ...eventIssues(args),
    ...rule(
      args.typeId === undefined || types.includes(args.typeId),
      'typeId',
      args.typeId,
      `${types.join(', ')}: Redis 6.2 or 7.0 with one shard`,
    ),
    ...whole('memoryMb', args.memoryMb, 256, 65_536, 'MB'),
    ...demandIssues('tencent', { capture: captureOf(args), replicas: 1, zones: true, snapshots: true }),
  ];
}

/** What the service takes of a password, or words why not. @throws RunError */
export function takenPassword(given: string, user: string): string {
  const password = given.slice(0, passwordLengthMax);
  if (kindsOf(password) >= passwordKindsMin && !password.startsWith('/')) return password;
  throw new pulumi.RunError(
    `TencentRedis: userPasswords: found one of ${user} of ${kindsOf(password)} kinds; ` +
      `allowed: ${passwordKindsMin} kinds or more (small, capital, digits, others), with no / at its start`,
  );
}
