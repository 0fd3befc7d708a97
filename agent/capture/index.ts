/** Capture: what one Redis does, as a replica sees it. */
export { Backoff } from './backoff';
export { LinkError, type LinkErrorCode } from './errors';
export { ReplicaLink, type ReplicaLinkOptions, type StreamPosition, type SyncOutcome } from './replica-link';
export * from './rdb';
