/** Redis by Tencent Cloud, and its provider. */
export { TencentRedis, type TencentRedisArgs } from './redis';
export { TencentProvider, type TencentProviderArgs } from './resources';
