/**
 * Tencent Cloud's provider, as far as it is needed: its package for Node.js is not in every registry, and all it does for these few resources is
 * naming them. Pulumi gets the plugin by itself, from the address below. Names and arguments are those of its schema:
 * https://github.com/tencentcloudstack/pulumi-tencentcloud, sdk/nodejs/redis.
 */
import * as pulumi from '@pulumi/pulumi';

const plugin = { version: '0.2.3', pluginDownloadURL: 'github://api.github.com/tencentcloudstack' };

/** What the service adds is an output only: undefined among the inputs, so that the engine knows of it. */
type Props<Args> = { readonly [Key in keyof Args]: pulumi.Input<unknown> };

export interface TencentProviderArgs {
  /** Tencent Cloud's name of the region, such as ap-guangzhou. */
  region: pulumi.Input<string>;
  /** Default: the environment's TENCENTCLOUD_SECRET_ID. */
  secretId?: pulumi.Input<string>;
  /** Secret. Default: the environment's TENCENTCLOUD_SECRET_KEY. */
  secretKey?: pulumi.Input<string>;
}

/** The provider of one region; TencentRedis gets one by `providers` of its options. */
export class TencentProvider extends pulumi.ProviderResource {
  constructor(name: string, args: TencentProviderArgs, opts?: pulumi.ResourceOptions) {
    const { secretKey } = args;
    const secret = secretKey === undefined ? {} : { secretKey: pulumi.secret(secretKey) };
    super('tencentcloud', name, { ...args, ...secret }, pulumi.mergeOptions(plugin, opts));
  }
}

interface InstanceArgs {
  name: pulumi.Input<string>;
  typeId: pulumi.Input<number>;
  availabilityZone: pulumi.Input<string>;
  replicaZoneIds: pulumi.Input<number>[];
  redisShardNum: pulumi.Input<number>;
  redisReplicasNum: pulumi.Input<number>;
  memSize: pulumi.Input<number>;
  chargeType: pulumi.Input<string>;
  port: pulumi.Input<number>;
  password: pulumi.Input<string>;
  vpcId: pulumi.Input<string>;
  subnetId: pulumi.Input<string>;
  securityGroups: pulumi.Input<string>[];
  tags?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

abstract class Resource<Args extends object> extends pulumi.CustomResource {
  constructor(type: string, name: string, args: Args & Props<Args>, opts: pulumi.CustomResourceOptions) {
    super(`tencentcloud:${type}`, name, { ...args }, pulumi.mergeOptions(plugin, opts));
  }
}

export class TencentInstance extends Resource<InstanceArgs> {
  /** Its address in the VPC. */
  declare public readonly ip: pulumi.Output<string>;
  constructor(name: string, args: InstanceArgs, opts: pulumi.CustomResourceOptions) {
    const secretOutputs = { additionalSecretOutputs: ['password'] };
    super(
      'Redis/instance:Instance',
      name,
      { ...args, ip: undefined, password: pulumi.secret(args.password) } as InstanceArgs,
      pulumi.mergeOptions(secretOutputs, opts),
    );
  }
}

interface AccountArgs {
  instanceId: pulumi.Input<string>;
  accountName: pulumi.Input<string>;
  accountPassword: pulumi.Input<string>;
  /** `r` or `rw`. */
  privilege: pulumi.Input<string>;
  /** `master` or `replication`: where reads go. */
  readonlyPolicies: pulumi.Input<string>[];
  remark?: pulumi.Input<string>;
}

export class TencentAccount extends Resource<AccountArgs> {
  constructor(name: string, args: AccountArgs, opts: pulumi.CustomResourceOptions) {
    const secretOutputs = { additionalSecretOutputs: ['accountPassword'] };
    super(
      'Redis/account:Account',
      name,
      { ...args, accountPassword: pulumi.secret(args.accountPassword) },
      pulumi.mergeOptions(secretOutputs, opts),
    );
  }
}

interface SslArgs {
  instanceId: pulumi.Input<string>;
  /** `enabled` or `disabled`. */
  sslConfig: pulumi.Input<string>;
}

export class TencentSsl extends Resource<SslArgs> {
  constructor(name: string, args: SslArgs, opts: pulumi.CustomResourceOptions) {
    super('Redis/ssl:Ssl', name, args, opts);
  }
}

interface ParamArgs {
  instanceId: pulumi.Input<string>;
  instanceParams: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

export class TencentParam extends Resource<ParamArgs> {
  constructor(name: string, args: ParamArgs, opts: pulumi.CustomResourceOptions) {
    super('Redis/param:Param', name, args, opts);
  }
}

interface BackupConfigArgs {
  redisId: pulumi.Input<string>;
  /** An hour, such as 04:00-05:00. */
  backupTime: pulumi.Input<string>;
}

export class TencentBackupConfig extends Resource<BackupConfigArgs> {
  constructor(name: string, args: BackupConfigArgs, opts: pulumi.CustomResourceOptions) {
    super('Redis/backupConfig:BackupConfig', name, args, opts);
  }
}

interface SecurityGroupArgs {
  name: pulumi.Input<string>;
  description?: pulumi.Input<string>;
  tags?: pulumi.Input<{ [key: string]: pulumi.Input<string> }>;
}

export class TencentSecurityGroup extends Resource<SecurityGroupArgs> {
  constructor(name: string, args: SecurityGroupArgs, opts: pulumi.CustomResourceOptions) {
    super('Security/group:Group', name, args, opts);
  }
}

interface SecurityGroupRule {
  action: string;
  cidrBlock: pulumi.Input<string>;
  protocol: string;
  port: string;
  description: string;
}

interface SecurityGroupRulesArgs {
  securityGroupId: pulumi.Input<string>;
  /** In the order of their priority; what none of them accepts is dropped. */
  ingresses: SecurityGroupRule[];
}

export class TencentSecurityGroupRules extends Resource<SecurityGroupRulesArgs> {
  constructor(name: string, args: SecurityGroupRulesArgs, opts: pulumi.CustomResourceOptions) {
    super('Security/groupRuleSet:GroupRuleSet', name, args, opts);
  }
}
