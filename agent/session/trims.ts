/** Looks where streams begin that clients of this region have cut (merge/stream-trims.ts). */
import type { Beginning } from '../merge/stream-commands';
import type { CutStream, StreamTrims } from '../merge/stream-trims';
import { CommandWriter, type RedisConnection, type Reply } from '../resp';

/** Streams that are looked at together: their reports make one operation for each database. */
export const LOOKS_MAX = 64;

/** Null: there is no such stream. */
export async function lookAt(
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
