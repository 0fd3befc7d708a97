/** Capture by keyspace notifications, for Redis that refuses PSYNC: see docs/managed.md. */
export { NotificationCapture, type NotificationCaptureOptions } from './capture';
export { type CaptureGauges, type CaptureMetrics, captureMetrics } from './metrics';
