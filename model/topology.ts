/**
 * Which regions exchange operations directly. Whatever the shape, every region receives every operation: in a ring and
 * a star, and in a mesh with a broken link, a region forwards what others wrote.
 *
 * - `mesh`: everyone with everyone. One hop, the least lag; links grow with the square of the regions.
 * - `ring`: each with the next and the previous in the config's order. The fewest links that survive one broken link.
 * - `star`: each with the hub. The fewest links of all; without the hub the others don't hear of each other.
 */
export type Topology =
  { readonly kind: 'mesh' } | { readonly kind: 'ring' } | { readonly kind: 'star'; readonly hub: string };

/**
 * The regions that `region` exchanges operations with directly, in the config's order.
 * @param regions names of all regions, in the config's order (it decides the neighbours in a ring)
 * @throws RangeError when `region`, or a star's hub, is none of `regions`
 */
export function peersOf(region: string, topology: Topology, regions: readonly string[]): string[] {
  const index = indexOf(region, regions);
  switch (topology.kind) {
    case 'mesh':
      return regions.filter((other) => other !== region);
    case 'ring': {
      // A set, because in a ring of two the next is also the previous.
      const neighbours = new Set([(index + 1) % regions.length, (index + regions.length - 1) % regions.length]);
      return regions.filter((_, i) => i !== index && neighbours.has(i));
    }
    case 'star':
      indexOf(topology.hub, regions);
      return region === topology.hub ? regions.filter((other) => other !== region) : [topology.hub];
  }
}

/** All links: by region, those that its operations flow to, in the config's order. The way back is a link of its own. */
export function links(topology: Topology, regions: readonly string[]): Record<string, string[]> {
  return Object.fromEntries(regions.map((from) => [from, peersOf(from, topology, regions)]));
}

function indexOf(region: string, regions: readonly string[]): number {
  const index = regions.indexOf(region);
  if (index < 0) throw new RangeError(`'${region}' is none of the regions ${regions.join(', ')}`);
  return index;
}
