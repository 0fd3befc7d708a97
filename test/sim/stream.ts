/** Streams in the model of Redis, and the script of agent/merge/stream-splice.ts, step by step as Redis runs it. */
import { compareIds } from '../../agent/merge/stream-id';
import { REMOVED_AT_ONCE, SPLICE_SCRIPT, TRIM_SCRIPT } from '../../agent/merge/stream-splice';

type Argv = readonly string[];

export class CommandFailed extends Error {}

export interface StreamValue {
  type: 'stream';
  /** Fields and values in turn, by ID, ascending. */
  entries: Map<string, string[]>;
  lastId: string;
  added: number;
  maxDeleted: string;
}

export function emptyStream(): StreamValue {
  return { type: 'stream', entries: new Map(), lastId: '0-0', added: 0, maxDeleted: '0-0' };
}

/** IDs of a value's entries, if it is a stream. */
export function idsIn(value: { type: string } | undefined): string[] {
  return value?.type === 'stream' ? [...(value as StreamValue).entries.keys()] : [];
}

/** The ID that `*` gives. */
export function idAfter(last: string, clockMs: number): string {
  const [ms, seq] = last.split('-').map(BigInt) as [bigint, bigint];
  return BigInt(clockMs) > ms ? `${clockMs}-0` : `${ms}-${seq + 1n}`;
}

export function addEntry(stream: StreamValue, id: string, fields: string[]): void {
  stream.entries.set(id, fields);
  stream.lastId = id;
  stream.added++;
}

/** @returns how many entries went */
export function trimStream({ entries }: StreamValue, by: string, to: string): number {
  const before = entries.size;
  for (const id of entries.keys()) {
    if (by === 'MAXLEN' ? entries.size <= Number(to) : compareIds(id, to) >= 0) break;
    entries.delete(id);
  }
  return before - entries.size;
}

/** As rdb/commands.ts writes it. */
export function dumpStream(key: string, { entries, lastId, added, maxDeleted }: StreamValue): Argv[] {
  const commands: Argv[] = [...entries].map(([id, fields]) => ['XADD', key, id, ...fields]);
  if (commands.length === 0) commands.push(['XADD', key, 'MAXLEN', '0', '0-1', 'x', 'y']);
  commands.push(['XSETID', key, lastId, 'ENTRIESADDED', String(added), 'MAXDELETEDID', maxDeleted]);
  return commands;
}

interface Fresh {
  id: string;
  below: string;
  fields: string[];
  isThere: boolean;
}

/** EVAL script 1 key lastId (id below count field …)…. */
export function splice(argv: Argv, stream: StreamValue | null, call: (...command: string[]) => unknown): number {
  if (argv[1] === TRIM_SCRIPT) return trimBut(argv, stream, call);
  if (argv[1] !== SPLICE_SCRIPT) throw new Error('the model of Redis knows two scripts only');
  const key = argv[3]!;
  const before = stream === null ? null : { ...stream };
  const tail = [...(stream?.entries ?? [])].filter(([id]) => argv[5] !== undefined && compareIds(id, argv[5]) >= 0);
  let top = before?.lastId ?? '0-0';
  const gone: string[] = [];
  const fresh: Fresh[] = [];
  for (let i = 5; i < argv.length;) {
    const [id, below, count] = [argv[i]!, argv[i + 1]!, Number(argv[i + 2])];
    const fields = argv.slice(i + 3, i + 3 + Math.max(count, 0));
    const there = stream?.entries.get(id);
    const isSame = count >= 0 && there !== undefined && there.join('\n') === fields.join('\n');
    if (there !== undefined && !isSame) gone.push(id);
    if (count >= 0 && !isSame) fresh.push({ id, below, fields, isThere: there !== undefined });
    i += 3 + fields.length;
  }
  const added = fresh.filter(({ isThere }) => !isThere).length;
  const remove = (ids: readonly string[]): void => {
    for (let i = 0; i < ids.length; i += REMOVED_AT_ONCE) call('XDEL', key, ...ids.slice(i, i + REMOVED_AT_ONCE));
  };
  const add = (id: string, fields: readonly string[]): void => void call('XADD', key, id, ...fields);
  const [first] = fresh;
  const splices = first !== undefined && compareIds(first.id, top) <= 0;
  const isAll = splices && first.below === '0-0';
  if (isAll && before!.maxDeleted !== '0-0') throw new CommandFailed('ERR nothing can come below what was deleted');
  if (!isAll) remove(gone);
  if (splices) {
    const moved = tail.filter(([id]) => compareIds(id, first.id) > 0 && !gone.includes(id));
    if (isAll && tail.length > 0) call('XTRIM', key, 'MAXLEN', '0');
    if (!isAll) remove(moved.map(([id]) => id));
    let max = before?.maxDeleted ?? '0-0';
    for (const id of gone) if (compareIds(id, max) > 0) max = id;
    const added0 = String(before!.added);
    if (!isAll && max === '0-0') max = '0-1';
    if (!isAll)
      call('XSETID', key, compareIds(max, top) > 0 ? max : top, 'ENTRIESADDED', added0, 'MAXDELETEDID', '0-1');
    call('XSETID', key, first.below, 'ENTRIESADDED', added0, 'MAXDELETEDID', isAll ? '0-0' : '0-1');
    const all = [...moved, ...fresh.map(({ id, fields }): [string, string[]] => [id, fields])];
    for (const [id, fields] of all.sort(([a], [b]) => compareIds(a, b))) add(id, fields);
    const last = fresh.at(-1)!.id;
    if (compareIds(last, top) > 0) top = last;
    if (compareIds(max, top) > 0) max = top;
    call('XSETID', key, top, 'ENTRIESADDED', String(before!.added + added), 'MAXDELETEDID', max);
  } else {
    for (const { id, fields } of fresh) add(id, fields);
    top = fresh.at(-1)?.id ?? top;
  }
  const lastId = argv[4]!;
  if (lastId !== '' && compareIds(lastId, top) > 0) {
    if (stream !== null || fresh.length > 0) call('XSETID', key, lastId);
    else call('XADD', key, 'MAXLEN', '0', lastId, 'x', 'y');
  }
  return added;
}

/** EVAL script 1 key minId keep…. */
function trimBut(argv: Argv, stream: StreamValue | null, call: (...command: string[]) => unknown): number {
  const [, , , key, minId, ...keep] = argv as [string, string, string, string, string, ...string[]];
  if (keep.length === 0) call('XTRIM', key, 'MINID', minId);
  for (const id of [...(stream?.entries.keys() ?? [])])
    if ((minId === '' || compareIds(id, minId) < 0) && !keep.includes(id)) call('XDEL', key, id);
  return 0;
}
