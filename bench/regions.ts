/** A stack's config with any number of regions. */

/** As Pulumi hands it to the program: objects are JSON text. */
export type Config = Record<string, string>;
export type Region = Record<string, unknown> & { name: string };

export const regionsOf = (config: Config): Region[] => JSON.parse(config['meridian:regions'] ?? '[]') as Region[];

/** The same stack with so many regions: those that it has, and more like its first one. Weights are equal parts. */
export function withRegionCount(config: Config, count: number): Config {
  const known = regionsOf(config);
  const [model] = known;
  if (model === undefined) throw new Error('a stack without regions');
  const more = Array.from({ length: Math.max(0, count - known.length) }, (_, i): Region => {
    const name = `region-${known.length + i + 1}`;
    const { primary: _primary, ...like } = model;
    // Whatever says the model's name says this one's.
    return JSON.parse(JSON.stringify(like).replaceAll(model.name, name)) as Region;
  });
  const regions = [...known, ...more].slice(0, count).map(({ weight: _, ...region }) => region);
  return { ...config, 'meridian:regions': JSON.stringify(regions) };
}
