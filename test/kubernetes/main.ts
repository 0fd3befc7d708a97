/** `npm run e2e:kubernetes`: the dev stack in the cluster of KUBECONFIG, from its manifests to the loss of a whole region. */
import path from 'node:path';

import { Command, Option } from 'commander';

import { customDefinitionFiles } from '../../components/testing/crds';
import { Clients, type Region } from './clients';
import { collectDiagnostics, namespacesOf } from './diagnostics';
import { kubectl } from './kubectl';
import { DeployedMesh, strictly } from './mesh';
import { applyAgain, breakMesh, checkProcesses, settle } from './scenario';
import { checkClusterTopology } from './topologies';
import {
  dryRun,
  type Images,
  inFolder,
  inNamespaces,
  renderProgram,
  renderStack,
  stacks,
  topologies,
} from './variants';

interface Options {
  readonly agentImage?: string;
  readonly redisImage?: string;
  readonly exporterImage?: string;
  readonly imagePullPolicy: string;
  readonly diagnostics: string;
  readonly keep: boolean;
  readonly only?: string[];
}

const steps = ['variants', 'mesh', 'cluster'] as const;
type Step = (typeof steps)[number];

const started = Date.now();
const say = (line: string): void => {
  const seconds = ((Date.now() - started) / 1000).toFixed(0).padStart(4);
  console.log(`${seconds} s  ${line}`);
};

const env = (name: string): string => `MERIDIAN_${name}_IMAGE`;
const image = (name: string, of: string): Option =>
  new Option(`--${name}-image <name>`, `image of ${of}`).env(env(name.toUpperCase()));

const program = new Command('e2e:kubernetes')
  .description(
    'Deploys the dev stack into the cluster of KUBECONFIG, breaks it while clients write, and compares what all regions hold. ' +
      'Takes about four minutes; uses the namespaces redis-* and meridian-*, and removes them at the end. Needs kubectl, and Go for the CRDs.',
  )
  .addOption(image('agent', 'the agent (default: as in Pulumi.dev.yaml)'))
  .addOption(image('redis', 'Redis (default: as in Pulumi.dev.yaml)'))
  .addOption(image('exporter', 'redis_exporter (default: the official one)'))
  .addOption(
    new Option('--image-pull-policy <policy>', 'Never for images that are on the nodes only').default('IfNotPresent'),
  )
  .option('--diagnostics <dir>', 'where pods, events and logs go after a failure', 'meridian-e2e-diagnostics')
  .option('--keep', 'leave the mesh in the cluster', false)
  .addOption(new Option('--only <steps...>', 'a part of it').choices(steps));

async function main(options: Options): Promise<void> {
  const isWanted = (step: Step): boolean => options.only?.includes(step) ?? true;
  say(
    `cluster: ${kubectl(['version', '-o', 'json']).match(/"serverVersion"[^}]*"gitVersion": "([^"]+)"/)?.[1] ?? '?'}`,
  );
  loadCustomDefinitions();
  if (isWanted('variants')) await checkVariants(imagesOf(options));
  if (isWanted('cluster')) await checkClusterTopology(imagesOf(options), say, options);
  if (isWanted('mesh')) await checkMesh(options);
  say('all is well');
}

const imagesOf = ({ agentImage, redisImage, exporterImage, imagePullPolicy }: Options): Images => ({
  agent: agentImage ?? 'localhost/meridian:dev',
  redis: redisImage ?? 'docker.io/library/redis:7.2',
  exporter: exporterImage ?? 'docker.io/oliver006/redis_exporter:v1.67.0',
  pullPolicy: imagePullPolicy,
});

function loadCustomDefinitions(): void {
  const { files, reason } = customDefinitionFiles();
  if (files === undefined) throw new Error(reason);
  kubectl([...strictly, ...files.flatMap((file) => ['-f', file])]);
  kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
  say('definitions of Istio, the Prometheus operator and cert-manager are loaded');
}

/** What of the config says the images. */
function settingsOf(options: Options): string[] {
  const set = (key: string, value: string | undefined): string[] =>
    value === undefined ? [] : ['--set', `meridian:kubernetes.${key}=${value}`];
  return [
    ...set('agentImage', options.agentImage),
    ...set('redisImage', options.redisImage),
    ...set('exporterImage', options.exporterImage),
    ...set('imagePullPolicy', options.imagePullPolicy),
  ];
}

const regionNames = ['us-west-2', 'eu-central-1', 'ap-northeast-1'];
const regions: readonly Region[] = regionNames.map((name) => ({
  name,
  namespace: `redis-${name}`,
  redis: `redis-${name}`,
}));

async function checkVariants(images: Images): Promise<void> {
  const spaces = Object.keys(topologies).map((topology) => `meridian-${topology}`);
  await inNamespaces([...namespacesOf(regions), ...spaces], async () => {
    for (const [what, args] of Object.entries(stacks)) {
      await inFolder((dir) => {
        renderStack(dir, args);
        dryRun(what, dir, say);
      });
    }
    for (const [topology, makeProgram] of Object.entries(topologies)) {
      await inFolder(async (dir) => {
        await renderProgram(makeProgram(images), dir);
        dryRun(`topology ${topology}`, dir, say);
      });
    }
  });
}

async function checkMesh(options: Options): Promise<void> {
  const pullPolicy = options.imagePullPolicy;
  const { agent } = imagesOf(options);
  await inFolder(async (dir) => {
    const args = ['--stack', 'dev', '--state', path.join(dir, 'state.json'), ...settingsOf(options)];
    const manifests = path.join(dir, 'manifests');
    renderStack(manifests, args);
    const mesh = new DeployedMesh(regions, manifests);
    const clients = new Clients(regions, agent, pullPolicy);
    try {
      mesh.apply();
      say('the stack is applied');
      await mesh.ready(240);
      say('all pods are ready');
      await clients.start();
      await clients.progress('a new mesh', 60);
      say('clients write in all regions');
      await breakMesh(mesh, clients, say);
      await settle(mesh, clients, say);
      await checkProcesses(mesh, say);
      renderStack(manifests, args);
      applyAgain(mesh, say);
    } catch (error) {
      const first = collectDiagnostics(options.diagnostics, [...namespacesOf(regions), 'meridian-e2e']);
      console.error(`${first.join('\n')}\nmore in ${options.diagnostics}`);
      throw error;
    } finally {
      if (!options.keep) {
        clients.remove();
        mesh.remove();
      }
    }
  });
}

const options = program.parse().opts<Options>();
main(options).catch((error: unknown) => {
  say(`FAILED: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
