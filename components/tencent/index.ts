/** Redis by Tencent Cloud, and its provider. */
export { type TencentInstanceArgs, TencentRedis, type TencentRedisArgs } from './redis';
export { TencentProvider, type TencentProviderArgs } from './resources';
