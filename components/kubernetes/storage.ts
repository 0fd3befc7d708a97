import type * as k8s from '@pulumi/kubernetes';
import * as pulumi from '@pulumi/pulumi';

import { dataOptions, nameOf } from '../common';
import { kubernetes } from '../common/kubernetes';
import { type KubernetesRedisArgs } from './args';

/**
 * Volumes for Redis' append-only file: AWS gp3 with what is included in its price. Bound where the pod is placed, for a volume lives in one zone; and
 * expandable, as the only way back from a full disk without moving the data.
 */
export function createStorageClass(
  parent: pulumi.Resource,
  name: string,
  args: KubernetesRedisArgs,
  labels: Record<string, string>,
): pulumi.Output<string> {
  const text = (value: pulumi.Input<number>): pulumi.Output<string> => pulumi.output(value).apply(String);
  // Of the whole cluster: the namespace keeps the regions of one cluster apart.
  const className = pulumi.interpolate`${args.namespace}-${name}`;
  const storageClass = new kubernetes.storage.v1.StorageClass(
    `${name}-storage`,
    {
      metadata: { name: className, labels },
      provisioner: 'ebs.csi.aws.com',
      parameters: {
        type: 'gp3',
        iops: text(args.storageIops ?? 3000),
        throughput: text(args.storageThroughputMbps ?? 125),
        encrypted: 'true',
      },
      volumeBindingMode: 'WaitForFirstConsumer',
      allowVolumeExpansion: true,
      reclaimPolicy: args.retainOnDelete === true ? 'Retain' : 'Delete',
    },
    dataOptions(parent, args),
  );
  return nameOf(storageClass, className);
}

/** A claim of each pod. An empty class is the cluster's own default, which Kubernetes takes when none is named. */
export function claim(
  name: string,
  size: pulumi.Input<string>,
  storageClassName: pulumi.Input<string>,
  labels: Record<string, string>,
): k8s.types.input.core.v1.PersistentVolumeClaim {
  return {
    metadata: { name, labels },
    spec: {
      accessModes: ['ReadWriteOnce'],
      storageClassName: pulumi
        .output(storageClassName)
        .apply((found) => (found === '' ? undefined : found)) as pulumi.Output<string>,
      resources: { requests: { storage: size } },
    },
  };
}

/** The least that disks of clouds come in; a Sentinel needs kilobytes. */
export const smallestDisk = '1Gi';
