/** Configs of Redis and Sentinel: in ConfigMaps, or on the command line of a container. */
import { type Checked } from './rule';
import { isKind, kindOf, podKinds, redisImage, workloadOf } from './kubernetes';
import { isGiven, listAt, type Mapping, mappingAt, textAt } from './props';

export interface Conf {
  readonly server: 'redis' | 'sentinel';
  /** Where it stands, for messages. */
  readonly where: string;
  /** Arguments of each line, by directive; a directive may stand more than once. */
  readonly directives: ReadonlyMap<string, readonly string[]>;
  /** Whether the same ConfigMap configures Sentinels: then this Redis has replicas. */
  readonly hasSentinel: boolean;
}

/** Types of resources that may hold one. */
export const concernsConf = isKind('ConfigMap', ...podKinds);

const fileName = /(redis|valkey|sentinel)[\w.-]*\.conf$/;
/** By these a file of another name is known, when it has several. */
const known = /^(port|tls-port|bind|dir|appendonly|maxmemory|maxmemory-policy|requirepass|aclfile|save|sentinel)\s/gm;
const knownMin = 3;

const isConf = (file: string, text: string): boolean =>
  fileName.test(file) || (text.match(known)?.length ?? 0) >= knownMin;

/** All configs that a resource holds. */
export function confsOf(resource: Checked): Conf[] {
  return kindOf(resource.type) === 'ConfigMap' ? inConfigMap(resource) : onCommandLines(resource);
}

function inConfigMap({ props }: Checked): Conf[] {
  const data = mappingAt(props, 'data');
  // No other file is looked at: that of an agent, which in a first preview may be unknown, is none of them.
  const files = Object.keys(data)
    .filter((file) => file.endsWith('.conf'))
    .map((file) => [file, textAt(data, file) ?? ''] as const)
    .filter(([file, text]) => isConf(file, text));
  const confs = files.map(([file, text]): Omit<Conf, 'hasSentinel'> => {
    const directives = directivesOf(text.split('\n').map((line) => line.trim()));
    const isSentinel = file.includes('sentinel') || directives.has('sentinel');
    return { server: isSentinel ? 'sentinel' : 'redis', where: `data.${file}`, directives };
  });
  const hasSentinel = confs.some(({ server }) => server === 'sentinel');
  return confs.map((conf) => ({ ...conf, hasSentinel }));
}

/** Of a server that is started without a config file: what its arguments say, and else Redis' own defaults. */
function onCommandLines(resource: Checked): Conf[] {
  const workload = workloadOf(resource);
  if (workload === undefined) return [];
  return workload.containers.flatMap(({ words, at, image, container }) => {
    // A shell's words, or a script's.
    const all = words.flatMap((word) => word.split(/\s+/));
    const server = all.findIndex((word) => /(^|\/)(redis|valkey)-(server|sentinel)$/.test(word));
    const isByImage = redisImage.test(image) && !isGiven(container, 'command') && (all[0] ?? '--').startsWith('--');
    // By a file, which is looked at where it is, or by the environment, as some images are.
    const isConfigured = all.some((word) => word.endsWith('.conf')) || hasOwnVariables(container);
    if (isConfigured || (server === -1 && !isByImage)) return [];
    const lines = all
      .slice(server + 1)
      .join(' ')
      .split(/(?:^|\s)--/)
      .map((line) => line.trim());
    const isSentinel = all.some((word) => word.includes('sentinel'));
    const found: Conf = {
      server: isSentinel ? 'sentinel' : 'redis',
      where: at,
      directives: directivesOf(lines),
      hasSentinel: false,
    };
    return [found];
  });
}

const hasOwnVariables = (container: Mapping): boolean =>
  listAt(container, 'env').some((variable) => /^(REDIS|VALKEY)_/.test(textAt(variable, 'name') ?? ''));

function directivesOf(lines: readonly string[]): Map<string, string[]> {
  const directives = new Map<string, string[]>();
  for (const line of lines) {
    if (line === '' || line.startsWith('#')) continue;
    const [directive = '', ...rest] = line.split(/\s+/);
    const key = directive.toLowerCase();
    directives.set(key, [...(directives.get(key) ?? []), rest.join(' ').replaceAll(/^"|"$/g, '')]);
  }
  return directives;
}

/** The arguments of a directive; the last of several counts, as for Redis. */
export const valueOf = ({ directives }: Conf, directive: string): string | undefined =>
  directives.get(directive)?.at(-1);
