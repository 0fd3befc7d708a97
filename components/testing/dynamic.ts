/** For tests only: Pulumi's own host of dynamic providers, started and asked as the engine does it. */
import * as grpc from '@grpc/grpc-js';
import { ResourceProviderClient } from '@pulumi/pulumi/proto/provider_grpc_pb';
import * as messages from '@pulumi/pulumi/proto/provider_pb';
import { Struct } from 'google-protobuf/google/protobuf/struct_pb';
import { type ChildProcess, spawn } from 'node:child_process';

export type Properties = Record<string, unknown>;

type Answer<Response> = (error: grpc.ServiceError | null, response: Response) => void;

/** One host; a deployment of Pulumi starts one and ends it. */
export class DynamicHost {
  private constructor(
    private readonly child: ChildProcess,
    private readonly client: ResourceProviderClient,
  ) {}

  /** @param cwd the folder of the project: what is not built into Node.js is loaded from there */
  static async start(cwd: string, env: NodeJS.ProcessEnv = process.env): Promise<DynamicHost> {
    const program = require.resolve('@pulumi/pulumi/cmd/dynamic-provider');
    // A process group of its own: the engine ends it as a whole.
    const child = spawn(process.execPath, [program, '127.0.0.1:1'], {
      cwd,
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const port = await new Promise<string>((resolve, reject) => {
      child.stdout.once('data', (line: Buffer) => resolve(line.toString().trim()));
      child.once('exit', (code) => reject(new Error(`the host of dynamic providers ended with ${code}`)));
    });
    const client = new ResourceProviderClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    const host = new DynamicHost(child, client);
    const configuration = new messages.ConfigureRequest();
    configuration.setArgs(structOf({}));
    await ask<messages.ConfigureResponse>((answer) => client.configure(configuration, answer));
    return host;
  }

  /** As the engine does it: the whole group, at once. */
  async stop(): Promise<void> {
    this.client.close();
    if (this.child.exitCode !== null || this.child.pid === undefined) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    process.kill(-this.child.pid, 'SIGKILL');
    await ended;
  }

  async check(olds: Properties, news: Properties): Promise<{ inputs: Properties; failures: string[] }> {
    const request = new messages.CheckRequest();
    request.setOlds(structOf(olds));
    request.setNews(structOf(news));
    const response = await ask<messages.CheckResponse>((answer) => this.client.check(request, answer));
    const failures = response.getFailuresList().map((failure) => `${failure.getProperty()}: ${failure.getReason()}`);
    return { inputs: propertiesOf(response.getInputs()), failures };
  }

  async diff(id: string, olds: Properties, news: Properties): Promise<{ changes: boolean; replaces: string[] }> {
    const request = new messages.DiffRequest();
    request.setId(id);
    request.setOlds(structOf(olds));
    request.setNews(structOf(news));
    const response = await ask<messages.DiffResponse>((answer) => this.client.diff(request, answer));
    const changes = response.getChanges() !== messages.DiffResponse.DiffChanges.DIFF_NONE;
    return { changes, replaces: response.getReplacesList() };
  }

  async create(inputs: Properties): Promise<{ id: string; outputs: Properties }> {
    const request = new messages.CreateRequest();
    request.setProperties(structOf(inputs));
    const response = await ask<messages.CreateResponse>((answer) => this.client.create(request, answer));
    return { id: response.getId(), outputs: propertiesOf(response.getProperties()) };
  }

  /** The id is empty where there is no such resource any more. */
  async read(id: string, state: Properties): Promise<{ id: string; outputs: Properties }> {
    const request = new messages.ReadRequest();
    request.setId(id);
    request.setProperties(structOf(state));
    const response = await ask<messages.ReadResponse>((answer) => this.client.read(request, answer));
    return { id: response.getId(), outputs: propertiesOf(response.getProperties()) };
  }

  async update(id: string, olds: Properties, news: Properties): Promise<Properties> {
    const request = new messages.UpdateRequest();
    request.setId(id);
    request.setOlds(structOf(olds));
    request.setNews(structOf(news));
    return propertiesOf(
      (await ask<messages.UpdateResponse>((answer) => this.client.update(request, answer))).getProperties(),
    );
  }

  async delete(id: string, state: Properties): Promise<void> {
    const request = new messages.DeleteRequest();
    request.setId(id);
    request.setProperties(structOf(state));
    await ask((answer) => this.client.delete(request, answer));
  }
}

function ask<Response>(call: (answer: Answer<Response>) => unknown): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => {
      if (error !== null) reject(new Error(error.details));
      else resolve(response);
    });
  });
}

function structOf(properties: Properties): Struct {
  return Struct.fromJavaScript(properties as Parameters<typeof Struct.fromJavaScript>[0]);
}

function propertiesOf(struct: Struct | undefined): Properties {
  return struct?.toJavaScript() ?? {};
}
