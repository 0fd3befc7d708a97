/** Every rule, in the order of the docs: what leaks, what loses data, what costs availability. */
import { type Rule } from '../rule';
import { aclDefaultUser } from './acl-default-user';
import { agentServices } from './agent-services';
import { alerts } from './alerts';
import { atRestEncryption } from './at-rest-encryption';
import { dataProtected } from './data-protected';
import { dataRetained } from './data-retained';
import { disruptionBudgets } from './disruption-budgets';
import { imageDigests } from './image-digests';
import { kubernetesTls } from './kubernetes-tls';
import { linkOwners } from './link-owners';
import { managedTls } from './managed-tls';
import { managedZones } from './managed-zones';
import { minReplicas } from './min-replicas';
import { networkPolicies } from './network-policies';
import { noeviction } from './noeviction';
import { persistence } from './persistence';
import { plaintextSecrets } from './plaintext-secrets';
import { podSecurity } from './pod-security';
import { publicAccess } from './public-access';
import { regions } from './regions';
import { sentinels } from './sentinels';
import { snapshots } from './snapshots';
import { spread } from './spread';
import { taskAddresses } from './task-addresses';
import { taskSecurity } from './task-security';
import { taskVolumes } from './task-volumes';
import { trafficWeights } from './traffic-weights';
import { volumes } from './volumes';

export const rules: readonly Rule[] = [
  kubernetesTls,
  managedTls,
  plaintextSecrets,
  aclDefaultUser,
  networkPolicies,
  publicAccess,
  taskAddresses,
  imageDigests,
  atRestEncryption,
  noeviction,
  persistence,
  volumes,
  taskVolumes,
  snapshots,
  dataProtected,
  dataRetained,
  regions,
  sentinels,
  minReplicas,
  linkOwners,
  agentServices,
  disruptionBudgets,
  spread,
  managedZones,
  trafficWeights,
  alerts,
  podSecurity,
  taskSecurity,
];

export {
  aclDefaultUser,
  agentServices,
  alerts,
  atRestEncryption,
  dataProtected,
  dataRetained,
  disruptionBudgets,
  imageDigests,
  kubernetesTls,
  linkOwners,
  managedTls,
  managedZones,
  minReplicas,
  networkPolicies,
  noeviction,
  persistence,
  plaintextSecrets,
  podSecurity,
  publicAccess,
  regions,
  sentinels,
  snapshots,
  spread,
  taskAddresses,
  taskSecurity,
  taskVolumes,
  trafficWeights,
  volumes,
};
