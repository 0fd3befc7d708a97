import { type AlertSettings } from './settings';

/** A series of the region, by its name and more matchers. */
export type Selector = (metric: string, ...matchers: readonly string[]) => string;

export function selectorOf({ region, matchers }: Pick<AlertSettings, 'region' | 'matchers'>): Selector {
  const common = [`region="${region}"`, ...(matchers === undefined || matchers === '' ? [] : [matchers])];
  return (metric, ...more) => `${metric}{${[...common, ...more].join(',')}}`;
}
