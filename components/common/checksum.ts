import * as pulumi from '@pulumi/pulumi';
import { createHash } from 'node:crypto';

/** The pods' annotation whose change rolls them, when what they read at their start has changed. */
export const checksumAnnotation = 'meridian.redis/checksum';

/**
 * A fingerprint of what a pod reads at its start: it goes into the pod's annotations, so that a change rolls the pods. It is no
 * secret even where the text is one, for nobody can find a random password by its SHA-256.
 */
export function checksum(...texts: pulumi.Input<string>[]): pulumi.Output<string> {
  const hash = pulumi.all(texts).apply((all) => {
    const sum = createHash('sha256');
    for (const text of all) sum.update(`${text.length}:`).update(text);
    return sum.digest('hex').slice(0, 32);
  });
  return pulumi.unsecret(hash);
}
