/* eslint-disable @typescript-eslint/no-require-imports -- an import would be done at once, and fail where the package is not installed */
import type * as cloudwatch from '@pulumi/aws/cloudwatch';
import type * as ec2 from '@pulumi/aws/ec2';
import type * as ecs from '@pulumi/aws/ecs';
import type * as efs from '@pulumi/aws/efs';
import type * as elasticache from '@pulumi/aws/elasticache';
import type * as iam from '@pulumi/aws/iam';
import type * as lb from '@pulumi/aws/lb';
import type * as secretsmanager from '@pulumi/aws/secretsmanager';
import type * as vpc from '@pulumi/aws/vpc';

/**
 * AWS' provider, loaded when it is first used: who has nothing there need not install it. `checkPackages` comes first. By folder: all of it, and all of
 * its types, would cost every program seconds.
 */
export const aws = {
  get cloudwatch() {
    return require('@pulumi/aws/cloudwatch') as typeof cloudwatch;
  },
  get ec2() {
    return require('@pulumi/aws/ec2') as typeof ec2;
  },
  get ecs() {
    return require('@pulumi/aws/ecs') as typeof ecs;
  },
  get efs() {
    return require('@pulumi/aws/efs') as typeof efs;
  },
  get elasticache() {
    return require('@pulumi/aws/elasticache') as typeof elasticache;
  },
  get iam() {
    return require('@pulumi/aws/iam') as typeof iam;
  },
  get lb() {
    return require('@pulumi/aws/lb') as typeof lb;
  },
  get secretsmanager() {
    return require('@pulumi/aws/secretsmanager') as typeof secretsmanager;
  },
  get vpc() {
    return require('@pulumi/aws/vpc') as typeof vpc;
  },
};
