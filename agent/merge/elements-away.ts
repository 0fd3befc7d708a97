import { Element, NONE, Type } from './element';

/** Elements of a key that are on the shelf by themselves, while the key is not (element-shelf.ts). */
export class ElementsAway {
  /** The highest position of each origin among their operations. */
  tops: readonly number[] = NONE;
  /** What these count for in the window. */
  readonly element = new Element(Type.string, '', false);
  /** Of each origin, how many of them are queued. */
  readonly notes: number[] = [];

  /**
   * @param stay a number of its own: what of an earlier stay is still on the shelf does not count, for all of it came back, and some may have been
   * removed since
   */
  constructor(
    readonly type: Type,
    readonly stay: number,
  ) {}
}
