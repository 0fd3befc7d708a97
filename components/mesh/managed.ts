import type * as pulumi from '@pulumi/pulumi';

import { capabilities, type ConfigIssue } from '../../model';
import { AliyunRedis } from '../aliyun';
import { issuesOf as aliyunIssues } from '../aliyun/redis';
import { ElastiCacheRedis } from '../aws';
import { issuesOf as elasticacheIssues } from '../aws/args';
import { childOptions } from '../common';
import { TencentRedis } from '../tencent';
import { issuesOf as tencentIssues } from '../tencent/redis';
import { RegionBackend, type RedisRegionArgs } from './region-args';
import { shardsOf, slotsOf } from './shards';

/** A region's Redis that a provider runs, as the rest of the region has to know it. */
export interface ManagedRedis {
  readonly host: pulumi.Output<string>;
  readonly replicaHost: pulumi.Output<string>;
  readonly port: pulumi.Output<number>;
  /** What users are called there. */
  readonly userNames: pulumi.Output<{ [user: string]: string }>;
  /** The passwords as the service took them. */
  readonly userPasswords: pulumi.Input<{ [user: string]: string[] }>;
  /** Between name and password, where they are told as one. */
  readonly nameSeparator: string | undefined;
  /** Around it, where the cloud has such a thing and the service takes more rules there. */
  readonly securityGroupId?: pulumi.Output<string>;
}

/** Everything that is wrong with where a managed Redis is, and what it's like. Its place is there. */
export function managedIssues(name: string, args: RedisRegionArgs): ConfigIssue[] {
  const { backend } = args;
  const common = commonOf(args);
  const issues = (): ConfigIssue[] => {
    switch (backend) {
      case RegionBackend.ElastiCache:
        return elasticacheIssues(name, { ...required(args.elasticache), ...common });
      case RegionBackend.Aliyun:
        return aliyunIssues({ ...required(args.aliyun), ...common });
      case RegionBackend.Tencent:
        return tencentIssues({ ...required(args.tencent), ...common });
      default:
        return [];
    }
  };
  const ours = ['name', ...Object.keys(common)];
  return issues().map(({ path, ...issue }) => ({
    path: ours.includes(path) ? path : `${backend ?? ''}.${path}`,
    ...issue,
  }));
}

/** What every service is told the same way. */
const commonOf = ({ region, users, userPasswords, redis: { use, protect, retainOnDelete } = {} }: RedisRegionArgs) => ({
  ...{ region, users, userPasswords, use, protect, retainOnDelete },
});

/** Makes the Redis of a region on a managed backend. The arguments are checked. */
export function createManagedRedis(parent: pulumi.Resource, name: string, args: RedisRegionArgs): ManagedRedis {
  const { backend, userPasswords } = args;
  const common = commonOf(args);
  const options = childOptions(parent);
  switch (backend) {
    case RegionBackend.ElastiCache: {
      const { host, replicaHost, port, userNames, securityGroupId } = new ElastiCacheRedis(
        name,
        { ...required(args.elasticache), ...common, ...(shardsOf(args) > 1 ? { slots: slotsOf(args) } : {}) },
        options,
      );
      return {
        ...{ host, replicaHost, port, userNames, userPasswords, securityGroupId },
        nameSeparator: separatorOf(backend),
      };
    }
    case RegionBackend.Aliyun: {
      const { host, replicaHost, port, userNames } = new AliyunRedis(
        name,
        { ...required(args.aliyun), ...common },
        options,
      );
      return { host, replicaHost, port, userNames, userPasswords, nameSeparator: separatorOf(backend) };
    }
    case RegionBackend.Tencent: {
      const made = new TencentRedis(name, { ...required(args.tencent), ...common }, options);
      const { host, replicaHost, port, userNames } = made;
      return {
        ...{ host, replicaHost, port, userNames },
        userPasswords: made.userPasswords,
        nameSeparator: separatorOf(backend),
      };
    }
    case RegionBackend.Kubernetes:
    case RegionBackend.MemoryDb:
    case RegionBackend.Local:
    case undefined:
      throw new RangeError(`${backend ?? 'no backend'} is not managed`);
  }
}

function required<T>(place: T | undefined): T {
  if (place === undefined) throw new RangeError('the arguments are checked');
  return place;
}

function separatorOf(backend: RegionBackend): string | undefined {
  switch (capabilities[backend].login.is) {
    case 'name':
      return undefined;
    case 'name:password':
      return ':';
    case 'name@password':
      return '@';
  }
}
