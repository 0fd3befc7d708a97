import { type ImageUse, imageName, imagesOf, isPinned, type StackImage } from '../../model';
import { readStack } from '../stack';
import { renderTable } from '../table';
import { type CommonOptions, print } from './common';

export interface ImagesOptions extends CommonOptions {
  readonly config?: string;
}

/** The images of all containers that a stack's config deploys, and what pins those that are not. */
export function images(options: ImagesOptions): void {
  const { file, config } = readStack(options.stack, options.config);
  const found = imagesOf(config);
  const json = { stack: options.stack, file, pinned: found.every(isOf), images: found.map(jsonOf) };
  print(options, json, found.length === 0 ? [noneOf(options)] : linesOf(options, found));
}

const isOf = ({ image }: StackImage): boolean => image !== undefined && isPinned(image);
const keyOf = ({ key }: StackImage): string => `meridian:kubernetes.${key}`;
const noneOf = ({ stack }: ImagesOptions): string =>
  `Stack '${stack}' runs as processes of this machine: it has no images.`;

/** What `--json` prints of an image. */
function jsonOf(found: StackImage) {
  const { image, isDefault, uses } = found;
  const { repository, tag, digest } = imageName(image ?? '');
  return {
    ...{ key: keyOf(found), isDefault, image: image ?? null },
    ...{ repository: image === undefined ? null : repository, tag: tag ?? null, digest: digest ?? null },
    ...{ pinned: isOf(found), uses },
  };
}

function linesOf({ stack }: ImagesOptions, found: readonly StackImage[]): string[] {
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
function pinning(stack: string, each: StackImage): string[] {
  const set = (repository: string): string =>
    `  pulumi config set --stack ${stack} --path ${keyOf(each)} ${repository}@sha256:…`;
  if (each.image === undefined)
    return ['', `  ${keyOf(each)} names none, and has no default:`, set('REGISTRY/meridian')];
  const { repository, tag, digest } = imageName(each.image);
  if (digest !== undefined && tag === undefined) {
    const what =
      shortOf(digest) === 'zeros' ? 'a digest of nothing but zeros, as examples have' : 'a digest that is none';
    const why = `  ${repository} has ${what}; of the tag that you have pushed:`;
    return ['', why, ...inspect(`${repository}:TAG`), set(repository)];
  }
  return ['', ...inspect(`${repository}:${tag ?? 'latest'}`), set(repository)];
}

const inspect = (name: string): string[] => [
  `  docker buildx imagetools inspect ${name} --format '{{.Manifest.Digest}}'`,
];
