import * as pulumi from '@pulumi/pulumi';

import { type LocalEndpoint, type MeshInputs, provider } from './provider';

/** The processes of a mesh on this machine, as a resource of Pulumi's dynamic provider. */
export class LocalProcesses extends pulumi.dynamic.Resource {
  declare readonly endpoints: pulumi.Output<Record<string, LocalEndpoint>>;
  declare readonly password: pulumi.Output<string>;

  constructor(name: string, inputs: MeshInputs, opts: pulumi.CustomResourceOptions) {
    super(
      provider,
      name,
      { ...inputs, endpoints: undefined, password: undefined },
      pulumi.mergeOptions(opts, { additionalSecretOutputs: ['password'] }),
      'meridian',
      'LocalProcesses',
    );
  }
}
