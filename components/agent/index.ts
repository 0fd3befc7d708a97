/** The sync agent: on Kubernetes, and as a Fargate service of AWS. */
export { SyncAgent } from './agent';
export { FargateSyncAgent } from './fargate';
export { FargateArchitecture, type FargateSyncAgentArgs, type FargateTaskArgs } from './fargate-args';
export {
  type AgentMember,
  type ConflictPolicyArgs,
  PeerTopology,
  ReplicationMode,
  type AgentTuningArgs,
  type SyncAgentArgs,
  topologyOf,
} from './args';
