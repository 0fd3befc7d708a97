/** The time, written to the own Redis again and again: by it the own stream tells how old it is, and Redis that it still takes writes. */
import { type RedisConnection, ReplyError } from '../resp';

export class Heartbeat {
  private isOnItsWay = false;

  /** @param refused Redis takes no writes: it has become a replica */
  constructor(
    private readonly connection: RedisConnection,
    private readonly key: string,
    private readonly refused: () => void,
  ) {}

  /** Writes it, unless the last one has not been answered. @returns whether it does */
  beat(nowMs: number): boolean {
    if (this.isOnItsWay || !this.connection.open) return false;
    this.isOnItsWay = true;
    this.connection
      .call('SET', this.key, String(nowMs))
      .then((reply) => {
        if (reply instanceof ReplyError && reply.code === 'READONLY') this.refused();
      })
      .catch(() => undefined)
      .finally(() => (this.isOnItsWay = false));
    return true;
  }
}
