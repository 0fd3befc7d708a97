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
  private latest: Report | null = null;
  /** Oldest first: what had been noted when Redis was asked. */
  private looks: { report: Report; offset: number; atMs: number }[] = [];
  /** Nothing can be taken back, as far as can be seen. Not before the first look. */
  private isFree = false;
  private wasFlushed = false;
  /** By address: what it had when it was last there. */
  private readonly replicas = new Map<string, { offset: number; atMs: number }>();

  /** @returns what may be reported at once, this or nothing */
  note(report: Report): Report | null {
    this.latest = report;
    return this.isFree ? report : null;
  }

  /** The last that was noted: to be taken before Redis is asked. */
  get noted(): Report | null {
    return this.latest;
  }

  /**
   * @param noted when Redis was asked
   * @param found null: it does not say
   * @returns what may be reported now that could not before
   */
  look(noted: Report | null, found: Safety | null, nowMs: number): Report | null {
    const safety = found ?? NOTHING;
    for (const [name, offset] of safety.replicas) this.replicas.set(name, { offset, atMs: nowMs });
    for (const [name, { atMs }] of this.replicas) if (nowMs - atMs > GONE_MS) this.replicas.delete(name);
    this.isFree = this.replicas.size === 0 && safety.file === null;
    if (noted !== null) this.looks.push({ report: noted, offset: safety.offset, atMs: nowMs });
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
    return due;
  }
}

const NOTHING: Safety = { offset: 0, replicas: new Map(), file: null };

/**
 * From the texts of INFO replication and INFO persistence (https://redis.io/docs/latest/commands/info/).
 * @param own where the agent answers as a replica, and Redis shows it as one; null: it does not
 */
export function safetyOf(
  replication: string,
  persistence: string,
  own: { readonly host: string; readonly port: number } | null,
): Safety | null {
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
