export { JournalError, type JournalErrorCode } from './error';
export { Journal, type JournalOptions } from './journal';
export type { JournalReader } from './reader';
export type { JournalDamage, JournalRecovery } from './recovery';
