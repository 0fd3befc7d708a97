import * as pulumi from '@pulumi/pulumi';

import { plain } from './secrets';

export type Inputs = Record<string, unknown>;

/** One registered resource, as the engine sees it. */
export interface Recorded {
  readonly type: string;
  readonly name: string;
  /** The end of its URN, which the engine knows it by: the types of the components that it is in and its own, `A$B$type`, then `::` and its name. */
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
  /** Reference of the provider, `<urn>::<id>`; undefined is the default one. */
  readonly provider: string | undefined;
  /** URNs. */
  readonly dependsOn: readonly string[];
  /** URNs, by the inputs that are made of them. */
  readonly inputsFrom: Readonly<Record<string, readonly string[]>>;
}

export interface RecordingOptions {
  /** Name of the stack. */
  readonly stack: string;
  /** Config of the stack, as `pulumi.runtime.allConfig` gives it. Default: none. */
  readonly config?: Readonly<Record<string, string>>;
  /** What a provider adds to the inputs of a resource, which are without envelopes here. */
  readonly outputs: (type: string, name: string, inputs: Inputs) => Inputs | Promise<Inputs>;
}

export interface Recording<T> {
  readonly result: T;
  /** In the order of their registration, without the stack and providers. */
  readonly resources: readonly Recorded[];
  /** Inputs of each explicit provider, by `type::name`, the end of its URN. */
  readonly providers: ReadonlyMap<string, Inputs>;
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
  getPropertydependenciesMap(): { forEach(each: (urns: { getUrnsList(): string[] }, property: string) => void): void };
}

interface Monitor {
  newUrn(parent: string, type: string, name: string): string;
  registerResource(request: Request, callback: (error: unknown, response: unknown) => void): Promise<void>;
}

const project = 'meridian';
const stackType = 'pulumi:pulumi:Stack';

function inputsFrom(request: Request): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  request.getPropertydependenciesMap().forEach((urns, property) => (found[property] = urns.getUrnsList()));
  return found;
}

/** Without the stack's and the project's name. */
export const urnEnd = (urn: string): string => urn.split('::').slice(2).join('::');

/**
 * Pulumi asks where it is for every promise and every resource, by an error without a message, and keeps the answer as text. Of jest's hundred frames, each
 * looked up in a source map, that is three quarters of the time that a program takes. What says something, and so may be thrown, is told as ever.
 */
async function withoutPositions<T>(task: () => Promise<T>): Promise<T> {
  const { stackTraceLimit } = Error;
  const own = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace');
  const format = own?.value as ((error: Error, frames: readonly NodeJS.CallSite[]) => unknown) | undefined;
  Error.stackTraceLimit = 2;
  Error.prepareStackTrace = (error, frames): unknown => {
    if (error.message === '') return error.name;
    return format?.(error, frames) ?? [String(error), ...frames.map(String)].join('\n    at ');
  };
  try {
    return await task();
  } finally {
    if (own === undefined) Reflect.deleteProperty(Error, 'prepareStackTrace');
    else Object.defineProperty(Error, 'prepareStackTrace', own);
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/**
 * Runs a Pulumi program in this process and keeps what the engine would have got: every resource's inputs with the secrets still marked, and
 * its options. Nothing is deployed. Waits for all resources. One at a time: Pulumi's runtime is global.
 *
 * An output that fails is a rejection that nobody handles: whoever calls this sees to `unhandledRejection` (jest does).
 * @throws what the program throws
 */
export async function record<T>(program: () => T, { stack, config, outputs }: RecordingOptions): Promise<Recording<T>> {
  const mocks: pulumi.runtime.Mocks = {
    newResource: async ({ type, name, inputs }) => ({
      id: `${name}-id`,
      state: { ...(inputs as Inputs), ...(await outputs(type, name, plain(inputs) as Inputs)) },
    }),
    call: ({ inputs }) => inputs as Inputs,
  };
  await pulumi.runtime.setMocks(mocks, project, stack);
  if (config !== undefined) pulumi.runtime.setAllConfig({ ...config });

  const requests: { request: Request; raw: Inputs }[] = [];
  const monitor = pulumi.runtime.getMonitor() as unknown as Monitor;
  // That of the mocks knows one component above, and counts the stack as one.
  const urnOf = (parent: string, type: string, name: string): string => {
    const [, , types = stackType] = parent.split('::');
    return `urn:pulumi:${stack}::${project}::${types === stackType ? type : `${types}$${type}`}::${name}`;
  };
  monitor.newUrn = urnOf;
  const register = monitor.registerResource.bind(monitor);
  monitor.registerResource = (request, callback) => {
    requests.push({ request, raw: request.getObject()?.toJavaScript() ?? {} });
    return register(request, callback);
  };

  const result = await withoutPositions(async () => {
    const made = program();
    await pulumi.runtime.disconnect();
    return made;
  });

  const isProvider = ({ request }: { request: Request }): boolean => request.getType().startsWith('pulumi:providers:');
  const resources = requests
    .filter(({ request }) => !/^pulumi:(pulumi|providers):/.test(request.getType()))
    .map(({ request, raw }): Recorded => ({
      type: request.getType(),
      name: request.getName(),
      urn: urnEnd(urnOf(request.getParent(), request.getType(), request.getName())),
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
      inputsFrom: inputsFrom(request),
    }));
  const providers = new Map(
    requests
      .filter(isProvider)
      .map(({ request, raw }) => [`${request.getType()}::${request.getName()}`, plain(raw) as Inputs]),
  );
  return { result, resources, providers };
}
