/** How pods of one kind keep away from each other. */
export const Spread = {
  /** The scheduler decides: a cluster with one node, for development. */
  Disabled: 'disabled',
  /** On different nodes and zones where there are enough. */
  Preferred: 'preferred',
  /** On different nodes, or not at all; over zones evenly. */
  Required: 'required',
} as const;
export type Spread = (typeof Spread)[keyof typeof Spread];
