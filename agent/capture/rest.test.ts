import fc from 'fast-check';
import { Rest } from './rest';

const GATHER_MS = 2;
const READ_MS = 0.2;

/** A server that sends so fast through a buffer of this size, and what a reader with such rests makes of it in a second. */
function secondOf(bytesPerMs: number, bufferBytes: number): { readBytes: number; reads: number } {
  const rest = new Rest(GATHER_MS);
  let atMs = 0;
  let sentUntilMs = 0;
  let waiting = 0;
  let readBytes = 0;
  let reads = 0;
  while (atMs < 1000) {
    waiting += bytesPerMs * (atMs - sentUntilMs);
    sentUntilMs = atMs;
    const bytes = Math.min(waiting, bufferBytes);
    waiting -= bytes;
    readBytes += bytes;
    reads++;
    atMs += READ_MS + rest.after(bytes);
  }
  return { readBytes, reads };
}

test('a slow stream rests for gatherMs, a fast one five times, a flood ten times as long', () => {
  const rest = new Rest(GATHER_MS);
  expect(rest.after(100)).toBe(2);
  expect(rest.after(10_000)).toBe(10);
  expect(rest.after(20_000)).toBe(10);
  expect(rest.after(100)).toBe(2);
  expect(rest.after(200_000)).toBe(20);
});

test('after a long rest it looks once more, and rests again where that brings little', () => {
  const rest = new Rest(GATHER_MS);
  rest.after(200_000);
  for (let i = 0; i < 3; i++) {
    expect(rest.after(700_000)).toBe(1);
    expect(rest.after(60_000)).toBe(20);
  }
});

test('a buffer that is full again a moment later is read without a rest until it is not', () => {
  const rest = new Rest(GATHER_MS);
  expect(rest.after(110_592)).toBe(20);
  for (let i = 0; i < 10; i++) expect(rest.after(110_592)).toBe(1);
  expect(rest.after(30_000)).toBe(20);
  expect(rest.after(110_592)).toBe(1);
});

test('no rests where none are wanted', () => {
  const rest = new Rest(0);
  for (const bytes of [0, 100, 10_000, 1_000_000, 1_000_000]) expect(rest.after(bytes)).toBe(0);
});

test('a stream is read as fast as it comes, whatever the size of its buffer from 64 KiB on', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.1, max: 50_000, noNaN: true }),
      fc.double({ min: 64, max: 32_768, noNaN: true }),
      (bytesPerMs, bufferKiB) => {
        const bufferBytes = bufferKiB * 1024;
        const { readBytes } = secondOf(bytesPerMs, bufferBytes);
        // One rest's worth may still wait at the end.
        expect(readBytes).toBeGreaterThan(0.5 * bytesPerMs * 1000 - 21 * bytesPerMs);
      },
    ),
    { numRuns: 500 },
  );
});

test('a flood that its buffer holds costs two reads a rest', () => {
  const { readBytes, reads } = secondOf(35_000, 6 * 1024 * 1024);
  expect(readBytes).toBeGreaterThan(34_000_000);
  expect(reads).toBeLessThan(110);
});
