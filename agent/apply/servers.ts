/** What one server takes otherwise than others. */
import { hidesFields, revealHidden } from './hidden-fields';
import { isBefore7, withoutEntryCounts } from './older-servers';

/** @returns what makes of commands those that the server is to be given, as many */
export function rewritingFor({ version, valkey }: { version: string; valkey: string }): (bytes: Buffer) => Buffer {
  if (isBefore7(version)) return withoutEntryCounts;
  return hidesFields(valkey) ? revealHidden : (bytes) => bytes;
}
