/** Bytes in quotes, those that aren't printable ASCII as \xHH, the way redis-cli shows them. */
export function escapeBytes(bytes: Buffer): string {
  const names: Record<number, string> = { 7: '\\a', 8: '\\b', 9: '\\t', 10: '\\n', 13: '\\r', 34: '\\"', 92: '\\\\' };
  const text = [...bytes].map((byte) => {
    const isPrintable = byte >= 0x20 && byte <= 0x7e;
    return names[byte] ?? (isPrintable ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`);
  });
  return `"${text.join('')}"`;
}
