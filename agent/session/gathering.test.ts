import { Batch } from '../merge/batch';
import { gatherMs, isFull } from './gathering';

const limits = { applyBatchBytes: 1000, applyBatchOps: 100 };

function batch(operations: number, bytes: number, moves: number): Batch {
  return Object.assign(new Batch(), { operations, bytes, moves });
}

test.each<[operations: number, bytes: number, moves: number, full: boolean, waitMs: number]>([
  [99, 999, 0, false, 0],
  [100, 0, 0, true, 0],
  [0, 1000, 0, true, 0],
  // It brings as much as it moves, and what it may bring anyway.
  [100, 1000, 1000, false, 18],
  [1099, 10_999, 1000, false, 0],
  [1100, 1000, 1000, true, 0],
  [100, 11_000, 1000, true, 0],
  [0, 0, 99, false, 0],
  [0, 0, 100, false, 2],
  // However long the stream.
  [3199, 31_999, 1_000_000, false, 200],
  [3200, 0, 1_000_000, true, 0],
])('%d operations of %d bytes that move %d entries: full %s, waits %d ms', (operations, bytes, moves, full, waitMs) => {
  const found = batch(operations, bytes, moves);
  expect([isFull(found, limits), gatherMs(found, limits)]).toEqual([full, waitMs]);
  found.isClosed = true;
  expect([isFull(found, limits), gatherMs(found, limits)]).toEqual([true, 0]);
});
