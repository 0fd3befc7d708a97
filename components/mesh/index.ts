/** A region from its parts, and the mesh of all regions. */
export { ActiveActiveRedis, type ActiveActiveRedisArgs, type MeshRegion, type RegionEndpoint } from './mesh';
export { RedisRegion, type RedisRegionArgs } from './region';
