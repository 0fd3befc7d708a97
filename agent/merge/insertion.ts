/** Effects into the window: what an operation does to what is known of a key. */
import type { Effect } from './effects';
import { type Element, type KeyState, type Op, Type } from './key-state';
import type { OriginTable } from './origins';
import { keepTtls } from './resolve';
import { HEAD, keepHead, putEntry, putHead, removeEntry, type StreamEntry, trimEntries } from './stream-entries';
import type { StreamTrims } from './stream-trims';
import type { Window } from './window';

export class Insertion {
  /** Elements that the last effect was about; none: the whole key. */
  readonly touched: Element[] = [];

  constructor(
    private readonly origins: OriginTable,
    private readonly window: Window,
    private readonly trims: StreamTrims,
  ) {}

  /** Applies an effect to the window and counts it; `touched` then holds its elements. */
  insert(state: KeyState, effect: Effect, op: Op): void {
    this.apply(state, effect, op);
    if (this.touched.length === 1 && effect.kind !== 'set') this.window.note(state, op, this.touched[0]!);
    else if (this.touched.length > 1) for (const element of this.touched) this.window.note(state, op, element);
    else this.window.note(state, op, effect.kind === 'ttl' ? state.ofTtl : null);
  }

  /** As `insert`, for an operation that is counted once for all its effects. */
  apply(state: KeyState, effect: Effect, op: Op): void {
    const touched = this.touched;
    touched.length = 0;
    switch (effect.kind) {
      case 'set':
        this.trims.replaced(state);
        if (effect.keepTtl && state.ttls.length > 0) keepTtls(state, op, this.origins);
        state.wipe(op, effect.keepTtl);
        touched.push(state.put(op, Type.string, '', effect.value, effect.keepTtl));
        if (effect.expireAt !== null) state.setTtl(op, effect.expireAt, false);
        return;
      case 'delete':
        this.trims.replaced(state);
        state.delete(op);
        return;
      case 'expire':
        this.trims.replaced(state);
        state.expire(op);
        return;
      case 'ttl':
        state.setTtl(op, effect.expireAt, true);
        return;
      case 'increment': {
        const element = state.increment(op, effect.type, effect.name, effect.delta);
        element.compact(this.window.stable);
        touched.push(element);
        return;
      }
      case 'put':
        if (effect.type === Type.stream) {
          for (let i = 0; i < effect.names.length; i++)
            putEntry(state, op, effect.names[i]!, effect.values[i]!, this.origins, touched);
          for (const entry of touched) state.stream!.arrive(entry as StreamEntry);
          this.trims.wrote(state, touched);
          return;
        }
        for (let i = 0; i < effect.names.length; i++)
          touched.push(state.put(op, effect.type, effect.names[i]!, effect.values[i]!, effect.keepTtl));
        return;
      case 'field-ttl':
        for (const name of effect.names) touched.push(state.setFieldTtl(op, name, effect.expireAt));
        return;
      case 'remove':
        if (effect.type === Type.stream) {
          state.removeOtherTypes(op, Type.stream);
          for (const id of effect.names) removeEntry(state, op, id, this.origins, touched);
          this.trims.wrote(state, touched);
          return;
        }
        for (const name of effect.names) touched.push(state.remove(op, effect.type, name));
        return;
      case 'trim':
        state.removeOtherTypes(op, Type.stream);
        touched.push(
          state.element(Type.stream, HEAD),
          ...trimEntries(state, op, effect.minId, effect.keep, this.origins),
        );
        return;
      case 'lastId':
        touched.push(putHead(state, op, effect.id));
        return;
      case 'group':
        if (effect.makesKey) touched.push(keepHead(state, op));
        return;
      case 'cap':
        return;
      case 'opaque':
      case 'flush':
      case 'swap':
        return;
    }
  }
}
