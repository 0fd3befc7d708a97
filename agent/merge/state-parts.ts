/** A record of kind *state*, taken apart: for each of its keys the commands that build it, as one operation. */
import { CommandScanner } from '../resp';
import { findCommand, UNKNOWN_COMMAND } from './commands';
import { decodeEffects, type Effect } from './effects';
import { Type } from './key-state';

export interface StatePart {
  readonly key: string;
  /** Of the commands in the payload. */
  readonly start: number;
  end: number;
  commands: number;
  readonly effects: Effect[];
  /** It says all of the key; else only something of it: its time to live, or fields that a region has kept. */
  readonly isWhole: boolean;
  /** Elements say all that it holds. */
  isByElement: boolean;
  /** It holds elements, and not a string, nor nothing. */
  hasElements: boolean;
}

/** What builds a key stands together, a DEL at first. */
export function partsOf(payload: Buffer): StatePart[] {
  const scanner = new CommandScanner();
  scanner.push(payload);
  const parts: StatePart[] = [];
  while (scanner.next()) {
    const command = findCommand(scanner.buf, scanner.argStart[0]!, scanner.argEnd[0]!) ?? UNKNOWN_COMMAND;
    const effects: Effect[] = [];
    decodeEffects(command, scanner, effects);
    for (const effect of effects) {
      if (effect.kind === 'flush' || effect.kind === 'swap') continue;
      const key = effect.kind === 'opaque' ? effect.keys[0]! : effect.key;
      const isWhole = effect.kind === 'delete';
      let part = parts.at(-1);
      if (part?.key !== key || isWhole) {
        const { start } = scanner;
        part = { key, start, end: 0, commands: 0, effects: [], isWhole, isByElement: true, hasElements: false };
        parts.push(part);
      }
      part.effects.push(effect);
      if (effect.kind === 'opaque') part.isByElement = false;
      if (effect.kind === 'put') part.hasElements ||= effect.type !== Type.string;
      part.end = scanner.end;
      part.commands++;
    }
  }
  return parts;
}
