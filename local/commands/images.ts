import { type ImageUse, imageName, imagesOf, isPinned, type StackImage } from '../../model';
import { errorText } from '../errors';
import { digestOf } from '../registry';
import { readStack } from '../stack';
import { renderTable } from '../table';
import { type CommonOptions, print } from './common';

export interface ImagesOptions extends CommonOptions {
  readonly config?: string;
  /** Ask registries for the digests of what is not pinned. */
  readonly resolve?: boolean;
}

/** An image of a stack, with what its registry has said of its tag. */
interface Found extends StackImage {
  /** Undefined: the registry was not asked. */
  readonly resolved?: { readonly digest: string } | { readonly failure: string };
}

/** The images of all containers that a stack's config deploys, and what pins those that are not. Exit status 1: a digest was to be looked up, and was not found. */
export async function images(options: ImagesOptions): Promise<void> {
  const { file, config } = readStack(options.stack, options.config);
  const found: Found[] = await Promise.all(
    imagesOf(config).map(async (each) =>
      options.resolve && !isOf(each) ? { ...each, resolved: await resolve(each) } : each,
    ),
  );
  const json = { stack: options.stack, file, pinned: found.every(isOf), images: found.map(jsonOf) };
  print(options, json, found.length === 0 ? [noneOf(options)] : linesOf(options, found));
  if (found.some(({ resolved }) => resolved !== undefined && 'failure' in resolved)) process.exitCode = 1;
}

async function resolve({ image }: StackImage): Promise<Exclude<Found['resolved'], undefined>> {
  if (image === undefined) return { failure: 'no image is named' };
  const name = imageName(image);
  if (name.digest !== undefined && name.tag === undefined) return { failure: 'there is no tag to look up' };
  try {
    return { digest: await digestOf(name) };
  } catch (error) {
    return { failure: errorText(error) };
  }
}

const isOf = ({ image }: StackImage): boolean => image !== undefined && isPinned(image);
const keyOf = ({ key }: StackImage): string => `meridian:kubernetes.${key}`;
const noneOf = ({ stack }: ImagesOptions): string =>
  `Stack '${stack}' runs as processes of this machine: it has no images.`;

/** What `--json` prints of an image. */
function jsonOf(found: Found) {
  const { image, isDefault, uses, resolved } = found;
  const { repository, tag, digest } = imageName(image ?? '');
  return {
    ...{ key: keyOf(found), isDefault, image: image ?? null },
    ...{ repository: image === undefined ? null : repository, tag: tag ?? null, digest: digest ?? null },
    ...{ pinned: isOf(found), uses },
    ...(resolved === undefined ? {} : { resolved: { digest: null, failure: null, ...resolved } }),
  };
}

function linesOf({ stack }: ImagesOptions, found: readonly Found[]): string[] {
  const rows = found.flatMap((each) => each.uses.map((use) => rowOf(each, use)));
  const open = found.filter((each) => !isOf(each));
  const columns = ['COMPONENT', 'CONTAINER', 'IMAGE', 'TAG', 'DIGEST', 'CONFIG KEY', 'REGIONS'];
  return [
    ...renderTable(
      columns.map((title) => ({ title })),
      rows,
    ),
    '',
    ...(open.length === 0
      ? ['All images are pinned by digest.']
      : [
          `Not pinned by digest, which the policy image-digests asks for in production:`,
          ...open.flatMap((each) => pinning(stack, each)),
        ]),
  ];
}

function rowOf(each: StackImage, { component, container, regions }: ImageUse): string[] {
  const { image = '', isDefault } = each;
  const { repository, tag, digest } = imageName(image);
  const key = isDefault && image !== '' ? `${keyOf(each)} (default)` : keyOf(each);
  return [component, container, repository || 'none', tag ?? '-', shortOf(digest), key, regions.join(', ')];
}

function shortOf(digest: string | undefined): string {
  if (digest === undefined) return '-';
  return /^sha256:0{64}$/.test(digest) ? 'zeros' : digest.slice(0, 'sha256:'.length + 12);
}

/** What a person has to do: find the digest, and write it into the config. */
function pinning(stack: string, each: Found): string[] {
  const { image, resolved } = each;
  const set = (repository: string, digest = 'sha256:…'): string =>
    `  pulumi config set --stack ${stack} --path ${keyOf(each)} ${repository}@${digest}`;
  if (image === undefined) return ['', `  ${keyOf(each)} names none, and has no default:`, set('REGISTRY/meridian')];
  const { repository, tag, digest } = imageName(image);
  const why = resolved !== undefined && 'failure' in resolved ? [`  ${image}: ${resolved.failure}.`] : [];
  if (digest !== undefined && tag === undefined) {
    const what =
      shortOf(digest) === 'zeros' ? 'a digest of nothing but zeros, as examples have' : 'a digest that is none';
    const of = `  ${repository} has ${what}; of the tag that you have pushed:`;
    return ['', of, ...inspect(`${repository}:TAG`), set(repository)];
  }
  const name = `${repository}:${tag ?? 'latest'}`;
  if (resolved !== undefined && 'digest' in resolved)
    return ['', `  ${name} is, at the moment:`, set(repository, resolved.digest)];
  return ['', ...why, ...inspect(name), set(repository)];
}

const inspect = (name: string): string[] => [
  `  docker buildx imagetools inspect ${name} --format '{{.Manifest.Digest}}'`,
];
