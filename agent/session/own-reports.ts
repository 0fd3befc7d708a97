/**
 * What this region reports to have seen. All regions let go of operations by it: what every one has reported none needs any more. So nothing is reported
 * that can still be taken back, by a failover to a replica that has not got it yet, or by a Redis that is killed, or loses its power, before it is in its append-only file. What
 * was let go of and is taken back would meet what clients do next as if they had seen it: in the regions that have let go of it, and not in this one.
 *
 * Redis tells how far its replicas are, and whether it is flushing its file; not up to where that is flushed. It begins to flush once a second where there is something to flush
 * (`appendfsync everysec`; the agent may not read which policy it is), so what was there some time ago is on the disk when no flush is under way.
 */
import { type AttachedReplica, parseInfo, parseRole } from '../capture';
import type { Vector } from '../record';
import { encodeCommand, type RedisConnection, type Reply } from '../resp';

/** "Up to this position of my own stream I have seen that." */
export interface Report {
  readonly position: number;
  readonly seen: Vector;
  /** Position at which the last own record before it ends. */
  readonly end: number;
}

/** How far Redis is with what could be lost, by its INFO. */
export interface Safety {
  /** End of its replication stream. */
  readonly offset: number;
  /** What each of its replicas has acknowledged, by its address, the agent left out. */
  readonly replicas: ReadonlyMap<string, number>;
  /** Its append-only file; null: it has none, and a restart loses what it loses. */
  readonly file: { readonly isFlushed: boolean } | null;
}

/** Redis looks once a second whether there is something to flush, by seconds of its clock, up to 100 ms late, and an earlier flush may be under way. */
export const FLUSHED_MS = 2500;
/** Of a replica that is gone it is not known that it is not made the primary; by Sentinel it is not when it has been without one for long. */
export const GONE_MS = 60_000;
/** Looks that wait, at most. */
const LOOKS_MAX = 64;

export class OwnReports {
  /** The last that was told; null: none was. */
  told: Report | null = null;
  private noted: Report | null = null;
  /** What had been noted when Redis was asked; undefined: it is not being asked. */
  private asked: Report | null | undefined;
  /** Oldest first: what had been noted when Redis was asked. */
  private looks: { report: Report; offset: number; atMs: number }[] = [];
  /** Nothing can be taken back, as far as can be seen. Not before the first look. */
  private isFree = false;
  private wasFlushed = false;
  /** By address: what it had when it was last there. */
  private readonly replicas = new Map<string, { offset: number; atMs: number }>();

  /**
   * @param own where the agent answers as a replica, and Redis shows it as one; null: it does not
   * @param tell takes what may be reported
   */
  constructor(
    private readonly own: Address | null,
    private readonly tell: (report: Report) => void,
  ) {}

  /** What this region has seen, and where: told at once, or when nothing can take it back any more. */
  note(report: Report): void {
    this.noted = report;
    if (this.isFree) this.report(report);
  }

  /** Asks Redis how far its replicas and its file are. One answer is awaited at a time: a Redis that is busy gets no more questions. */
  async ask(connection: RedisConnection): Promise<void> {
    if (this.asked !== undefined || !connection.open) return;
    this.beginLook();
    try {
      const [replication, persistence] = await connection.pipeline(INFO_SAFETY, 2);
      const text = (reply: Reply | undefined): string => (Buffer.isBuffer(reply) ? reply.toString('latin1') : '');
      this.endLook(safetyOf(text(replication), text(persistence), this.own), Date.now());
    } finally {
      this.asked = undefined;
    }
  }

  /** Redis is about to be asked. */
  beginLook(): void {
    this.asked = this.noted;
  }

  /** @param found null: Redis does not say */
  endLook(found: Safety | null, nowMs: number): void {
    const safety = found ?? NOTHING;
    for (const [name, offset] of safety.replicas) this.replicas.set(name, { offset, atMs: nowMs });
    for (const [name, { atMs }] of this.replicas) if (nowMs - atMs > GONE_MS) this.replicas.delete(name);
    this.isFree = this.replicas.size === 0 && safety.file === null;
    const report = this.asked ?? null;
    if (report !== null) this.looks.push({ report, offset: safety.offset, atMs: nowMs });
    const acknowledged = Math.min(...[...this.replicas.values()].map(({ offset }) => offset));
    const { file } = safety;
    const isFlushed = file === null || (file.isFlushed && this.wasFlushed);
    this.wasFlushed = file?.isFlushed ?? false;
    const isSafe = ({ offset, atMs }: { offset: number; atMs: number }): boolean =>
      !(acknowledged < offset) && (file === null || (isFlushed && nowMs - atMs >= FLUSHED_MS));
    const last = this.looks.findLastIndex(isSafe);
    const due = last < 0 ? null : this.looks[last]!.report;
    this.looks.splice(0, last + 1);
    if (this.looks.length > LOOKS_MAX) this.looks = this.looks.filter((_, i) => i % 2 === 0);
    if (due !== null) this.report(due);
  }

  private report(report: Report): void {
    this.told = report;
    this.tell(report);
  }
}

interface Address {
  readonly host: string;
  readonly port: number;
}

const INFO_SAFETY = Buffer.concat([encodeCommand(['INFO', 'replication']), encodeCommand(['INFO', 'persistence'])]);
const NOTHING: Safety = { offset: 0, replicas: new Map(), file: null };

/**
 * From the texts of INFO replication and INFO persistence (https://redis.io/docs/latest/commands/info/).
 * @param own where the agent answers as a replica; null: it does not
 */
export function safetyOf(replication: string, persistence: string, own: Address | null): Safety | null {
  const role = parseRole(replication);
  if (role === null) return null;
  const fields = parseInfo(persistence);
  const hasFile = fields.get('aof_enabled') === '1';
  // What announces no port of its own (an agent, a tool) is not made a primary.
  const isOwn = ({ host, port }: AttachedReplica): boolean => port === own?.port && host === own.host;
  const replicas = role.replicas.filter((one) => one.state === 'online' && one.port > 0 && !isOwn(one));
  return {
    offset: role.offset,
    replicas: new Map(replicas.map(({ host, port, offset }) => [`${host}:${port}`, offset])),
    file: hasFile
      ? {
          isFlushed:
            fields.get('aof_pending_bio_fsync') === '0' &&
            fields.get('aof_buffer_length') === '0' &&
            fields.get('aof_last_write_status') === 'ok',
        }
      : null,
  };
}
