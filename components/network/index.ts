/** Who may talk to whom. */
export { Mesh, type RedisNetworkPolicyArgs } from './args';
export { RedisNetworkPolicy } from './policy';
