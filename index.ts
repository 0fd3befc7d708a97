import * as pulumi from '@pulumi/pulumi';

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

/** Who sends operations to whom: [from, to]. */
export const peerLinks = links(
  topologyOf(config),
  config.regions.map((region) => region.name),
);
