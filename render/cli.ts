import path from 'node:path';

import { Command } from 'commander';

import { RenderError } from './error';
import { writeFolder } from './folder';
import { type Manifests, yamlOf } from './manifests';
import { render } from './render';
import { readConfig } from './stackfile';
import { counted } from '../model/counted';

// `npm run render`: the stack's manifests as files.

interface Options {
  readonly stack: string;
  readonly file?: string;
  readonly out: string;
  readonly set?: readonly string[];
  readonly secrets?: boolean;
  readonly state?: string;
  readonly json?: boolean;
}

const program = new Command('render')
  .description(
    'Writes the manifests that `pulumi up` would deploy for a stack on Kubernetes, one YAML file for each object, a folder for each namespace ' +
      '(and for each cluster, where there are several).',
  )
  .requiredOption('--stack <name>', 'the stack; its config is Pulumi.<name>.yaml, unless --file says another')
  .requiredOption(
    '--out <dir>',
    'where to write; files of an earlier render there that are no longer needed are removed',
  )
  .option('--file <file>', "the stack's config (default: Pulumi.<stack>.yaml)")
  .option(
    '--set <key=value>',
    'another value of the config; may be repeated',
    (one: string, all: string[] | undefined) => [...(all ?? []), one],
  )
  .option(
    '--state <file>',
    'keeps passwords, keys and certificates, so that the next render has the same; it is a secret',
  )
  .option('--secrets', 'write the values of Secrets, rather than references to where they come from')
  .option('--json', 'for programs: a list of what was written, as one JSON text on stdout')
  .showHelpAfterError('(--help shows how)')
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error:/, 'meridian:')) })
  .addHelpText(
    'after',
    `
Examples:
  npm run render -- --stack dev --out manifests
      for a repository: Secrets hold references such as <password of …, from RandomPassword …>
  npm run render -- --stack dev --out /dev/shm/manifests --secrets --state dev-state.json
  kubectl apply --server-side -R -f /dev/shm/manifests
      a mesh that works; rendered again with the same state it is the same`,
  );

async function main(options: Options): Promise<void> {
  const { stack, out, json, secrets = false, state } = options;
  const config = readConfig(path.resolve(options.file ?? `Pulumi.${stack}.yaml`), options.set ?? []);
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  const rendered = await render(() => require('../index') as unknown, {
    stack,
    config,
    secrets,
    ...(state === undefined ? {} : { state: path.resolve(state) }),
  });
  if (rendered.manifests.length === 0)
    throw new RenderError(`stack ${stack} has nothing on Kubernetes; allowed: regions with backend kubernetes`);

  // An address that a provider gives would be left out of the manifests without a word.
  if (rendered.others.length > 0)
    throw new RenderError(
      `stack ${stack} has ${rendered.others.length} resources of other providers, such as ${rendered.others[0] ?? ''}, whose addresses nobody ` +
        'knows before they are there; allowed: a stack with all of its regions on Kubernetes. Deploy this one by `pulumi up`.',
    );

  const mark = `# Rendered from stack ${stack} of Meridian; changes here are lost.\n`;
  const files = new Map(rendered.manifests.map((manifest) => [manifest.file, mark + textOf(manifest)]));
  const removed = writeFolder(path.resolve(out), files, mark, secrets ? 0o600 : 0o644);
  if (json) console.log(JSON.stringify({ stack, out: path.resolve(out), ...listing(rendered), removed }, undefined, 2));
  else say(options, rendered, removed);
}

function textOf(manifest: Manifests['manifests'][number]): string {
  const isReferring = manifest.references.length > 0;
  return yamlOf(manifest, isReferring ? [`References, not values: ${manifest.references.join(', ')}.`] : []);
}

const listing = ({ manifests }: Manifests) => ({
  manifests: manifests.map(({ object: _, context, namespace, ...shown }) => ({
    ...shown,
    ...(context === undefined ? {} : { context }),
    ...(namespace === undefined ? {} : { namespace }),
  })),
});

function say({ stack, out, secrets, state }: Options, { manifests }: Manifests, removed: readonly string[]): void {
  const contexts = [...new Set(manifests.map(({ context }) => context))];
  const references = manifests.flatMap((manifest) => manifest.references);
  console.log(
    `Stack ${stack}: ${manifests.length} manifests in ${out}${removed.length > 0 ? `, ${counted(removed.length, 'old one')} removed` : ''}.`,
  );
  if (references.length > 0)
    console.log(
      `${counted(references.length, 'value of Secrets is a reference', 'values of Secrets are references')}; --secrets writes them.`,
    );
  if (secrets && state === undefined)
    console.error(
      'meridian: without --state the next render makes other passwords and certificates: keep these, or use --state',
    );
  for (const context of contexts) {
    const [dir, flag] =
      contexts.length > 1
        ? [path.join(out, context ?? 'current-context'), `--context ${context ?? ''}`]
        : [out, context === undefined ? '' : `--context ${context}`];
    console.log(`Apply: kubectl${flag === '' ? '' : ` ${flag}`} apply --server-side -R -f ${dir}`);
  }
}

main(program.parse().opts<Options>()).catch((error: unknown) => {
  if (!(error instanceof RenderError)) throw error;
  console.error(`meridian: ${error.message}`);
  process.exitCode = 1;
});
