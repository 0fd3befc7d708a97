import type * as k8s from '@pulumi/kubernetes';
import * as pulumi from '@pulumi/pulumi';

import { childOptions, labelsOf, Role } from '../common';
import { kubernetes } from '../common/kubernetes';
import { containerSecurity, podSecurity, sidecarResources } from '../common/pod';
import { redisPort } from './conf';
import { mountsOf, nodesService, type PodContext, redisImage, script, scriptEnv, volumesOf } from './pods';

/** Assigns the 16384 slots to the shards, and moves them when the number of shards has changed. */
export function createSlotsJob(parent: pulumi.Resource, context: PodContext, nodes: pulumi.Resource): k8s.batch.v1.Job {
  const { name, args, shape, zone } = context;
  const labels = labelsOf(Role.Slots, args.region);
  const hosts = Array.from(
    { length: shape.pods },
    (_, i) => pulumi.interpolate`${name}-${i}.${zone(nodesService(name))}:${redisPort}`,
  );
  return new kubernetes.batch.v1.Job(
    `${name}-slots`,
    {
      // A Job runs once: another number of shards or nodes is another Job, and its name says which.
      metadata: {
        name: `${name}-slots-${shape.shards}-of-${shape.shardsProvisioned}x${1 + shape.replicas}`,
        namespace: args.namespace,
        labels,
        // The nodes may still be loading; Pulumi need not wait for the slots to have moved.
        annotations: { 'pulumi.com/skipAwait': 'true' },
      },
      spec: {
        backoffLimit: 20,
        template: {
          metadata: { labels },
          spec: {
            restartPolicy: 'OnFailure',
            automountServiceAccountToken: false,
            securityContext: podSecurity,
            containers: [
              {
                name: 'slots',
                image: redisImage(args),
                imagePullPolicy: args.imagePullPolicy ?? 'IfNotPresent',
                command: script('slots.sh'),
                env: [
                  ...scriptEnv(context, nodesService(name), redisPort),
                  { name: 'MERIDIAN_NODES', value: pulumi.all(hosts).apply((all) => all.join(' ')) },
                  { name: 'MERIDIAN_SHARDS', value: String(shape.shards) },
                  { name: 'MERIDIAN_REPLICAS', value: String(shape.replicas) },
                ],
                resources: sidecarResources,
                securityContext: containerSecurity,
                volumeMounts: mountsOf(context, 'scripts', 'node'),
              },
            ],
            volumes: volumesOf(context),
          },
        },
      },
    },
    childOptions(parent, { dependsOn: [nodes] }),
  );
}
