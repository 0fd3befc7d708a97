import * as pulumi from '@pulumi/pulumi';
import { ActiveActiveRedis } from 'meridian-redis';

const config = new pulumi.Config();

const mesh = new ActiveActiveRedis('redis', {
  stack: pulumi.getStack(),
  agentImage: config.require('agentImage'),
  regions: [
    { name: 'west', weight: 60, primary: true },
    { name: 'east', weight: 25 },
    { name: 'south', weight: 15 },
  ],
  redis: { maxmemoryBytes: 256 * 2 ** 20, storageClassName: '', storageSize: '1Gi' },
  agent: { storageClassName: '' },
});

/** By region: where its applications connect. */
export const endpoints = mesh.endpoints;

/** By user: `app` reads and writes. */
export const userPasswords = mesh.userPasswords;

/** What clients have to trust. */
export const caBundlePem = mesh.caBundlePem;
