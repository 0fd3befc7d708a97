/** Redis by Alibaba Cloud. */
export { type AliyunInstanceArgs, AliyunRedis, type AliyunRedisArgs } from './redis';
