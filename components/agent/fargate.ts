// By folder: all of the provider's types would cost every program seconds of compiling.
import type * as cloudwatch from '@pulumi/aws/cloudwatch';
import type * as iam from '@pulumi/aws/iam';
import * as pulumi from '@pulumi/pulumi';

import { SystemUser } from '../../model';
import { aws } from '../aws/provider';
import { checkArguments, checkPackages, checksum, childOptions, componentType, dataOptions } from '../common';
import { passwordsOf } from '../managed';
import { agentName, signByCa } from '../security/certificates';
import { sha256Hex } from '../security/hash';
import { confOf } from './agent';
import { adminPort, peerPort, renderAgentConfig } from './conf';
import {
  agentArgsOf,
  awsRegionOf,
  FargateArchitecture,
  type FargateSyncAgentArgs,
  issuesOf,
  sizeOf,
} from './fargate-args';
import { createBalancer, createGroups, type Part } from './fargate-network';
import { containersOf, secretFiles, userId, volumes } from './fargate-task';

const logRetentionDaysDefault = 30;
/** While the journal is read nothing listens; as long as SyncAgent's startup probe, in seconds. */
const startSecondsMax = 300;
/** Of a hash's hexadecimal digits as many as make a whole number of 28 bits. */
const versionDigits = 7;

/**
 * The sync agent of a region on ElastiCache as a Fargate service of AWS, where users have no Kubernetes: one task, its journal on EFS, its secrets in Secrets
 * Manager, and a network load balancer by whose name its peers find it wherever it starts again. It captures by keyspace notifications: mode `async`.
 */
export class FargateSyncAgent extends pulumi.ComponentResource {
  /** Where other agents reach it: the load balancer, inside the VPC and the networks joined to it. */
  public readonly host: pulumi.Output<string>;
  /** Port for other agents: gRPC over mutual TLS, which the load balancer passes through. */
  public readonly port: pulumi.Output<number>;
  /** Port of the task itself for /healthz, /readyz, /status and /metrics. */
  public readonly adminPort: pulumi.Output<number>;
  /** The security group around the agent. */
  public readonly securityGroupId: pulumi.Output<string>;
  /** ARN of the ECS cluster. */
  public readonly clusterArn: pulumi.Output<string>;
  /** Name of the ECS service. */
  public readonly serviceName: pulumi.Output<string>;
  /** The journal's file system. */
  public readonly fileSystemId: pulumi.Output<string>;

