/** Looks where streams begin that clients of this region have cut (merge/stream-trims.ts), and tells the other regions. */
import type { MergeCore } from '../merge/core';
import { type Beginning, trimReport } from '../merge/stream-commands';
import type { CutStream, StreamTrims } from '../merge/stream-trims';
import { RecordKind } from '../record';
import { CommandWriter, type RedisConnection, type Reply } from '../resp';
import type { OwnStream } from './own-stream';
import { positionAfter } from './position';

/** Streams that are looked at together: their reports make one operation for each database. */
const LOOKS_MAX = 64;

/**
 * Says where streams begin that clients here have cut. A report removes what it has seen below that; what comes to a stream between
 * the look and the report is above, or the look counts for nothing.
 * @returns false where none is due
 */
export async function reportTrims(core: MergeCore, connection: RedisConnection, own: OwnStream): Promise<boolean> {
  const { trims } = core;
  const recorder = own.recorder!;
  const streams = trims.choose(Date.now(), LOOKS_MAX).filter(({ db, key }) => !core.isAmiss(db, key));
  if (streams.length === 0) return false;
  for (const stream of streams) trims.look(stream);
  const looks = await lookAt(connection, trims, streams);
  const at = recorder.state;
  const now = Date.now();
  const reports = new Map<number, (Beginning & { stream: CutStream; key: string })[]>();
  for (const [stream, beginning] of looks) {
    const { db, key } = stream;
    if (beginning === null || !trims.isNews(stream, beginning)) trims.done(stream, beginning, now);
    else if (recorder.inBlock || core.isAmiss(db, key) || trims.isOutdated(stream, beginning.first))
      trims.retry(stream, now);
    else {
      const report = { stream, key, ...beginning };
      const ofDb = reports.get(db);
      if (ofDb === undefined) reports.set(db, [report]);
      else ofDb.push(report);
    }
  }
  for (const [db, report] of reports) {
    const end = positionAfter(Math.max(at.offset, at.end));
    if (end !== null) core.localState(own.make(at, RecordKind.state, db, trimReport(report), end));
    for (const { stream, ...beginning } of report)
      if (end === null) trims.retry(stream, now);
      else trims.done(stream, beginning, now);
  }
  return true;
}

/** Null: there is no such stream. */
async function lookAt(
  connection: RedisConnection,
  trims: StreamTrims,
  streams: readonly CutStream[],
): Promise<Map<CutStream, Beginning | null>> {
  const writer = new CommandWriter(1024);
  for (const { db, key, late, lateBefore } of streams) {
    const bytes = Buffer.from(key, 'latin1');
    writer.command(['SELECT', db]).command(['XRANGE', bytes, '-', '+', 'COUNT', late.size + lateBefore.size + 1]);
    writer.command(['XINFO', 'STREAM', bytes]);
  }
  writer.command(['SELECT', 0]);
  const { commands } = writer;
  const replies = await connection.pipeline(writer.take(), commands);
  return new Map(
    streams.map((stream, i) => {
      const [entries, info] = [replies[i * 3 + 1], replies[i * 3 + 2]];
      if (!Array.isArray(entries) || !Array.isArray(info)) return [stream, null];
      const ids = entries.map((entry) => textOf(Array.isArray(entry) ? entry[0] : undefined));
      const at = info.findIndex((name) => textOf(name) === 'last-generated-id');
      return [stream, trims.beginning(stream, ids, textOf(info[at + 1]))];
    }),
  );
}

function textOf(reply: Reply | undefined): string {
  return Buffer.isBuffer(reply) ? reply.toString('latin1') : '';
}
