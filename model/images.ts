import { type RegionConfig, type StackConfig } from './config';

/** The name of an image, in its parts. */
export interface ImageName {
  /** With the registry, where one is named: `docker.io/redis`. */
  readonly repository: string;
  readonly tag: string | undefined;
  /** `sha256:…` */
  readonly digest: string | undefined;
}

export function imageName(image: string): ImageName {
  const [name = '', digest] = image.split('@');
  // A colon before the last slash is that of a registry's port.
  const colon = name.indexOf(':', name.lastIndexOf('/') + 1);
  if (colon === -1) return { repository: name, tag: undefined, digest };
  return { repository: name.slice(0, colon), tag: name.slice(colon + 1), digest };
}

/** Whether it is one image for good. A digest of nothing but zeros is the placeholder of the examples. */
export const isPinned = (image: string): boolean => /@sha256:(?!0{64}$)[0-9a-f]{64}$/.test(image);

/** Of redis_exporter, where the config names none. */
export const exporterImage = 'docker.io/oliver006/redis_exporter:v1.67.0';

/** Of Redis in pods: the config's, else the official one by the tag of `redis.version`. */
export function redisImage({ kubernetes, redis }: Pick<StackConfig, 'kubernetes' | 'redis'>): string {
  const official = redis.engine === 'valkey' ? 'valkey/valkey' : 'redis';
  return kubernetes.redisImage ?? `docker.io/${official}:${redis.version}`;
}

/** Keys of `meridian:kubernetes` that name an image. */
export type ImageKey = 'agentImage' | 'redisImage' | 'exporterImage';

/** Containers of one kind, in one or more regions. */
export interface ImageUse {
  /** What they are of: pods of Redis or of its Sentinels, the agent as a pod or a task of Fargate, an exporter beside a managed Redis. */
  readonly component: 'Redis' | 'Sentinel' | 'agent' | 'agent in Fargate' | 'exporter';
  readonly container: string;
  /** In the order of the config. */
  readonly regions: readonly string[];
}

/** An image that a stack deploys. */
export interface StackImage {
  readonly key: ImageKey;
  /** Undefined where the config has to name one, and does not. */
  readonly image: string | undefined;
  /** Whether the config names none, so that it is the default. */
  readonly isDefault: boolean;
  readonly uses: readonly ImageUse[];
}

type Use = Omit<ImageUse, 'regions'> & { readonly key: ImageKey };

/** The images of all containers that a stack deploys; none of regions on one's own machine, which are processes. */
export function imagesOf(config: StackConfig): StackImage[] {
  const { kubernetes } = config;
  const named: Readonly<Record<ImageKey, string | undefined>> = {
    agentImage: kubernetes.agentImage,
    redisImage: redisImage(config),
    exporterImage: kubernetes.exporterImage ?? exporterImage,
  };
  const uses = config.regions.map((region) => ({ region: region.name, all: usesIn(region, config) }));
  return (['agentImage', 'redisImage', 'exporterImage'] as const).flatMap((key) => {
    const of = new Map<string, ImageUse>();
    for (const { region, all } of uses)
      for (const { component, container } of all.filter((use) => use.key === key)) {
        const regions = of.get(`${component} ${container}`)?.regions ?? [];
        of.set(`${component} ${container}`, { component, container, regions: [...regions, region] });
      }
    if (of.size === 0) return [];
    return [{ key, image: named[key], isDefault: kubernetes[key] === undefined, uses: [...of.values()] }];
  });
}

function usesIn(region: RegionConfig, { monitoring }: StackConfig): Use[] {
  const agentImage = 'agentImage';
  switch (region.backend) {
    case 'local':
      return [];
    case 'kubernetes':
      return [
        { component: 'Redis', container: 'redis', key: 'redisImage' },
        { component: 'Redis', container: 'exporter', key: 'exporterImage' },
        { component: 'Redis', container: 'role', key: agentImage },
        { component: 'Sentinel', container: 'sentinel', key: 'redisImage' },
        { component: 'agent', container: 'agent', key: agentImage },
      ];
    default:
      if (region.fargate !== undefined)
        return ['files', 'agent'].map((container) => ({ component: 'agent in Fargate', container, key: agentImage }));
      return [
        { component: 'agent', container: 'agent', key: agentImage },
        ...(monitoring.operator
          ? [{ component: 'exporter', container: 'exporter', key: 'exporterImage' } as const]
          : []),
      ];
  }
}