  constructor(name: string, args: FargateSyncAgentArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments(
      'FargateSyncAgent',
      name,
      args,
      [
        'region',
        'stack',
        'members',
        'peerHosts',
        'image',
        'redisHost',
        'vpcId',
        'subnetIds',
        'userPasswords',
        'caBundlePem',
        'caCertPem',
        'caPrivateKeyPem',
      ],
      () => issuesOf(name, args),
    );
    checkPackages('FargateSyncAgent', name, ['@pulumi/aws']);
    // Agents tell each other their load balancers' names, both ways, and a component waits for its inputs: they are none.
    super(componentType('FargateSyncAgent'), name, { ...args, peerHosts: undefined }, opts);

    const region = awsRegionOf(args);
    const { tags } = args;
    const part: Part = { parent: this, name, region, args };
    const options = childOptions(this);

    const groups = createGroups(part);
    const balancer = createBalancer(part, groups);
    const taskRole = createRole(part, `${name}-task`);
    const journal = createJournal(part, groups.journal.id, taskRole);
    const secret = createSecret(part);
    const log = new aws.cloudwatch.LogGroup(
      `${name}-log`,
      { region, retentionInDays: args.logRetentionDays ?? logRetentionDaysDefault, tags },
      options,
    );
    const executionRole = createExecutionRole(part, secret.arn, log);
    const config = confOf(agentArgsOf(args), '').apply((found) => renderAgentConfig(found));
    const { cpu, memoryMb } = sizeOf(args);
    const task = new aws.ecs.TaskDefinition(
      name,
      {
        region,
        family: pulumi.interpolate`${args.stack}-${name}`,
        requiresCompatibilities: ['FARGATE'],
        networkMode: 'awsvpc',
        cpu: String(cpu),
        memory: String(memoryMb),
        runtimePlatform: {
          operatingSystemFamily: 'LINUX',
          cpuArchitecture: args.architecture ?? FargateArchitecture.X86,
        },
        executionRoleArn: executionRole.role.arn,
        taskRoleArn: taskRole.arn,
        containerDefinitions: pulumi
          .all([args.image, log.name, config, secret.arn, secret.checksum])
          .apply(([image, logGroup, text, secretArn, sum]) =>
            JSON.stringify(containersOf({ image, region, logGroup, config: text, secretArn, checksum: sum })),
          ),
        volumes: [
          { name: volumes.files },
          { name: volumes.scratch },
          {
            name: volumes.state,
            efsVolumeConfiguration: {
              fileSystemId: journal.fileSystem.id,
              transitEncryption: 'ENABLED',
              authorizationConfig: { accessPointId: journal.accessPoint.id, iam: 'ENABLED' },
            },
          },
        ],
        tags,
      },
      options,
    );
    const clusterArn = args.clusterArn ?? new aws.ecs.Cluster(name, { region, tags }, options).arn;
    const service = new aws.ecs.Service(
      name,
      {
        region,
        cluster: clusterArn,
        taskDefinition: task.arn,
        launchType: 'FARGATE',
        // One, and the old one ends before the new one starts: two would write to one journal. So each deployment is a gap, in which the region's clients notice
        // nothing and its changes wait.
        desiredCount: 1,
        deploymentMinimumHealthyPercent: 0,
        deploymentMaximumPercent: 100,
        // It starts a second task before it ends the first.
        availabilityZoneRebalancing: 'DISABLED',
        deploymentCircuitBreaker: { enable: true, rollback: true },
        healthCheckGracePeriodSeconds: startSecondsMax,
        networkConfiguration: {
          subnets: Object.values(args.subnetIds),
          securityGroups: [groups.agent.id],
          assignPublicIp: false,
        },
        loadBalancers: [{ targetGroupArn: balancer.targetGroup.arn, containerName: 'agent', containerPort: peerPort }],
        propagateTags: 'SERVICE',
        tags,
      },
      childOptions(this, {
        dependsOn: [balancer.listener, executionRole.policy, secret.version, journal.policy, ...journal.mounts],
      }),
    );

    this.host = balancer.host;
    this.port = pulumi.output(peerPort);
    this.adminPort = pulumi.output(adminPort);
    this.securityGroupId = groups.agent.id;
    this.clusterArn = pulumi.output(clusterArn);
    this.serviceName = service.name;
    this.fileSystemId = journal.fileSystem.id;
    this.registerOutputs({
      host: this.host,
      port: this.port,
      adminPort: this.adminPort,
      securityGroupId: this.securityGroupId,
      clusterArn: this.clusterArn,
      serviceName: this.serviceName,
      fileSystemId: this.fileSystemId,
    });
  }
}

/** Encrypted at rest; it lets in nobody but the task's role, over TLS, to the journal's directory, as the agent's user. */
function createJournal({ parent, name, region, args }: Part, securityGroupId: pulumi.Output<string>, role: iam.Role) {
  const { tags } = args;
  const fileSystem = new aws.efs.FileSystem(
    `${name}-journal`,
    {
      region,
      encrypted: true,
      kmsKeyId: args.kmsKeyArn,
      // By default a small file system has the throughput of its size: too little for a journal.
      throughputMode: 'elastic',
      tags,
    },
    dataOptions(parent, args),
  );
  const owner = { ownerUid: userId, ownerGid: userId, permissions: '0700' };
  const accessPoint = new aws.efs.AccessPoint(
    `${name}-journal`,
    {
      region,
      fileSystemId: fileSystem.id,
      posixUser: { uid: userId, gid: userId },
      rootDirectory: { path: '/journal', creationInfo: owner },
      tags,
    },
    childOptions(parent),
  );
  const mounts = Object.entries(args.subnetIds).map(
    ([zone, subnetId]) =>
      new aws.efs.MountTarget(
        `${name}-journal-${zone}`,
        { region, fileSystemId: fileSystem.id, subnetId, securityGroups: [securityGroupId] },
        childOptions(parent),
      ),
  );
  const policy = new aws.efs.FileSystemPolicy(
    `${name}-journal`,
    {
      region,
      fileSystemId: fileSystem.id,
      policy: policyOf({
        Effect: 'Allow',
        Principal: { AWS: role.arn },
        Action: ['elasticfilesystem:ClientMount', 'elasticfilesystem:ClientWrite'],
        Resource: fileSystem.arn,
        Condition: {
          Bool: { 'aws:SecureTransport': 'true' },
          StringEquals: { 'elasticfilesystem:AccessPointArn': accessPoint.arn },
        },
      }),
    },
    childOptions(parent),
  );
  return { fileSystem, accessPoint, mounts, policy };
}

