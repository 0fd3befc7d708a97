/**
 * What Pulumi runs of an installed plugin (scripts/plugin.mjs puts it together): the components of index.ts behind the schema that was frozen in schema.json. In
 * a checkout Pulumi runs index.ts by itself and reads the schema out of the sources, which takes it a minute at each start.
 */
import * as pulumi from '@pulumi/pulumi';

import * as offered from '.';
import schema from './schema.json';

type Component = new (
  name: string,
  args: pulumi.Inputs,
  opts: pulumi.ComponentResourceOptions,
) => pulumi.ComponentResource;

/** By their types. Arguments come from programs in other languages: the schema says of what types they are, the constructor what else is asked of them. */
const components = new Map(
  Object.entries(offered).map(([name, component]) => [
    `${schema.name}:index:${name}`,
    component as unknown as Component,
  ]),
);

const outputsOf = new Map(
  Object.entries(schema.resources).map(([type, { properties }]) => [type, Object.keys(properties)]),
);

class Components implements pulumi.provider.Provider {
  readonly version = schema.version;
  readonly schema = JSON.stringify(schema);

  async construct(
    name: string,
    type: string,
    inputs: pulumi.Inputs,
    options: pulumi.ComponentResourceOptions,
  ): Promise<pulumi.provider.ConstructResult> {
    const component = components.get(type);
    const outputs = outputsOf.get(type);
    if (component === undefined || outputs === undefined)
      throw new Error(`${type} is none of ${[...components.keys()].sort().join(', ')}`);
    const made = new component(name, inputs, options);
    const values = made as unknown as Readonly<Record<string, unknown>>;
    return { urn: made.urn, state: Object.fromEntries(outputs.map((output) => [output, values[output]])) };
  }
}

void pulumi.provider.main(new Components(), process.argv.slice(2));
