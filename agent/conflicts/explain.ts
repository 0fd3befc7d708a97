/**
 * Why a key is what it is, as far as one region knows: what it holds, which of its operations not every region has seen, and who wrote it last, from
 * what the journal still has.
 */
import { AdminError } from '../admin';
import type { Journal } from '../journal';
import { Class, Code, findCommand, UNKNOWN_COMMAND } from '../merge/commands';
import type { MergeCore } from '../merge/core';
import { argText, dbOf, decodeEffects, type Effect } from '../merge/effects';
import { highestTtl } from '../merge/resolve';
import { decodeRecord, isOfStream, type OpRecord, RecordKind, regionOf } from '../record';
import { CommandScanner, CommandWriter, ReplyError, type RedisConnection } from '../resp';
import { timeOfStamp } from '../stream/keys';
import type { ExplainedOperation, Explanation } from './explanation';

export interface ExplainSource {
  readonly region: string;
  readonly journal: Journal;
  readonly core: MergeCore | null;
  readonly redis: RedisConnection | null;
  policyOf(db: number, key: string): string;
  /** Regions that can be reached, this one included. */
  live(): string[];
}

/** So much of the journal's end is looked at. */
const JOURNAL_BYTES_MAX = 64 * 1024 * 1024;
const OPERATIONS_MAX = 20;
/** With more under way than this, putting it in order by keys would take the agent's time. */
const UNSTABLE_MAX = 100_000;

/** @param key Latin-1 */
export async function explain(source: ExplainSource, db: number, key: string): Promise<Explanation> {
  const { region, core } = source;
  const { operations, sinceMs } = await historyOf(source.journal, db, key);
  const state = core === null || core.operations > UNSTABLE_MAX ? undefined : core.find(db, key);
  const ttl = state === undefined ? null : highestTtl(state, core!.origins);
  const last = operations.find(({ expiresAtMs }) => expiresAtMs !== undefined);
  const unstable: NonNullable<Explanation['unstable']> = [];
  state?.eachHeld((origin, position) => {
    const id = core!.origins.id(origin);
    if (unstable.some((other) => other.origin === id && other.position === position)) return;
    const waitsFor = core!.reports.unseenBy(origin, position);
    if (waitsFor.length > 0) unstable.push({ region: regionOf(id), origin: id, position, waitsFor });
  });
  return {
    region,
    db,
    key,
    policy: source.policyOf(db, key),
    redis: source.redis === null ? null : await look(source.redis, db, key),
    operations,
    sinceMs,
    ttlOwner: ttl !== null ? core!.origins.region(ttl.op.origin) : last?.expiresAtMs === undefined ? null : last.region,
    unstable: core !== null && core.operations > UNSTABLE_MAX ? null : unstable,
    settledBy: state?.unsettled === true ? core!.settling.settlerOf(state, source.live()) : null,
  };
}

/** In one transaction: between two commands a block of the agent's may select another database. */
async function look(redis: RedisConnection, db: number, key: string): Promise<Explanation['redis']> {
  const bytes = Buffer.from(key, 'latin1');
  const writer = new CommandWriter(256).command(['MULTI']).command(['SELECT', db]).command(['TYPE', bytes]);
  writer.command(['PTTL', bytes]).command(['SELECT', 0]).command(['EXEC']);
  const { result } = await redis.transaction(writer.take(), 4);
  if (!Array.isArray(result)) return null;
  const [selected, type, ttlMs] = result;
  // What follows a SELECT that failed is about another database.
  if (selected instanceof ReplyError) throw new AdminError(400, `database ${db}: ${selected.message}`);
  const expiresAtMs = typeof ttlMs === 'number' && ttlMs >= 0 ? Date.now() + ttlMs : null;
  return { type: String(type), expiresAtMs };
}

async function historyOf(
  journal: Journal,
  db: number,
  key: string,
): Promise<{ operations: ExplainedOperation[]; sinceMs: number | null }> {
  const wanted = Buffer.from(key, 'latin1');
  let found: ExplainedOperation[] = [];
  let sinceMs: number | null = null;
  for await (const bytes of journal.recent(JOURNAL_BYTES_MAX)) {
    const record = decodeRecord(bytes, { verify: false });
    if (record.ops > 0) sinceMs = Math.min(sinceMs ?? Infinity, timeOfStamp(record.stamp));
    if (!record.payload.includes(wanted)) continue;
    found.push(...operationsOn(record, db, key));
    if (found.length > OPERATIONS_MAX * 50) found = newest(found);
  }
  return { operations: newest(found), sinceMs };
}

function newest(operations: ExplainedOperation[]): ExplainedOperation[] {
  return operations.sort((a, b) => b.stamp - a.stamp).slice(0, OPERATIONS_MAX);
}

/** What a record does to the key. */
function operationsOn(record: OpRecord, wantedDb: number, key: string): ExplainedOperation[] {
  const scanner = new CommandScanner();
  scanner.push(record.payload);
  const found: ExplainedOperation[] = [];
  const region = regionOf(record.origin);
  let { db } = record;
  let index = 0;
  while (scanner.next()) {
    const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
    if (command.class === Class.ignored) {
      if (command.code === Code.select) db = Number(argText(scanner, 1));
      continue;
    }
    const isStream = isOfStream(record.kind);
    const stamp = record.stamp + (isStream ? index++ : 0);
    const effects: Effect[] = [];
    decodeEffects(command, scanner, effects);
    const own = effects.filter(
      (effect) =>
        dbOf(effect, db) === wantedDb &&
        (effect.kind === 'opaque' ? effect.keys.includes(key) : 'key' in effect && effect.key === key),
    );
    if (own.length === 0) continue;
    const expiry = expiryOf(own);
    const operation: ExplainedOperation = {
      region,
      origin: record.origin,
      position: isStream ? record.end - record.payload.length + scanner.end : record.end,
      stamp,
      timeMs: timeOfStamp(stamp),
      command: record.kind === RecordKind.state ? 'STATE' : argText(scanner, 0).toUpperCase(),
      ...(expiry === undefined ? {} : { expiresAtMs: expiry }),
    };
    // A state's commands are one operation.
    const before = found.at(-1);
    if (record.kind === RecordKind.state && before !== undefined) found[found.length - 1] = { ...before, ...operation };
    else found.push(operation);
  }
  return found;
}

function expiryOf(effects: readonly Effect[]): number | null | undefined {
  for (const effect of effects) {
    if (effect.kind === 'ttl') return effect.expireAt;
    if (effect.kind === 'set' && !effect.keepTtl) return effect.expireAt;
  }
  return undefined;
}
