/** Who may talk to whom. */
export { Mesh, type NetworkTuningArgs, type RedisNetworkPolicyArgs } from './args';
export { RedisNetworkPolicy } from './policy';
