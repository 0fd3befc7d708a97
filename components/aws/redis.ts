import type * as elasticache from '@pulumi/aws/elasticache';
import * as pulumi from '@pulumi/pulumi';

import { checkArguments, checkPackages, componentType, dataOptions } from '../common';
import { accountsOf, unusedPassword } from '../managed';
import { createSecurityGroup, createSubnetGroup, createUserGroup, keptWithData, type Part, redisPort } from './access';
import { type ElastiCacheRedisArgs, issuesOf, parametersOf, shapeOf } from './args';
import { aws } from './provider';

const nodeTypeDefault = 'cache.r7g.xlarge';
const unusedPasswordLength = 32;

/**
 * One region's Redis as an ElastiCache of nodes: encrypted in transit and at rest, over two zones, with snapshots and users of its own. Its
 * replication group, subnets and keys can't be changed in place: AWS makes a new, empty one, which `protect` refuses.
 */
export class ElastiCacheRedis extends pulumi.ComponentResource {
  /** Where applications connect: the primary, or the whole cluster. */
  public readonly host: pulumi.Output<string>;
  /** Where reads may go that can be a moment old; the same as `host` in a cluster. */
  public readonly replicaHost: pulumi.Output<string>;
  /** Port of both; TLS only, with a certificate that any system trusts. */
  public readonly port: pulumi.Output<number>;
  /** The replication group, for recovery by AWS' API. */
  public readonly replicationGroupId: pulumi.Output<string>;
  /** The security group around it. */
  public readonly securityGroupId: pulumi.Output<string>;
  /** Log in to Redis as. */
  public readonly userNames: pulumi.Output<{ [user: string]: string }>;
  /** Where the copies of the Global Datastore are read, by AWS' names of the regions. */
  public readonly secondaryHosts: pulumi.Output<{ [region: string]: string }>;

  constructor(name: string, args: ElastiCacheRedisArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments('ElastiCacheRedis', name, args, ['region', 'vpcId', 'subnetIds', 'userPasswords'], () =>
      issuesOf(name, args),
    );
    checkPackages('ElastiCacheRedis', name, ['@pulumi/aws']);
    super(componentType('ElastiCacheRedis'), name, args, opts);

    const shape = shapeOf(name, args);
    const { awsRegion: region, shards, replicas } = shape;
    const isCluster = shards > 1;
    const part: Part = { parent: this, name, region, args, shape, network: args };

    const parameters = new aws.elasticache.ParameterGroup(
      `${name}-parameters`,
      {
        region,
        family: shape.family,
        description: `Redis ${name}`,
        parameters: parametersOf(shape),
        tags: args.tags,
      },
      keptWithData(this, args),
    );
    const defaultPassword = unusedPassword(this, `${name}-default-password`, unusedPasswordLength);
    const surroundings = createSurroundings(part, defaultPassword);
    const primary = new aws.elasticache.ReplicationGroup(
      name,
      {
        region,
        description: `Meridian: Redis of region ${args.region}`,
        engine: shape.engine,
        engineVersion: shape.version,
        nodeType: args.nodeType ?? nodeTypeDefault,
        port: redisPort,
        parameterGroupName: parameters.name,
        ...(isCluster
          ? {
              clusterMode: 'enabled',
              numNodeGroups: shards,
              // Where they are is for its agents to know. AWS takes the number of replicas by shard, or for all.
              ...(args.slots === undefined
                ? { replicasPerNodeGroup: replicas }
                : { nodeGroupConfigurations: args.slots.map((slots) => ({ slots, replicaCount: replicas })) }),
            }
          : { numCacheClusters: 1 + replicas }),
        automaticFailoverEnabled: true,
        multiAzEnabled: true,
        transitEncryptionEnabled: true,
        transitEncryptionMode: 'required',
        atRestEncryptionEnabled: true,
        kmsKeyId: args.kmsKeyArn,
        ...surroundings.args,
      },
      // Slots are the cluster's once it is there: told anew they would make another one, empty.
      dataOptions(this, args, { ignoreChanges: ['nodeGroupConfigurations[*].slots'] }),
    );
    const secondaryHosts = createSecondaries(part, primary, defaultPassword);

    this.host = isCluster ? primary.configurationEndpointAddress : primary.primaryEndpointAddress;
    this.replicaHost = isCluster ? primary.configurationEndpointAddress : primary.readerEndpointAddress;
    this.port = pulumi.output(redisPort);
    this.replicationGroupId = primary.id;
    this.securityGroupId = surroundings.securityGroup.id;
    this.userNames = pulumi.output(surroundings.userNames);
    this.secondaryHosts = pulumi.output(secondaryHosts);
    this.registerOutputs({
      host: this.host,
      replicaHost: this.replicaHost,
      port: this.port,
      replicationGroupId: this.replicationGroupId,
      securityGroupId: this.securityGroupId,
      userNames: this.userNames,
      secondaryHosts: this.secondaryHosts,
    });
  }
}

