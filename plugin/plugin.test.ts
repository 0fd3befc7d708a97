import * as grpc from '@grpc/grpc-js';
import { ResourceProviderClient } from '@pulumi/pulumi/proto/provider_grpc_pb';
import { ConstructRequest, type ConstructResponse, GetSchemaRequest } from '@pulumi/pulumi/proto/provider_pb';
import { ResourceMonitorService } from '@pulumi/pulumi/proto/resource_grpc_pb';
import {
  type RegisterResourceRequest,
  RegisterResourceResponse,
  type SupportsFeatureRequest,
  SupportsFeatureResponse,
} from '@pulumi/pulumi/proto/resource_pb';
import { Empty } from 'google-protobuf/google/protobuf/empty_pb';
import { type JavaScriptValue, Struct } from 'google-protobuf/google/protobuf/struct_pb';
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.join(__dirname, '..');
const frozen = JSON.parse(readFileSync(path.join(__dirname, 'schema.json'), 'utf8')) as unknown;

/** Starts a folder as Pulumi does, in the folder of the program that wants it, and ends it. */
async function withPlugin<T>(
  dir: string,
  use: (client: ResourceProviderClient) => Promise<T>,
  programDir = dir,
): Promise<T> {
  const program = require.resolve('@pulumi/pulumi/cmd/run-plugin');
  const child = spawn(process.execPath, [program, dir, '127.0.0.1:1'], {
    cwd: programDir,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    const port = await new Promise<string>((resolve, reject) => {
      child.stdout.once('data', (line: Buffer) => resolve(line.toString().trim()));
      child.once('exit', (code) => reject(new Error(`the host ended with ${code}`)));
    });
    const client = new ResourceProviderClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    try {
      return await use(client);
    } finally {
      client.close();
    }
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

const schemaOf = (client: ResourceProviderClient): Promise<unknown> =>
  new Promise((resolve, reject) => {
    client.getSchema(new GetSchemaRequest(), (error, response) => {
      if (error === null) resolve(JSON.parse(response.getSchema()));
      else reject(new Error(error.details));
    });
  });

test("Pulumi's own host of component packages takes this folder, and tells its schema", async () => {
  expect(await withPlugin(__dirname, schemaOf)).toEqual(frozen);
  // It compiles everything twice, to run and to analyse it.
}, 240_000);

describe('put together, and away from the checkout', () => {
  const above = mkdtempSync(path.join(tmpdir(), 'meridian-plugin-'));
  const dir = path.join(above, 'plugin');
  const registered: string[] = [];
  const monitor = new grpc.Server();
  let monitorPort = 0;

  beforeAll(async () => {
    execFileSync(process.execPath, [path.join(root, 'scripts/plugin.mjs'), '--out', dir], { cwd: above });
    // What `pulumi package add` installs by the folder's package.json.
    symlinkSync(path.join(root, 'node_modules'), path.join(above, 'node_modules'));
    monitor.addService(ResourceMonitorService, engine(registered));
    monitorPort = await new Promise<number>((resolve, reject) => {
      monitor.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
  }, 60_000);
  afterAll(() => {
    monitor.forceShutdown();
    rmSync(above, { recursive: true, force: true });
  });

  const construct = (client: ResourceProviderClient, type: string, inputs: object): Promise<ConstructResponse> => {
    const request = new ConstructRequest();
    request.setProject('shop').setStack('prod').setMonitorendpoint(`127.0.0.1:${monitorPort}`).setParallel(8);
    request.setType(type).setName('redis').setInputs(structOf(inputs));
    return new Promise((resolve, reject) => {
      client.construct(request, (error, response) => (error === null ? resolve(response) : reject(error)));
    });
  };

  test('it names what it needs, and holds neither sources nor tests', () => {
    const { dependencies, main } = JSON.parse(readFileSync(path.join(dir, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
      main: string;
    };
    expect(Object.entries(dependencies).filter(([name]) => name.startsWith('@pulumi/'))).toEqual(
      ['alicloud', 'aws', 'kubernetes', 'pulumi', 'random', 'tls'].map((name) => [
        `@pulumi/${name}`,
        expect.stringMatching(/^\d+\.\d+\.\d+$/) as unknown,
      ]),
    );
    expect(Object.values(dependencies)).not.toContain(undefined);
    // The host's own, of 2020, refuses a tsconfig.json of today, and it is the user's that the host reads.
    expect(dependencies.typescript).toMatch(/^~\d+\.\d+\.\d+$/);
    const files = readdirSync(dir, { recursive: true, encoding: 'utf8' });
    expect(files).toEqual(expect.arrayContaining(['LICENSE', 'PulumiPlugin.yaml', main]));
    expect(files.filter((file) => /\.ts$|testing|\.test\./.test(file))).toEqual([]);
  });

  test("Pulumi's own host runs it: the same schema, and a component with all that it makes", async () => {
    expect(existsSync(path.join(dir, 'node_modules'))).toBe(false);
    const programDir = path.join(above, 'program');
    mkdirSync(programDir);
    const tsconfig = { compilerOptions: { strict: true, target: 'es2022', module: 'nodenext' }, files: ['index.ts'] };
    writeFileSync(path.join(programDir, 'tsconfig.json'), JSON.stringify(tsconfig));
    const use = async (client: ResourceProviderClient): Promise<void> => {
      expect(await schemaOf(client)).toEqual(frozen);
      const secrets = {
        aclSecretName: 'acl',
        nodeSecretName: 'node',
        exporterSecretName: 'exporter',
        tlsSecretName: 'tls',
      };
      const args = { region: 'west', namespace: 'shop', ...secrets };
      const made = await construct(client, 'meridian:index:KubernetesRedis', args);
      expect(made.getUrn()).toBe('urn:pulumi:prod::shop::meridian:index:KubernetesRedis::redis');
      expect(made.getState()?.toJavaScript()).toMatchObject({ host: 'redis.shop.svc.cluster.local', port: 6379 });
      expect(registered).toEqual(
        expect.arrayContaining(['kubernetes:apps/v1:StatefulSet redis', 'kubernetes:core/v1:ConfigMap redis-scripts']),
      );
      await expect(construct(client, 'meridian:index:KubernetesRedis', { ...args, sentinels: 1 })).rejects.toThrow(
        /KubernetesRedis 'redis' has bad arguments:\nsentinels: found 1; allowed: a whole number from 3 to 9/,
      );
      await expect(construct(client, 'meridian:index:Nothing', {})).rejects.toThrow(
        /meridian:index:Nothing is none of meridian:index:ActiveActiveRedis, /,
      );
    };
    await withPlugin(dir, use, programDir);
  }, 120_000);
});

const structOf = (value: object): Struct => Struct.fromJavaScript(value as Record<string, JavaScriptValue>);

/** The engine's side of a deployment: it takes what is registered, and gives IDs. */
function engine(registered: string[]): grpc.UntypedServiceImplementation {
  return {
    supportsFeature: (_: { request: SupportsFeatureRequest }, done: grpc.sendUnaryData<SupportsFeatureResponse>) =>
      done(null, new SupportsFeatureResponse().setHassupport(true)),
    registerResource: (
      { request }: { request: RegisterResourceRequest },
      done: grpc.sendUnaryData<RegisterResourceResponse>,
    ) => {
      const [type, name] = [request.getType(), request.getName()];
      registered.push(`${type} ${name}`);
      const response = new RegisterResourceResponse();
      response.setUrn(`urn:pulumi:prod::shop::${type}::${name}`).setId(`${name}-id`);
      done(null, response.setObject(request.getObject() ?? structOf({})));
    },
    registerResourceOutputs: (_: unknown, done: grpc.sendUnaryData<Empty>) => done(null, new Empty()),
  };
}
