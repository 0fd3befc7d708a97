/** A schedule that is over, all healed and quiet: what the checks look at. */
import type { ConflictPolicies } from '../../../model';
import type { Clients } from '../clients';
import type { Profile } from '../profile';
import type { Region } from '../region';
import type { Entry } from '../redis';
import type { RuleOp } from '../rule';

/** An element that a region's Redis held. */
export interface Exposed {
  readonly region: string;
  readonly db: number;
  readonly key: string;
  readonly element: string;
}

export interface Ended {
  readonly profile: Profile;
  readonly regions: readonly Region[];
  readonly clients: Clients;
  readonly policies: ConflictPolicies;
  /** Every operation that became durable in its own region's journal, by origin and position. */
  readonly log: ReadonlyMap<string, RuleOp>;
  /** What keys were right after a client's command (null: absent), by history, position and key. */
  readonly written: ReadonlyMap<string, Entry | null>;
  /** Elements that a client was given. */
  readonly taken: ReadonlySet<string>;
  /** What lists and queues held right before a Redis that clients had written without an agent was compared, and no Redis has lost since. */
  readonly exposed: readonly Exposed[];
  readonly now: number;
  trace(text: string): void;
  fail(message: string): never;
}

/** Whether a key, by its database and name, is not replicated. */
export function isIgnored({ policies }: Ended, id: string): boolean {
  const at = id.indexOf(' ');
  return policies.ignores(Number(id.slice(0, at)), Buffer.from(id.slice(at + 1)));
}

/** Whether what a region's clients do to a key stays there. */
export function isKept({ policies }: Ended, id: string, region: string): boolean {
  const at = id.indexOf(' ');
  return policies.keeps(region, Number(id.slice(0, at)), Buffer.from(id.slice(at + 1)));
}

/** The region that owns a key. */
export function ownerOf({ policies }: Ended, id: string): string | null {
  const at = id.indexOf(' ');
  return policies.ownerOf(Number(id.slice(0, at)), Buffer.from(id.slice(at + 1)));
}

/** Whether a key is its last writer's. */
export function isLastWriters({ policies }: Ended, id: string): boolean {
  const at = id.indexOf(' ');
  return policies.isLastWriters(Number(id.slice(0, at)), Buffer.from(id.slice(at + 1)));
}