/** What every replication group has in its own region, primary or copy. */
function createSurroundings(part: Part, defaultPassword: pulumi.Output<string>) {
  const { args, shape } = part;
  const subnets = createSubnetGroup(part);
  const securityGroup = createSecurityGroup(part);
  const users = createUserGroup(part, defaultPassword);
  return {
    securityGroup,
    userNames: userNamesOf(args),
    args: {
      subnetGroupName: subnets.name,
      securityGroupIds: [securityGroup.id],
      userGroupIds: [users.userGroupId],
      snapshotRetentionLimit: shape.snapshotDays,
      snapshotWindow: args.snapshotWindow ?? '03:00-04:00',
      finalSnapshotIdentifier: args.finalSnapshotName,
      maintenanceWindow: args.maintenanceWindow ?? 'sun:05:00-sun:06:00',
      applyImmediately: args.applyImmediately ?? false,
      logDeliveryConfigurations: createLogs(part),
      tags: args.tags,
    },
  };
}

/** Slow commands, and what the engine says, to log groups of their own. */
function createLogs({ parent, name, region, args }: Part) {
  return ['slow-log', 'engine-log'].map((logType) => {
    const group = new aws.cloudwatch.LogGroup(
      `${name}-${logType}`,
      { region, retentionInDays: args.logRetentionDays ?? 30, tags: args.tags },
      keptWithData(parent, args),
    );
    return { logType, logFormat: 'json', destinationType: 'cloudwatch-logs', destination: group.name };
  });
}

/** Active-passive copies in other regions. Engine, version, node size and encryption are those of the datastore. */
function createSecondaries(
  { parent, name, region, args, shape }: Part,
  primary: elasticache.ReplicationGroup,
  defaultPassword: pulumi.Output<string>,
): Record<string, pulumi.Output<string>> {
  const secondaries = Object.entries(args.globalSecondaries ?? {});
  if (secondaries.length === 0) return {};
  const datastore = new aws.elasticache.GlobalReplicationGroup(
    `${name}-global`,
    {
      region,
      globalReplicationGroupIdSuffix: name,
      globalReplicationGroupDescription: `Meridian: Redis of region ${args.region} and its copies`,
      primaryReplicationGroupId: primary.id,
    },
    dataOptions(parent, args),
  );
  return Object.fromEntries(
    secondaries.map(([other, network]) => {
      const part: Part = { parent, name: `${name}-${other}`, region: other, args, shape, network };
      const surroundings = createSurroundings(part, defaultPassword);
      const copy = new aws.elasticache.ReplicationGroup(
        part.name,
        {
          region: other,
          description: `Meridian: copy of Redis of region ${args.region}`,
          globalReplicationGroupId: datastore.globalReplicationGroupId,
          numCacheClusters: 1 + shape.replicas,
          automaticFailoverEnabled: true,
          multiAzEnabled: true,
          kmsKeyId: network.kmsKeyArn,
          ...surroundings.args,
          // The name is taken by the primary's.
          finalSnapshotIdentifier: undefined,
        },
        dataOptions(parent, args),
      );
      return [other, copy.readerEndpointAddress];
    }),
  );
}

function userNamesOf({ users }: ElastiCacheRedisArgs): Record<string, string> {
  return Object.fromEntries(Object.keys(accountsOf(users)).map((user) => [user, user]));
}
