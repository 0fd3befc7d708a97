/** Runs a program against Pulumi's mocks and keeps what the engine would have got. Nothing here is part of the package. */
import * as pulumi from '@pulumi/pulumi';

import { type Inputs, record, type Recorded, type Recording } from '../recording';

export type { Recorded };

export interface Deployment<T> extends Recording<T> {
  /** The one with this logical name, of this type if there are several. */
  find(name: string, type?: string): Recorded;
  /** `type name` of each child of a component, sorted; types without package and version. */
  children(parent: string): string[];
}

export interface HarnessOptions {
  /** Outputs that a provider would add to the inputs. Default: those of random passwords and TLS, see `outputsOf`. */
  readonly outputs?: (type: string, name: string, inputs: Inputs) => Inputs;
  /** Of what a provider makes up; a test that looks for leaks gives one that it can find again. */
  readonly canary?: string;
  readonly stack?: string;
}

/**
 * Deploys what `program` makes, and waits for all of it: an assertion in an `apply` that nobody waits for would pass.
 * @throws what the program throws
 */
export async function deploy<T>(program: () => T, options: HarnessOptions = {}): Promise<Deployment<T>> {
  const { canary = 'generated', outputs = () => ({}) } = options;
  // An output that fails is a rejection that nobody handles: jest fails the test by itself.
  const { result, resources, providers } = await record(program, {
    stack: options.stack ?? 'test',
    outputs: (type, name, inputs) => ({ ...outputsOf(type, name, canary), ...outputs(type, name, inputs) }),
  });
  return {
    result,
    resources,
    providers,
    find(name, type) {
      const found = resources.filter((r) => r.name === name && (type === undefined || r.type.endsWith(type)));
      const [only] = found;
      if (only === undefined || found.length > 1)
        throw new Error(
          `${found.length} resources are called ${name}; there are:\n${resources.map((r) => `${r.type} ${r.name}`).join('\n')}`,
        );
      return only;
    },
    children: (parent) =>
      resources
        .filter((r) => r.parent === parent)
        .map((r) => `${r.type.split(':').at(-1) ?? ''} ${r.name}`)
        .sort(),
  };
}

/** The value of an output, and whether it is secret. */
export async function valueOf<T>(output: pulumi.Output<T>): Promise<{ value: T; secret: boolean }> {
  const value = await new Promise<T>((resolve) => void output.apply((found) => resolve(found)));
  return { value, secret: await pulumi.isSecret(output) };
}

/** What the real providers make up. */
function outputsOf(type: string, name: string, canary: string): Inputs {
  switch (type) {
    case 'random:index/randomPassword:RandomPassword':
      return { result: pulumi.secret(`${canary}-password-of-${name}`) };
    case 'tls:index/privateKey:PrivateKey':
      return { privateKeyPem: pulumi.secret(`${canary}-key-of-${name}`), publicKeyPem: `public key of ${name}` };
    case 'tls:index/selfSignedCert:SelfSignedCert':
    case 'tls:index/locallySignedCert:LocallySignedCert':
      return { certPem: `certificate ${name}\n` };
    case 'tls:index/certRequest:CertRequest':
      return { certRequestPem: `request ${name}\n` };
    default:
      return {};
  }
}
