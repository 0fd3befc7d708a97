/** One region of a world: its Redis, of now and of before, and its agent. */
import type { SimAgent } from './agent';
import type { Redis } from './redis';

export interface Region {
  name: string;
  redis: Redis;
  initial: Redis;
  agent: SimAgent;
  skewMs: number;
  /** What its replica has: a failover goes back to a place at or after this. */
  replicated: number;
  /** Histories that ended, and where. */
  past: { redis: Redis; end: number; isOutage?: boolean }[];
  /** How often it is passed over, and how fast its parts are. */
  idle: number;
  slow: { read: number; pull: number; step: number };
}
