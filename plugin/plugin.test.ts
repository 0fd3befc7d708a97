import * as grpc from '@grpc/grpc-js';
import { ResourceProviderClient } from '@pulumi/pulumi/proto/provider_grpc_pb';
import { GetSchemaRequest } from '@pulumi/pulumi/proto/provider_pb';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

test("Pulumi's own host of component packages takes this folder, and tells its schema", async () => {
  const program = require.resolve('@pulumi/pulumi/cmd/run-plugin');
  const child = spawn(process.execPath, [program, '.', '127.0.0.1:1'], {
    cwd: __dirname,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    const port = await new Promise<string>((resolve, reject) => {
      child.stdout.once('data', (line: Buffer) => resolve(line.toString().trim()));
      child.once('exit', (code) => reject(new Error(`the host ended with ${code}`)));
    });
    const client = new ResourceProviderClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    const text = await new Promise<string>((resolve, reject) => {
      client.getSchema(new GetSchemaRequest(), (error, response) => {
        if (error === null) resolve(response.getSchema());
        else reject(new Error(error.details));
      });
    });
    client.close();
    expect(JSON.parse(text)).toEqual(JSON.parse(readFileSync(path.join(__dirname, 'schema.json'), 'utf8')));
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
  // It compiles everything twice, to run and to analyse it.
}, 240_000);
