import { mkdirSync, renameSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Journal } from '../../agent/journal';
import { peekRecord, RecordKind, regionOf } from '../../agent/record';
import { CURSOR_KEY, parseMarker } from '../../agent/stream/keys';
import { covers, parseVector } from '../../agent/vector';
import { type Region, until } from './mesh';

/** Until an agent has kept beside its journal (once a second) all that its Redis' cursor says. */
export async function positionKept(of: Region): Promise<void> {
  const inRedis = parseMarker((await of.client().get(CURSOR_KEY)) ?? '')!.vector;
  await until(
    async () => {
      const [, text = '{}'] = (await readFile(of.metaFile, 'utf8')).split('\n');
      const { applied } = JSON.parse(text) as { applied?: string };
      return covers(parseVector(applied ?? '') ?? new Map(), inRedis);
    },
    10_000,
    'the position is not kept',
  );
}

/** Takes from a stopped agent's journal what came from a region behind a position, as a crash before it was on disk would. */
export async function loseTail(of: Region, from: string, position: number): Promise<number> {
  const dir = path.join(of.layout.agent.data, 'journal');
  const whole = `${dir}.whole`;
  renameSync(dir, whole);
  mkdirSync(dir);
  const options = { bytesMax: 2 ** 40, fsync: false };
  const [before, after] = [await Journal.open({ ...options, dir: whole }), await Journal.open({ ...options, dir })];
  let lost = 0;
  for await (const bytes of before.replay()) {
    const { origin, start, end, kind } = peekRecord(bytes);
    if (regionOf(origin) === from && end > position) {
      lost++;
      continue;
    }
    // What comes before may have been trimmed.
    if (after.appendedEnd(origin) === undefined && kind !== RecordKind.birth) after.skipTo(origin, start);
    after.append(Buffer.from(bytes));
  }
  await after.flushed();
  await after.writeMeta(before.readMeta());
  await before.close();
  await after.close();
  return lost;
}
