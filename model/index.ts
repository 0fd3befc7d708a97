/** What a stack is: its config, checked and completed, and what follows from it. Pure: no I/O, no Pulumi. */
export {
  type AclUser,
  agentRules,
  clusterAgentRules,
  dryRunAgentRules,
  applicationRules,
  clusterNodeRules,
  discoveryRules,
  exporterRules,
  nodeRules,
  renderAcl,
  sentinelNodeRules,
  SystemUser,
  usersDefault,
} from './acl';
export {
  capabilities,
  type Capabilities,
  captureOf,
  demandIssues,
  type Demands,
  type Fact,
  regionCapture,
  regionIssues,
  type Service,
  serviceOf,
} from './capabilities';
export { evenSlots, formatSlots, parseSlots } from './slots';
export { Capture, captureEvents, notificationAgentRules, reportsEveryChange } from './capture';
export {
  CONFLICT_POLICIES,
  CONFLICT_POLICY,
  ConflictPolicies,
  type ConflictPolicyRule,
  policyIssues,
} from './conflict-policies';
export {
  type ConfigResult,
  type FailoverConfig,
  type KubernetesConfig,
  type LocalConfig,
  maxmemoryPolicy,
  type MonitoringConfig,
  parseStackConfig,
  primaryOf,
  type RedisConfig,
  type RegionConfig,
  type ReplicationConfig,
  type SecurityConfig,
  type StackConfig,
  topologyOf,
  type TrafficConfig,
  withRegions,
} from './config';
export { agentDirectives, directivesFor } from './directives';
export { type ConfigIssue, formatIssues } from './explain';
export {
  exporterImage,
  type ImageKey,
  imageName,
  type ImageName,
  imagesOf,
  type ImageUse,
  isPinned,
  redisImage,
  type StackImage,
} from './images';
export { basePortDefault, basePortMax, portsPerRegion } from './local-ports';
export { minReplicas } from './min-replicas';
export { type Backend } from './regions';
export {
  type AgentSettings,
  agentSettingsOf,
  minReplicasToWrite,
  type RedisSettings,
  redisSettingsOf,
} from './settings';
export { formatSize, parseSize } from './size';
export { parseStackFile } from './stackfile';
export { links, peersOf, type Topology } from './topology';
export { apportion } from './weights';
