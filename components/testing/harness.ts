/**
 * Runs a program against Pulumi's mocks and keeps what the engine would have got: every resource's inputs with the secrets still
 * marked, and its options. Nothing here is part of the package.
 */
import * as pulumi from '@pulumi/pulumi';

import { plain } from './secrets';

type Inputs = Record<string, unknown>;

/** One registered resource, as the engine sees it. */
export interface Recorded {
  readonly type: string;
  readonly name: string;
  readonly urn: string;
  /** Logical name of the component that it belongs to. */
  readonly parent: string | undefined;
  /** As sent: what is secret stands in an envelope. */
  readonly raw: Inputs;
  /** Without envelopes. */
  readonly inputs: Inputs;
  readonly protect: boolean;
  readonly retainOnDelete: boolean;
  readonly deleteBeforeReplace: boolean;
  readonly ignoreChanges: readonly string[];
  readonly aliases: readonly unknown[];
  /** Reference of the provider; undefined is the default one. */
  readonly provider: string | undefined;
  /** URNs. */
  readonly dependsOn: readonly string[];
}

export interface Deployment<T> {
  readonly result: T;
  /** In the order of their registration, without the stack and providers. */
  readonly resources: readonly Recorded[];
  /** The one with this logical name, of this type if there are several. */
  find(name: string, type?: string): Recorded;
  /** `type name` of each child of a component, sorted; types without package and version. */
  children(parent: string): string[];
}

/** The part of RegisterResourceRequest that is looked at: https://github.com/pulumi/pulumi/blob/master/proto/pulumi/resource.proto */
interface Request {
  getType(): string;
  getName(): string;
  getParent(): string;
  getObject(): { toJavaScript(): Inputs } | undefined;
  getProtect(): boolean;
  getRetainondelete(): boolean;
  getDeletebeforereplace(): boolean;
  getIgnorechangesList(): string[];
  getAliasesList(): { toObject(): unknown }[];
  getProvider(): string;
  getDependenciesList(): string[];
}

interface Monitor {
  registerResource(request: Request, callback: (error: unknown, response: unknown) => void): Promise<void>;
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
  const mocks: pulumi.runtime.Mocks = {
    newResource: ({ type, name, inputs }) => ({
      id: `${name}-id`,
      state: { ...(inputs as Inputs), ...outputsOf(type, name, canary), ...outputs(type, name, inputs as Inputs) },
    }),
    call: ({ inputs }) => inputs as Inputs,
  };
  await pulumi.runtime.setMocks(mocks, 'meridian', options.stack ?? 'test');

  const requests: { request: Request; raw: Inputs }[] = [];
  const monitor = pulumi.runtime.getMonitor() as unknown as Monitor;
  const register = monitor.registerResource.bind(monitor);
  monitor.registerResource = (request, callback) => {
    requests.push({ request, raw: request.getObject()?.toJavaScript() ?? {} });
    return register(request, callback);
  };

  // An output that fails is a rejection that nobody handles: jest fails the test by itself.
  const result = program();
  await pulumi.runtime.disconnect();

  const resources = requests
    .filter(({ request }) => !/^pulumi:(pulumi|providers):/.test(request.getType()))
    .map(({ request, raw }): Recorded => ({
      type: request.getType(),
      name: request.getName(),
      urn: `${request.getType()}::${request.getName()}`,
      parent: request.getParent() === '' ? undefined : request.getParent().split('::').at(-1),
      raw,
      inputs: plain(raw) as Inputs,
      protect: request.getProtect(),
      retainOnDelete: request.getRetainondelete(),
      deleteBeforeReplace: request.getDeletebeforereplace(),
      ignoreChanges: request.getIgnorechangesList(),
      aliases: request.getAliasesList().map((alias) => alias.toObject()),
      provider: request.getProvider() === '' ? undefined : request.getProvider(),
      dependsOn: request.getDependenciesList(),
    }));
  return {
    result,
    resources,
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
