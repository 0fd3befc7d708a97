import * as pulumi from '@pulumi/pulumi';

import { ActiveActiveRedis, type LocalEndpoint, LocalMesh, type RegionEndpoint } from './components';
import { localArgs, meshArgs } from './components/stack';
import { formatIssues, links, parseStackConfig, primaryOf, topologyOf } from './model';

const result = parseStackConfig(pulumi.runtime.allConfig());
if (!result.ok) {
  throw new pulumi.RunError(`stack '${pulumi.getStack()}' has a bad config:\n${formatIssues(result.issues)}`);
}
const { config } = result;

/** The regions that take part, every default filled in. */
export const regions = config.regions;

/** The region that failover decisions start from. */
export const primary = primaryOf(config).name;

/** Whom each region sends operations to, by region: so a preview shows one that comes or goes as just that. */
export const peerLinks = links(
  topologyOf(config),
  config.regions.map((region) => region.name),
);

const isLocal = config.regions.every((region) => region.backend === 'local');
const mesh = isLocal ? undefined : new ActiveActiveRedis('redis', meshArgs(pulumi.getStack(), config));
const local = isLocal ? new LocalMesh('redis', localArgs(pulumi.getStack(), config)) : undefined;

/** Where each region's Redis is, for the applications of that region. */
export const endpoints: pulumi.Output<Record<string, RegionEndpoint | LocalEndpoint>> | undefined =
  mesh?.endpoints ?? local?.endpoints;

/** PEM of the authorities that clients have to trust. Null on this machine, where there is no TLS: Pulumi warns of an output that is undefined. */
export const caBundlePem = mesh?.caBundlePem ?? null;

/** The passwords of each user, the one to use first. Secret. */
export const userPasswords =
  mesh?.userPasswords ??
  local?.password.apply((password) =>
    Object.fromEntries(['default', ...Object.keys(config.security.users)].map((user) => [user, [password]])),
  );
