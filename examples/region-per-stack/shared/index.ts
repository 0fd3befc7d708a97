import * as pulumi from '@pulumi/pulumi';
import { RedisSecurity } from 'meridian-redis';

/** What certificates and agents know the mesh by. */
export const mesh = 'shop';

const security = new RedisSecurity('redis', { stack: mesh });

export const userPasswords = pulumi.secret(security.userPasswords);
export const caBundlePem = security.caBundlePem;
export const caCertPem = security.caCertPem;
export const caPrivateKeyPem = pulumi.secret(security.caPrivateKeyPem);
