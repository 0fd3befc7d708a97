/** A region from its parts, and the mesh of all regions. */
export { type ActiveActiveRedisArgs, type MeshRegion } from './args';
export { ActiveActiveRedis, type RegionEndpoint } from './mesh';
export { RedisRegion } from './region';
export { RegionBackend, type RedisRegionArgs } from './region-args';
export { type MeshTrafficArgs, TrafficBy } from './traffic';