/** The agent's password, certificate and whom it trusts, as one secret: they are written to files together. */
function createSecret({ parent, name, region, args }: Part) {
  const options = childOptions(parent);
  const { certPem, keyPem } = signByCa(parent, `${name}-tls`, {
    ...args,
    hosts: [],
    commonName: agentName(args.region, args.stack),
  });
  const password = passwordsOf(args.userPasswords, SystemUser.Agent).apply(([first]) => first);
  const text = pulumi.secret(
    pulumi.all([password, args.caBundlePem, certPem, keyPem]).apply((all) => JSON.stringify(secretFiles(...all))),
  );
  const secret = new aws.secretsmanager.Secret(
    `${name}-secrets`,
    { region, description: `Meridian: sync agent ${name}`, kmsKeyId: args.kmsKeyArn, tags: args.tags },
    options,
  );
  const version = new aws.secretsmanager.SecretVersion(
    `${name}-secrets`,
    {
      region,
      secretId: secret.id,
      // Write-only: no refresh and no output shows it. It is sent again when the number changes, which is of its hash.
      secretStringWo: text,
      secretStringWoVersion: pulumi.unsecret(text.apply((all) => parseInt(sha256Hex(all).slice(0, versionDigits), 16))),
    },
    options,
  );
  return { arn: secret.arn, version, checksum: checksum(text) };
}

/** For starting a task: its one secret, its one log, and its image where that is in ECR. */
function createExecutionRole(part: Part, secretArn: pulumi.Output<string>, log: cloudwatch.LogGroup) {
  const { parent, name, args } = part;
  const { repositoryArn, kmsKeyArn } = args;
  const role = createRole(part, `${name}-execution`);
  const allow = (Action: string | string[], Resource: pulumi.Input<string>) => ({ Effect: 'Allow', Action, Resource });
  const policy = new aws.iam.RolePolicy(
    `${name}-execution`,
    {
      role: role.id,
      policy: policyOf(
        allow('secretsmanager:GetSecretValue', secretArn),
        allow(['logs:CreateLogStream', 'logs:PutLogEvents'], pulumi.interpolate`${log.arn}:*`),
        ...(kmsKeyArn === undefined ? [] : [allow('kms:Decrypt', kmsKeyArn)]),
        ...(repositoryArn === undefined
          ? []
          : [
              // It is of no repository in particular.
              allow('ecr:GetAuthorizationToken', '*'),
              allow(
                ['ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'],
                repositoryArn,
              ),
            ]),
      ),
    },
    childOptions(parent),
  );
  return { role, policy };
}

/** A role of tasks of ECS, without any rights. */
function createRole({ parent, args }: Part, child: string): iam.Role {
  return new aws.iam.Role(
    child,
    {
      assumeRolePolicy: policyOf({
        Effect: 'Allow',
        Principal: { Service: 'ecs-tasks.amazonaws.com' },
        Action: 'sts:AssumeRole',
      }),
      tags: args.tags,
    },
    childOptions(parent),
  );
}

function policyOf(...Statement: pulumi.Input<object>[]): pulumi.Output<string> {
  return pulumi.jsonStringify({ Version: '2012-10-17', Statement });
}
