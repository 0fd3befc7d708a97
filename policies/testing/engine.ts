/**
 * For tests only: the policy pack as a process, and its other end as the engine has it. So a deployment that was recorded is checked by the same program,
 * over the same protocol (https://github.com/pulumi/pulumi/blob/master/proto/pulumi/analyzer.proto), as by `pulumi preview --policy-pack`.
 */
import { credentials, type ServiceError } from '@grpc/grpc-js';
import { AnalyzerClient } from '@pulumi/pulumi/proto/analyzer_grpc_pb';
import * as protocol from '@pulumi/pulumi/proto/analyzer_pb';
import { Empty } from 'google-protobuf/google/protobuf/empty_pb';
import { type JavaScriptValue, Struct } from 'google-protobuf/google/protobuf/struct_pb';
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';

const packDir = path.join(__dirname, '..');
const startTimeoutMs = 120_000;

/** A resource as a program registered it; components/testing records it so. */
export interface Registered {
  readonly type: string;
  readonly name: string;
  /** The end of its URN, from the types on. */
  readonly urn: string;
  /** Inputs as sent: what is secret stands in an envelope, what is unknown is a text that says so. */
  readonly raw: Readonly<Record<string, unknown>>;
  readonly protect: boolean;
  /** Reference of the provider; undefined is the default one. */
  readonly provider: string | undefined;
  /** URNs. */
  readonly dependsOn: readonly string[];
  /** URNs, by the inputs that are made of them. Default: none. */
  readonly inputsFrom?: Readonly<Record<string, readonly string[]>>;
}

/** What the pack says about a resource, or about a stack. */
export interface Violation {
  readonly policy: string;
  /** `type name` of the resource; empty for the stack. */
  readonly resource: string;
  readonly message: string;
  readonly isMandatory: boolean;
}

/** Settings of a policy, and the level, which a config always says. */
interface PolicySettings extends Readonly<Record<string, unknown>> {
  readonly level: keyof typeof protocol.EnforcementLevel;
}

export class Engine {
  private constructor(
    private readonly child: ChildProcess,
    private readonly client: AnalyzerClient,
  ) {}

  /**
   * Starts the pack, as the engine does.
   * @param dir of the pack; default: the sources
   * @param config of the stack, as the engine hands it on
   */
  static async start(dir = packDir, config: Readonly<Record<string, string>> = {}): Promise<Engine> {
    const program = require.resolve('@pulumi/pulumi/cmd/run-policy-pack');
    const child = spawn(process.execPath, [program, '127.0.0.1:1', '.'], {
      cwd: dir,
      env: { ...process.env, PULUMI_CONFIG: JSON.stringify(config) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const port = await portOf(child);
    return new Engine(child, new AnalyzerClient(`127.0.0.1:${port}`, credentials.createInsecure()));
  }

  /** Names of the pack and of its policies. */
  async info(): Promise<{ name: string; policies: string[] }> {
    const info = await call<protocol.AnalyzerInfo>((done) => this.client.getAnalyzerInfo(new Empty(), done));
    return { name: info.getName(), policies: info.getPoliciesList().map((policy) => policy.getName()) };
  }

  /** Gives policies settings and levels; all others have their defaults again. */
  async configure(policies: Readonly<Record<string, PolicySettings>>): Promise<void> {
    const request = new protocol.ConfigureAnalyzerRequest();
    for (const [policy, { level, ...properties }] of Object.entries(policies)) {
      const config = new protocol.PolicyConfig();
      config.setEnforcementlevel(protocol.EnforcementLevel[level]);
      config.setProperties(structOf(properties));
      request.getPolicyconfigMap().set(policy, config);
    }
    await call<Empty>((done) => this.client.configure(request, done));
  }

  /**
   * What the pack says: of each resource by itself, then of all together.
   * @param stack its name
   */
  async violations(resources: readonly Registered[], stack: string): Promise<Violation[]> {
    const whole = (end: string): string => `urn:pulumi:${stack}::meridian::${end}`;
    const urnOf = (resource: Registered): string => whole(resource.urn);
    const found: Violation[] = [];
    for (const resource of resources) {
      const request = filled(new protocol.AnalyzeRequest(), resource, urnOf);
      const response = await call<protocol.AnalyzeResponse>((done) => this.client.analyze(request, done));
      found.push(...response.getDiagnosticsList().map((one) => violation(one, nameOf(resource))));
    }
    const inStack = (urn: string): string => whole(urn.split('::').slice(2).join('::'));
    const request = new protocol.AnalyzeStackRequest();
    request.setResourcesList(
      resources.map((resource) => {
        const message = filled(new protocol.AnalyzerResource(), resource, urnOf);
        message.setDependenciesList(resource.dependsOn.map(inStack));
        for (const [key, urns] of Object.entries(resource.inputsFrom ?? {})) {
          const dependencies = new protocol.AnalyzerPropertyDependencies();
          dependencies.setUrnsList(urns.map(inStack));
          message.getPropertydependenciesMap().set(key, dependencies);
        }
        return message;
      }),
    );
    const response = await call<protocol.AnalyzeResponse>((done) => this.client.analyzeStack(request, done));
    const byUrn = new Map(resources.map((resource) => [urnOf(resource), nameOf(resource)]));
    found.push(...response.getDiagnosticsList().map((one) => violation(one, byUrn.get(one.getUrn()) ?? '')));
    return found;
  }

  /** Ends the process, and waits for its end. */
  async stop(): Promise<void> {
    this.client.close();
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const over = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await over;
  }
}

const nameOf = ({ type, name }: Registered): string => `${type.split(':').at(-1) ?? ''} ${name}`;

const structOf = (value: Readonly<Record<string, unknown>>): Struct =>
  Struct.fromJavaScript(value as Record<string, JavaScriptValue>);

function violation(diagnostic: protocol.AnalyzeDiagnostic, resource: string): Violation {
  return {
    policy: diagnostic.getPolicyname(),
    resource,
    message: diagnostic.getMessage(),
    isMandatory: diagnostic.getEnforcementlevel() === protocol.EnforcementLevel.MANDATORY,
  };
}

function filled<T extends protocol.AnalyzeRequest | protocol.AnalyzerResource>(
  message: T,
  resource: Registered,
  urnOf: (resource: Registered) => string,
): T {
  message.setType(resource.type);
  message.setName(resource.name);
  message.setUrn(urnOf(resource));
  message.setProperties(structOf(resource.raw));
  message.setOptions(new protocol.AnalyzerResourceOptions().setProtect(resource.protect));
  if (resource.provider !== undefined) {
    const provider = new protocol.AnalyzerProviderResource();
    message.setProvider(provider.setUrn(resource.provider).setProperties(structOf({})));
  }
  return message;
}

async function call<T>(send: (done: (error: ServiceError | null, response: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) =>
    send((error, response) => (error === null ? resolve(response) : reject(error))),
  );
}

/** The pack says its port first. @throws Error with all that it said, where it does not start */
async function portOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = '';
    const timer = setTimeout(() => fail(`not within ${startTimeoutMs} ms`), startTimeoutMs);
    const fail = (why: string): void => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      reject(new Error(`the policy pack did not start: ${why}\n${said}`));
    };
    child.once('exit', (code) => fail(`exit code ${code ?? 'none'}`));
    child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    child.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      const port = /^(\d+)\n/m.exec(said)?.[1];
      if (port === undefined) return;
      clearTimeout(timer);
      child.removeAllListeners('exit');
      resolve(Number(port));
    });
  });
}
