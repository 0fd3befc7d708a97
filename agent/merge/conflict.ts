/**
 * What is lost where operations meet that had not seen each other: told, one by one, to who wants to know (agent/conflicts). Nothing of the
 * rule depends on it.
 *
 * Each write that loses has one entry in each region, whatever the order of arrival: it loses when it comes, or when the one comes that beats it. What
 * merges (increments, other fields of a hash) loses nothing, and is none.
 */
import type { OriginId } from '../record';
import type { Effect } from './effects';
import { type Element, type KeyState, type Op, type Put, saw, TYPE_NAMES } from './key-state';
import type { OriginTable } from './origins';
import { isHigher } from './op';
import { visibleType, winner } from './resolve';
import type { TablePut } from './set-table';

/** What a side of a conflict did. */
export type ConflictAct =
  /** It wrote a value, or added an element. */
  | 'write'
  /** It removed the element, or the key. */
  | 'delete'
  /** It set or removed a time to live. */
  | 'ttl'
  /** A command whose result depends on the key (a list's, a stream's …). */
  | 'command';

export interface ConflictSide {
  readonly origin: OriginId;
  readonly position: number;
  readonly stamp: number;
  readonly act: ConflictAct;
  /**
   * The value written (for `ttl`: when it expires, in ms, or nothing); null where there is none. Asked for at once or never.
   * @throws where it has to be read from the journal again and can't
   */
  readonly value: () => Buffer | null;
}

/** Why one lost. */
export type ConflictReason =
  /** Two writes of one element: the higher (stamp, region) stands. */
  | 'later'
  /** A delete that had not seen the write: the write stands. */
  | 'unseen'
  /** Writes of two types: the type of the highest stands. */
  | 'type'
  /** Commands that can't be merged: the state that a region sends stands. */
  | 'settled'
  /** By the key's policy. */
  | 'policy';

export interface Conflict {
  readonly db: number;
  /** Latin-1. */
  readonly key: string;
  /** A type's name; `ttl`, or `key` for what is about the key as a whole. */
  readonly type: string;
  /** Field or member in Latin-1; empty for none. */
  readonly element: string;
  readonly reason: ConflictReason;
  /** Null: the state of the region that settles it, which is still to come. */
  readonly winner: ConflictSide | null;
  readonly loser: ConflictSide;
}

export interface ConflictSink {
  /** Whether another one is wanted now. Asked for each, and cheap; no means that one was not looked at. */
  wants(): boolean;
  note(conflict: Conflict): void;
}

/** What an operation, just put into the window, lost or made others lose. */
export function conflictsOf(
  state: KeyState,
  effect: Effect,
  op: Op,
  touched: readonly Element[],
  origins: OriginTable,
): Conflict[] {
  const side = (of: Op, act: ConflictAct, value: () => Buffer | null = () => null): ConflictSide => ({
    origin: origins.id(of.origin),
    position: of.position,
    stamp: of.stamp,
    act,
    value,
  });
  const written = (put: Put): ConflictSide => side(put.op, 'write', () => put.value);
  const at = { db: state.db, key: state.key };
  const found: Conflict[] = [];
  switch (effect.kind) {
    case 'set':
    case 'put':
      for (const element of touched) {
        const lost = lostIn(element, op, origins);
        if (lost === null) continue;
        const type = TYPE_NAMES[element.type];
        // A member of a set has no value: added twice it is there. Entries of one ID are both there.
        if (type === 'set' || type === 'stream') continue;
        found.push({
          ...at,
          type,
          element: element.name,
          reason: 'later',
          winner: written(lost.by),
          loser: written(lost.put),
        });
      }
      found.push(...typesOf(state, op, origins, written));
      break;
    case 'remove':
      for (const element of touched) {
        const by = highestPut([element], origins);
        if (by === null) continue;
        const [type, { name }] = [TYPE_NAMES[element.type], element];
        found.push({
          ...at,
          type,
          element: name,
          reason: 'unseen',
          winner: written(by.put),
          loser: side(op, 'delete'),
        });
      }
      break;
    case 'trim':
    case 'cap':
    case 'lastId':
    case 'group':
      break;
    case 'delete': {
      const by = highestPut(state.elements(), origins);
      if (by === null) break;
      found.push({
        ...at,
        type: 'key',
        element: by.element.name,
        reason: 'unseen',
        winner: written(by.put),
        loser: side(op, 'delete'),
      });
      break;
    }
    case 'ttl': {
      const time = (at: number | null) => (): Buffer | null => (at === null ? null : Buffer.from(String(at)));
      const own = state.ttls.find((ttl) => ttl.op === op);
      const others = state.ttls.filter((ttl) => ttl.op !== op && !saw(ttl.op, op));
      if (own === undefined || others.length === 0) break;
      const best = others.reduce((a, b) => (isHigher(b.op, a.op, origins) ? b : a));
      const [by, lost] = isHigher(op, best.op, origins) ? [own, best] : [best, own];
      found.push({
        ...at,
        type: 'ttl',
        element: '',
        reason: 'later',
        winner: side(by.op, 'ttl', time(by.at)),
        loser: side(lost.op, 'ttl', time(lost.at)),
      });
      break;
    }
    case 'opaque':
      found.push({ ...at, type: 'key', element: '', reason: 'settled', winner: null, loser: side(op, 'command') });
      break;
    case 'field-ttl':
    case 'increment':
      found.push(...typesOf(state, op, origins, written));
      break;
    case 'expire':
    case 'flush':
    case 'swap':
      break;
  }
  return found;
}

