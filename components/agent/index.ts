/** The sync agent on Kubernetes. */
export { SyncAgent } from './agent';
export {
  type AgentMember,
  PeerTopology,
  ReplicationMode,
  type AgentTuningArgs,
  type SyncAgentArgs,
  topologyOf,
} from './args';
