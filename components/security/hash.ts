import { createHash } from 'node:crypto';

/** As Redis keeps passwords: it needs no salt, for they are random. */
export function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
