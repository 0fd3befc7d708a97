import { code, paragraphs, table } from './markdown';
import { type Component, type Member, type Shape, type Sources } from './sources';

const about = `# Components

<!-- Made from the docstrings in components/ by \`npm run docs\`. -->

What can be deployed, and what can be said about it. Each component is a class of [components/](../components/index.ts), used by the stack of
this repository and from others:

\`\`\`ts
import { ActiveActiveRedis } from 'meridian-redis';

new ActiveActiveRedis('redis', {
  stack: pulumi.getStack(),
  regions: [{ name: 'us-west-2', weight: 60, primary: true }, { name: 'eu-central-1', weight: 40 }],
  agentImage: 'registry.example.com/meridian@sha256:…',
});
\`\`\`

\`Input<T>\` takes a value or the output of another resource. What has no \`Input\` decides which resources there are, and has to be known before anything is
made. A wrong argument is refused at once, with its place, what was found and what is allowed. Every output is an \`Output\`. What it costs:
[components-cost.md](components-cost.md).`;

/** docs/components.md. */
export function componentsReference({ components, shapes, kinds }: Sources): string {
  const overview = table(
    ['Component', 'What it is'],
    components.map(({ name, doc }) => [linkTo(name), firstSentence(doc)]),
  );
  const roots = components.flatMap(({ args, outputs }) => [args, ...outputs.flatMap(({ type }) => namesIn(type))]);
  const used = usedBy(roots, shapes);
  const usedKinds = new Set(
    [...used.values()]
      .flatMap(({ members }) => members)
      .flatMap(({ type }) => namesIn(type))
      .filter((name) => kinds.has(name)),
  );
  const isKnown = (name: string): boolean => used.has(name) || usedKinds.has(name);
  const own = new Set(components.map(({ args }) => args));
  const others = [...used.values()].filter(({ name }) => !own.has(name)).sort(byName);
  const listed = [...usedKinds].flatMap((name) => kinds.get(name) ?? []).sort(byName);
  return `${paragraphs(
    about,
    overview,
    ...components.map((component) => componentSection(component, shapes, isKnown)),
    '# Parts of arguments and outputs',
    ...others.map((shape) =>
      paragraphs(`## ${shape.name}`, shape.doc, argumentTable(shape, isKnown), inherited(shape)),
    ),
    '# Kinds',
    'Each is an object of the package, such as `RedisTopology.Cluster`; other languages, and configs, take the value.',
    ...listed.map(kindSection),
  )}\n`;
}

const byName = (a: Shape, b: Shape): number => a.name.localeCompare(b.name);

function componentSection(
  { name, doc, args, outputs }: Component,
  shapes: ReadonlyMap<string, Shape>,
  isKnown: (name: string) => boolean,
): string {
  const shape = shapes.get(args);
  if (shape === undefined)
    throw new Error(`${name}: found no interface ${args} in components/; its constructor names it`);
  return paragraphs(
    `## ${name}`,
    doc,
    `**Arguments** (${code(args)})`,
    argumentTable(shape, isKnown),
    inherited(shape),
    '**Outputs**',
    table(
      ['Output', 'Type', 'Meaning'],
      outputs.map((output) => [code(output.name), typeText(output.type, isKnown), output.doc]),
    ),
  );
}

/** Those that must be given first, else in the order of the source. */
function argumentTable({ members }: Shape, isKnown: (name: string) => boolean): string {
  const sorted = [...members.filter((one) => !one.isOptional), ...members.filter((one) => one.isOptional)];
  return table(
    ['Argument', 'Type', 'Default', 'Meaning'],
    sorted.map((member) => {
      const { meaning, byDefault } = split(member);
      return [code(member.name), typeText(member.type, isKnown), byDefault, meaning];
    }),
  );
}

const inherited = ({ parents }: Shape): string =>
  parents.length === 0 ? '' : `And those of ${parents.map(linkTo).join(', ')}.`;

function kindSection({ name, doc, members }: Shape): string {
  const rows = members.map((member) => [
    code(`${name}.${member.name}`),
    code(member.type.replaceAll("'", '')),
    member.doc,
  ]);
  return paragraphs(`## ${name}`, doc, table(['Name', 'Value', 'Meaning'], rows));
}

/** A docstring says the default in a sentence, `Default: …`. */
export function split({ doc, isOptional }: Pick<Member, 'doc' | 'isOptional'>): { meaning: string; byDefault: string } {
  const found = /\bDefault: (.*?)\.(?=\s|$)/s.exec(doc);
  if (found === null) return { meaning: doc, byDefault: isOptional ? '' : '(required)' };
  const [sentence, byDefault = ''] = found;
  return { meaning: doc.replace(sentence, '').replaceAll(/ {2,}/g, ' ').trim(), byDefault };
}

/** Up to the first full stop or colon that ends something. */
const firstSentence = (doc: string): string => `${/^(.*?)[.:](\s|$)/s.exec(doc)?.[1] ?? doc}.`;

const linkTo = (name: string): string => `[${name}](#${name.toLowerCase()})`;

const namesIn = (type: string): string[] => type.match(/\b[A-Z]\w+/g) ?? [];

/** A type; a name that has a section is a link, and behind a type that has more than that. */
function typeText(type: string, isKnown: (name: string) => boolean): string {
  const short = type.replaceAll('pulumi.', '');
  const known = [...new Set(namesIn(short).filter(isKnown))];
  const [first = ''] = known;
  if (short === first || short === `${first}[]`) return short.replace(first, linkTo(first));
  return [code(short), ...known.map(linkTo)].join(' ');
}

/** Interfaces that are reached from others, by name. */
function usedBy(names: readonly string[], shapes: ReadonlyMap<string, Shape>): Map<string, Shape> {
  const used = new Map<string, Shape>();
  const visit = (name: string): void => {
    const shape = shapes.get(name);
    if (shape === undefined || used.has(name)) return;
    used.set(name, shape);
    for (const next of [...shape.parents, ...shape.members.flatMap(({ type }) => namesIn(type))]) visit(next);
  };
  names.forEach(visit);
  return used;
}
