/**
 * What an update would lose. The engine knows a resource by its URN: its name, its type and those of the components that it is in. Where one of them changes, and no
 * alias says what it was, the engine deletes the resource and makes another, which is empty.
 */
import { type Recorded, urnEnd } from '../recording';

/** An alias as Pulumi sends it: https://github.com/pulumi/pulumi/blob/master/proto/pulumi/alias.proto. What it leaves empty is as it is now. */
interface Alias {
  readonly urn: string;
  readonly spec?: {
    readonly name: string;
    readonly type: string;
    readonly parenturn?: string;
    readonly noparent: boolean;
  };
}

/** Those of the frozen ends of URNs that nothing is called, or was called by an alias. */
export function lostUrns(frozen: readonly string[], resources: readonly Recorded[]): string[] {
  const known = new Map<string, readonly string[]>();
  // Parents come before their children.
  for (const resource of resources) known.set(resource.urn, urnsOf(resource, known));
  const all = new Set([...known.values()].flat());
  return frozen.filter((urn) => !all.has(urn));
}

/** All that a resource is found by: its own URN, its aliases, and both below each of what its component is found by. */
function urnsOf(resource: Recorded, known: ReadonlyMap<string, readonly string[]>): string[] {
  const { type, name, urn } = resource;
  const parent = parentOf(urn, type, resource.parent);
  const inherited = parent === undefined ? [undefined] : (known.get(parent) ?? [parent]);
  const below = (above: string | undefined, itsType: string, itsName: string): string =>
    above === undefined
      ? `${itsType}::${itsName}`
      : `${above.split('::')[0] ?? ''}$${itsType}::${renamed(itsName, parent, above)}`;
  return [
    ...inherited.map((above) => below(above, type, name)),
    ...(resource.aliases as readonly Alias[]).flatMap(({ urn: whole, spec }) => {
      if (spec === undefined) return [urnEnd(whole)];
      const said = spec.parenturn ? urnEnd(spec.parenturn) : parent;
      const above = spec.noparent ? [undefined] : said === parent ? inherited : [said];
      return above.map((one) => below(one, spec.type || type, spec.name || name));
    }),
  ];
}

/** The end of the URN of the component that a resource is in. */
function parentOf(urn: string, type: string, parent: string | undefined): string | undefined {
  const [types = ''] = urn.split('::');
  return types === type ? undefined : `${types.slice(0, -type.length - 1)}::${parent ?? ''}`;
}

/** Where a component was called otherwise, the engine takes it that children with its name before theirs were too. */
function renamed(name: string, parent: string | undefined, above: string): string {
  const [now = '', then = ''] = [parent?.split('::')[1], above.split('::')[1]];
  return name.startsWith(now) ? `${then}${name.slice(now.length)}` : name;
}
