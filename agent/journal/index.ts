export { JournalError, type JournalErrorCode } from './error';
export { Journal, type JournalDamage, type JournalOptions, type JournalRecovery } from './journal';
export type { JournalReader } from './reader';
