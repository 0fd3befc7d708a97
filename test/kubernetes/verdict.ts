import { type Content, type Written } from './clients';

/**
 * Compares what regions hold with each other, and with what their clients were told.
 * @returns what is wrong, in words; empty when all is well
 */
export function verdict(contents: ReadonlyMap<string, Content>, written: ReadonlyMap<string, Written>): string[] {
  const [first, ...others] = [...contents];
  if (first === undefined) return ['no region was read'];
  const [firstName, content] = first;
  const different = others.flatMap(([name, other]) => differences(firstName, content, name, other));
  return [...different, ...losses(content, written)];
}

function differences(nameA: string, a: Content, nameB: string, b: Content): string[] {
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  const unlike = keys.filter((key) => JSON.stringify(a[key]) !== JSON.stringify(b[key]));
  if (unlike.length === 0) return [];
  const shown = unlike.slice(0, 3).map((key) => `${key}: ${shorten(a[key])} against ${shorten(b[key])}`);
  return [`${nameA} and ${nameB} differ in ${unlike.length} of ${keys.length} keys: ${shown.join('; ')}`];
}

/** What was acknowledged as being in two regions, and is nowhere. */
function losses(content: Content, written: ReadonlyMap<string, Written>): string[] {
  const set = new Set(Array.isArray(content['set']) ? (content['set'] as string[]) : []);
  const hash = (content['hash'] ?? {}) as Readonly<Record<string, string>>;
  const found = [...written].flatMap(([region, { acknowledged }]) => {
    const lost = (kind: string, isThere: (n: number) => boolean): string[] => {
      const missing = acknowledged.filter((n) => !isThere(n));
      return missing.length === 0 ? [] : [`${region}: ${missing.length} ${kind} lost, first ${missing[0] ?? ''}`];
    };
    return [
      ...lost('strings', (n) => content[`own:${region}:${n}`] === String(n)),
      ...lost('members of the set', (n) => set.has(`${region}:${n}`)),
      ...lost('fields of the hash', (n) => hash[`${region}:${n}`] === String(n)),
    ];
  });
  const sum = (of: (one: Written) => number): number => [...written.values()].reduce((all, one) => all + of(one), 0);
  const least = sum(({ acknowledged }) => acknowledged.length);
  const most = sum(({ attempts }) => attempts);
  const counter = Number(content['counter']);
  const isCounted = counter >= least && counter <= most;
  return [
    ...found,
    ...(isCounted ? [] : [`the counter is ${counter}, after ${least} acknowledged increments of ${most}`]),
  ];
}

const shorten = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
};
