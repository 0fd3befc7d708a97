// Ports of a stack on one machine. The base port was chosen below the ephemeral ports of every system, where no well-known server sits.

export const basePortDefault = 7500;

/** In a row, of which the first is its Redis. */
export const portsPerRegion = 10;

/** With which the last region's ports are still ports. */
export function basePortMax(regions: number): number {
  return 65_536 - regions * portsPerRegion;
}
