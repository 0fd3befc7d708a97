import { type AgentConfigInput } from '../agent/config';
import { certificateFiles } from './certificates';
import { type RegionLayout, type StackLayout } from './layout';
import { loopback } from './ports';
import { Capture, regionCapture } from '../model';
import { agentUser } from './redis-conf';

export interface AgentConfigOptions {
  readonly layout: StackLayout;
  readonly region: RegionLayout;
  /** Where this agent dials its peers: their proxies. */
  readonly peers: readonly { readonly region: string; readonly host: string; readonly port: number }[];
}

/** The config file of a region's agent. */
export function renderAgentConfig({ layout, region, peers }: AgentConfigOptions): string {
  const { replication } = layout.config;
  const at = (port: number): { host: string; port: number } => ({ host: loopback, port });
  const isReplica = regionCapture(region.config) === Capture.Psync;
  const { ca, cert, key } = certificateFiles(layout, region.name);
  const config: AgentConfigInput = {
    stack: layout.stack,
    region: region.name,
    members: layout.regions.map(({ name, weight, primary }) => ({ name, weight, primary })),
    redis: {
      ...at(region.redis.port),
      username: agentUser,
      passwordFile: layout.dir.agentPassword,
      ...(isReplica ? {} : { capture: Capture.Notifications }),
    },
    listen: {
      peer: at(region.agent.peerPort),
      admin: at(region.agent.adminPort),
      ...(isReplica ? { replica: at(region.agent.redisPort) } : {}),
    },
    peers: [...peers],
    tls: { caFile: ca, certFile: cert, keyFile: key },
    stateDir: region.agent.data,
    replication: {
      mode: region.config.mode,
      semiSyncRegions: replication.semiSyncRegions,
      maxLagMs: replication.maxLagMs,
      heartbeatMs: replication.heartbeatMs,
      // All are on one machine: who heals a link need not spare a network.
      maxRedialMs: 1000,
      compression: replication.compression,
      flush: replication.flush,
      dryRun: replication.dryRun,
    },
    conflicts: {
      ...(replication.conflicts.length === 0 ? {} : { policies: replication.conflicts }),
      values: replication.conflictValues,
    },
    journal: { bytesMax: replication.journal.maxBytes, segmentBytes: replication.journal.segmentBytes },
    limits: { windowBytes: replication.windowBytes },
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}
