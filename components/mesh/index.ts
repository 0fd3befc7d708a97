/** A region from its parts, and the mesh of all regions. */
export { type ActiveActiveRedisArgs, type MeshRegion } from './args';
export { ActiveActiveRedis, type RegionEndpoint } from './mesh';
export { RedisRegion, type RedisRegionArgs } from './region';
export { type MeshTrafficArgs, TrafficBy } from './traffic';
