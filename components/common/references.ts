import * as pulumi from '@pulumi/pulumi';

/**
 * The name of an object, for those who refer to it, once it is there. Not its `metadata.name`, which would make them depend on it: Pulumi's provider replaces a ConfigMap or
 * Secret whose data changes, unless it is told otherwise (`enableConfigMapMutable`, `enableSecretMutable`), and the engine would then delete and make anew what is made of its
 * outputs as well: a StatefulSet with all of its pods at once, or nothing at all where it is protected.
 * @param name as in the object's metadata
 */
export function nameOf(object: pulumi.Resource, name: pulumi.Input<string>): pulumi.Output<string> {
  const isThere = new Promise<true>((resolve) => void object.urn.apply(() => resolve(true)));
  return pulumi.output(isThere).apply(() => pulumi.output(name));
}
