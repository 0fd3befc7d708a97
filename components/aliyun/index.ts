/** Redis by Alibaba Cloud. */
export { AliyunRedis, type AliyunRedisArgs } from './redis';