/** The put that lost as `op` came, and the one that beat it; null where it met none. */
function lostIn({ puts }: Element, op: Op, origins: OriginTable): { put: Put; by: Put } | null {
  const own = puts.find((put) => put.op === op);
  if (own === undefined || puts.length < 2) return null;
  const best = puts.reduce((a, b) => (b !== own && (a === own || isHigher(b.op, a.op, origins)) ? b : a));
  return isHigher(op, best.op, origins) ? { put: best, by: own } : { put: own, by: best };
}

function highestPut(elements: Iterable<Element>, origins: OriginTable): { element: Element; put: Put } | null {
  let best: { element: Element; put: Put } | null = null;
  for (const element of elements) {
    const put = winner(element, origins);
    if (put !== null && (best === null || isHigher(put.op, best.put.op, origins))) best = { element, put };
  }
  return best;
}

/** Of writes of several types: what doesn't stand as `op` has come. */
function typesOf(state: KeyState, op: Op, origins: OriginTable, written: (put: Put) => ConflictSide): Conflict[] {
  if (state.onlyType !== null) return [];
  const type = visibleType(state, origins);
  const elements = [...state.elements()];
  const stands = highestPut(
    elements.filter((element) => element.type === type),
    origins,
  );
  const others = elements.filter((element) => element.type !== type);
  // One that doesn't stand lost as it came; else those of the other types lost to it.
  const own = others.find(({ puts }) => puts.some((put) => put.op === op));
  const lost = own === undefined ? (stands?.put.op === op ? highestPut(others, origins) : null) : { element: own };
  if (stands === null || lost === null) return [];
  const put = 'put' in lost ? lost.put : lost.element.puts.find((candidate) => candidate.op === op)!;
  const [name, { db, key }] = [TYPE_NAMES[lost.element.type], state];
  return [
    {
      ...{ db, key },
      type: name,
      element: lost.element.name,
      reason: 'type',
      winner: written(stands.put),
      loser: written(put),
    },
  ];
}

/** The same for a plain SET among others in the table of SETs. */
export function setConflict(
  db: number,
  key: string,
  puts: Iterable<TablePut>,
  [origin, position]: readonly [origin: number, position: number],
  origins: OriginTable,
): Conflict | null {
  const isAbove = (a: TablePut, b: TablePut): boolean =>
    a.stamp === b.stamp ? origins.outranks(a.origin, b.origin) : a.stamp > b.stamp;
  let own: TablePut | null = null;
  let best: TablePut | null = null;
  for (const put of puts)
    if (put.origin === origin && put.position === position) own = put;
    else if (best === null || isAbove(put, best)) best = put;
  if (own === null || best === null) return null;
  const side = ({ origin: of, position: end, stamp, value }: TablePut): ConflictSide => ({
    origin: origins.id(of),
    position: end,
    stamp,
    act: 'write',
    value,
  });
  const [by, lost] = isAbove(own, best) ? [own, best] : [best, own];
  return { db, key, type: 'string', element: '', reason: 'later', winner: side(by), loser: side(lost) };
}
