/** One command, and what it does to its key by what it is answered. */
import { type Reply } from '../../agent/resp';
import { type Effect, type Moment } from './history';

export interface Command {
  readonly args: readonly (string | number)[];
  /** What it did, by its reply; never called with an error. Times to live end relative to when it ran. */
  done(reply: Reply, ranMs: Moment): readonly Effect[];
  /** What it may have done, when the reply was lost. */
  readonly maybe: (ranMs: Moment) => readonly Effect[];
}

/** A key, and the effects on it. */
export class Key {
  readonly id: string;
  constructor(
    db: number,
    readonly name: string,
  ) {
    this.id = `${db}/${name}`;
  }

  put(element: string, value: string): Extract<Effect, { kind: 'put' }> {
    return { kind: 'put', key: this.id, element, value };
  }

  remove(element: string | null): Effect {
    return { kind: 'remove', key: this.id, element };
  }

  add(element: string, by: number): Effect {
    return { kind: 'add', key: this.id, element, by };
  }

  give(token: string): Extract<Effect, { kind: 'give' }> {
    return { kind: 'give', key: this.id, token };
  }

  take(token: string | null): Effect {
    return { kind: 'take', key: this.id, token };
  }
}

type Args = readonly (string | number)[];

/** The same effects whatever the reply, but where it says that nothing was done. */
export function always(args: Args, effects: readonly Effect[], did: (reply: Reply) => boolean = () => true): Command {
  return { args, done: (reply) => (did(reply) ? effects : []), maybe: () => effects };
}

/** Nothing is known of it in the end but that it did the same everywhere. */
export function unchecked(...args: (string | number)[]): Command {
  return always(args, []);
}

/** Removes an element, or for null the whole key; that nothing was there is no operation. */
export function removing(name: string, key: Key, element: string | null): Command {
  const args = element === null || element === '' ? [name, key.name] : [name, key.name, element];
  return always(args, [key.remove(element)], (reply) => reply !== 0 && reply !== null);
}

export function taking(args: Args, key: Key, tokenOf: (reply: Reply) => string | null): Command {
  return {
    args,
    done: (reply) => {
      const token = tokenOf(reply);
      return token === null ? [] : [key.take(token)];
    },
    maybe: () => [key.take(null)],
  };
}
