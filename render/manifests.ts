import { Document } from 'yaml';

import { isMapping, type Recorded, type Recording } from '../components/recording';
import { type Values } from './values';

type Mapping = Record<string, unknown>;

/** One object of Kubernetes. */
export interface Manifest {
  /** Below the output folder. In the order of their names they can be applied. */
  readonly file: string;
  /** Context of the kubeconfig; undefined is the current one. */
  readonly context: string | undefined;
  readonly namespace: string | undefined;
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  /** Name of the resource in the stack. */
  readonly resource: string;
  /** Keys of a Secret whose values are references. */
  readonly references: readonly string[];
  readonly object: Mapping;
}

/** What others refer to comes first: an API server takes objects in any order, but not without their namespace. */
const order: readonly (readonly string[])[] = [
  ['Namespace', 'CustomResourceDefinition'],
  ['StorageClass'],
  ['ServiceAccount', 'Role', 'RoleBinding', 'NetworkPolicy', 'ConfigMap', 'Secret', 'Certificate'],
  ['Service', 'PodDisruptionBudget'],
  ['StatefulSet', 'Deployment'],
  ['Job', 'HorizontalPodAutoscaler'],
];

/** Of objects without a namespace; sorts before the names that namespaces have. */
const clusterFolder = '00-cluster';

/** Keys of Secrets that anybody may see. All others are references: a key that is new is taken for a secret. */
const publicKeys = new Set(['username', 'tls.crt', 'ca.crt']);

export interface Manifests {
  /** By file. */
  readonly manifests: readonly Manifest[];
  /** Resources of other providers, `type name`: they are no objects of Kubernetes, and what they would be known by is missing in those that are. */
  readonly others: readonly string[];
}

/**
 * The objects that a stack has in Kubernetes.
 * @param values where secrets came from
 * @param withSecrets leave the values of Secrets in
 */
export function manifestsOf(recording: Recording<unknown>, values: Values, withSecrets: boolean): Manifests {
  const isObject = ({ type }: Recorded): boolean => type.startsWith('kubernetes:');
  const contexts = recording.resources.filter(isObject).map((resource) => contextOf(resource, recording));
  const hasSeveral = new Set(contexts).size > 1;
  const manifests = recording.resources
    .filter(isObject)
    .map((resource, i) => manifestOf(resource, contexts[i], hasSeveral, withSecrets ? undefined : values));
  const sorted = manifests.sort((a, b) => (a.file < b.file ? -1 : 1));
  const twice = sorted.find(({ file }, i) => file === sorted[i + 1]?.file);
  if (twice !== undefined) throw new Error(`two resources are ${twice.file}, one of them ${twice.resource}`);
  const others = recording.resources
    .filter((resource) => !isObject(resource) && !/^(meridian|random|tls):/.test(resource.type))
    .map(({ type, name }) => `${type} ${name}`);
  return { manifests: sorted, others };
}

/** Which cluster an object is for, as its provider says. */
function contextOf({ provider }: Recorded, { providers }: Recording<unknown>): string | undefined {
  const inputs = [...providers].find(([urn]) => provider?.includes(`${urn}::`))?.[1];
  const context = inputs?.['context'];
  return typeof context === 'string' ? context : undefined;
}

function manifestOf(
  resource: Recorded,
  context: string | undefined,
  hasSeveral: boolean,
  referTo: Values | undefined,
): Manifest {
  // What Pulumi is told to leave as it is in the cluster is not ours to apply either, such as an autoscaler's number of pods.
  const inputs = without(resource.inputs, resource.ignoreChanges);
  const { apiVersion, kind, metadata, ...others } = inputs as { apiVersion: string; kind: string; metadata: Mapping };
  const { name, namespace } = metadata as { name: string; namespace?: string };
  const content = { apiVersion, kind, metadata, ...others };
  const { object, references } =
    kind === 'Secret' && referTo !== undefined ? refer(content, name, referTo) : { object: content, references: [] };
  const rank = order.findIndex((kinds) => kinds.includes(kind));
  const folders = [...(hasSeveral ? [context ?? 'current-context'] : []), namespace ?? clusterFolder];
  const file = `${rank === -1 ? order.length : rank}-${kind.toLowerCase()}-${name}.yaml`;
  return {
    file: [...folders, file].join('/'),
    context,
    namespace,
    apiVersion,
    kind,
    name,
    resource: resource.name,
    references,
    object,
  };
}

/** The same without the fields at some paths, `spec.replicas`. */
function without(object: Mapping, paths: readonly string[]): Mapping {
  const copy = structuredClone(object);
  for (const path of paths) {
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    let at: unknown = copy;
    for (const key of keys) at = isMapping(at) ? at[key] : undefined;
    if (isMapping(at)) delete at[last];
  }
  return copy;
}

/** A Secret with references in the place of values. */
function refer(secret: Mapping, name: string, values: Values): { object: Mapping; references: string[] } {
  const { data, stringData, ...others } = secret;
  if (data !== undefined) throw new Error(`Secret ${name}: found data; allowed: stringData`);
  const texts = Object.entries(isMapping(stringData) ? stringData : {}).map(
    ([key, value]) => [key, String(value)] as const,
  );
  const references = texts.map(([key]) => key).filter((key) => !publicKeys.has(key));
  const referred = texts.map(([key, text]) => {
    if (publicKeys.has(key)) return [key, text];
    const sources = values.sourcesIn(text);
    return [key, `<${key} of ${name}${sources.length > 0 ? `, from ${sources.join(', ')}` : ''}>`];
  });
  return { object: { ...others, stringData: Object.fromEntries(referred) as Mapping }, references };
}

/**
 * YAML of an object, the same for readers of YAML 1.1, such as kubectl, and of 1.2: `yes`, `1:30` (1.1) and `0o7` (1.2) are texts
 * only where they are quoted.
 * @param comment stands before it, line by line
 */
export function yamlOf({ object }: Pick<Manifest, 'object'>, comment: readonly string[]): string {
  const document = new Document(object, { version: '1.1', compat: 'core', aliasDuplicateObjects: false });
  const text = document.toString({ lineWidth: 0, directives: false });
  return `${comment.map((line) => `# ${line}\n`).join('')}${text}`;
}
