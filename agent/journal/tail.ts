/** The newest records, in memory: all that are not written yet, and more, so that a reader in step never touches the disk. */
import { RecordKind } from '../record';
import { Deque } from '../deque';
import type { OriginLog } from './reader';

export function startOf(record: Buffer): number {
  return record.readDoubleLE(16);
}

export function endOf(record: Buffer): number {
  return record.readDoubleLE(24);
}

export class Tail {
  private readonly records = new Deque<Buffer>();
  private readonly logs = new Deque<OriginLog>();
  private bytes = 0;

  constructor(private readonly bytesMax: number) {}

  push(log: OriginLog, record: Buffer): void {
    this.records.push(record);
    this.logs.push(log);
    log.lane.push(record);
    this.bytes += record.length;
    let drop = 0;
    while (this.bytes > this.bytesMax && drop < this.records.length) {
      const oldest = this.records.at(drop);
      const { lane, writtenEnd } = this.logs.at(drop);
      if (endOf(oldest) > writtenEnd) break;
      this.bytes -= oldest.length;
      lane.drop(1);
      drop++;
    }
    if (drop > 0) {
      this.records.drop(drop);
      this.logs.drop(drop);
    }
  }
}

/** Whether the lane holds everything of its origin that comes after `from`. */
export function laneCovers(lane: Deque<Buffer>, from: number): boolean {
  if (lane.length === 0) return false;
  const first = lane.at(0);
  return startOf(first) <= from || first[9] === RecordKind.birth;
}

/** The records of a lane that end after `from`, as many as fit into `bytesMax`, but one at least. */
export function laneRead(lane: Deque<Buffer>, from: number, bytesMax: number): Buffer[] {
  let low = 0;
  let high = lane.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (endOf(lane.at(middle)) > from) high = middle;
    else low = middle + 1;
  }
  let bytes = 0;
  let to = low;
  while (to < lane.length) {
    bytes += lane.at(to).length;
    if (bytes > bytesMax && to > low) break;
    to++;
  }
  return lane.slice(low, to);
}
