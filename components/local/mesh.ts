import * as pulumi from '@pulumi/pulumi';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { basePortDefault, links } from '../../model';
import { topologyOf } from '../agent';
import { checkArguments, childOptions, componentType } from '../common';
import { configOf, issuesOf, type LocalMeshArgs } from './args';
import { LocalProcesses } from './processes';
import { type LocalEndpoint } from './provider';

/**
 * The whole mesh as processes on the machine that Pulumi runs on, for development and tests: a Redis and an agent for each region, and who
 * starts again what dies. They are those of `meridian up --detach`, and the `meridian` command shows and breaks them. Any change of an argument restarts
 * them all and keeps the data; a region that leaves is waited for until the others have its changes, and its data goes.
 *
 * For Node.js programs only: a dynamic provider is the text of a program's functions, which no other language has.
 */
export class LocalMesh extends pulumi.ComponentResource {
  /** Where each region's Redis is, by region. */
  public readonly endpoints: pulumi.Output<{ [region: string]: LocalEndpoint }>;
  /** Whom each region sends changes to, by region. */
  public readonly links: pulumi.Output<{ [region: string]: string[] }>;
  /** The password of every user, `default` among them. Secret. */
  public readonly password: pulumi.Output<string>;
  /** Folder of data, logs and passwords: `--state-dir` of the `meridian` command. */
  public readonly stateDir: pulumi.Output<string>;

  constructor(name: string, args: LocalMeshArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments('LocalMesh', name, args, ['stack', 'regions'], () => issuesOf(args));
    const { stack, regions, basePort = basePortDefault } = args;
    super(componentType('LocalMesh'), name, args, opts);

    const stateDir = path.resolve(args.stateDir ?? path.join('.meridian', stack));
    const processes = new LocalProcesses(
      name,
      {
        ...programOfPackage(),
        stack,
        stateDir,
        basePort,
        redisServer: args.redisServer ?? '',
        config: JSON.stringify({ config: configOf(args) }),
        purge: args.purge ?? false,
      },
      childOptions(this),
    );
    const primary = regions.find((region) => region.primary === true)?.name;
    const names = regions.map((region) => region.name);
    this.endpoints = processes.endpoints;
    this.links = pulumi.output(links(topologyOf({ topology: args.topology, hub: args.hub ?? primary }), names));
    this.password = pulumi.secret(processes.password);
    this.stateDir = pulumi.output(stateDir);
    this.registerOutputs({
      endpoints: this.endpoints,
      links: this.links,
      password: this.password,
      stateDir: this.stateDir,
    });
  }
}

/** The `meridian` command of this very package, wherever this file was built to. */
function programOfPackage(): { program: string; version: string } {
  let dir = __dirname;
  while (!existsSync(path.join(dir, 'bin', 'meridian.js')) && path.dirname(dir) !== dir) dir = path.dirname(dir);
  const program = path.join(dir, 'bin', 'meridian.js');
  const { version } = JSON.parse(readFileSync(path.join(dir, 'package.json'), 'utf8')) as { version: string };
  return { program, version };
}
