/** The newest written records, in memory, so that a reader in step with the writer never touches the disk. */
import { RecordKind } from '../record';
import { Deque } from '../deque';

export function startOf(record: Buffer): number {
  return record.readDoubleLE(16);
}

export function endOf(record: Buffer): number {
  return record.readDoubleLE(24);
}

export class Tail {
  private readonly records = new Deque<Buffer>();
  private readonly lanes = new Deque<Deque<Buffer>>();
  private bytes = 0;

  constructor(private readonly bytesMax: number) {}

  push(lane: Deque<Buffer>, record: Buffer): void {
    this.records.push(record);
    this.lanes.push(lane);
    lane.push(record);
    this.bytes += record.length;
    let drop = 0;
    while (this.bytes > this.bytesMax && drop < this.records.length) {
      this.bytes -= this.records.at(drop).length;
      this.lanes.at(drop).drop(1);
      drop++;
    }
    if (drop > 0) {
      this.records.drop(drop);
      this.lanes.drop(drop);
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
