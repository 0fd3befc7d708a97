/** Capture: what one Redis does, as a replica sees it. */
export { Backoff } from './backoff';
export type { Capture } from './capture';
export { LinkError, type LinkErrorCode } from './errors';
export { type Address, decide, type Located, Locator, type LocatorOptions, type SentinelAnswer } from './locate';
export { type CaptureMetrics, captureMetrics, NotificationCapture } from './notifications';
export * from './rdb';
export { ReplicaLink, type ReplicaLinkOptions, type StreamPosition, type SyncOutcome } from './replica-link';
export { ReplicaPort, type ReplicaPortOptions, type ReplicaPortState } from './replica-port';
export { askRole, type AttachedReplica, parseInfo, parseRole, type RedisRole } from './role';
