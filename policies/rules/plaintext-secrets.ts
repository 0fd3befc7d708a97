import { z } from 'zod';

import { isKind, podKinds } from '../kubernetes';
import { at, isMapping, listAt, mappingAt, textAt, textsAt, textsOf } from '../props';
import { type Checked, type Issue, Level, resourceRule } from '../rule';
import { type TaskContainer, taskDefinition, taskFilesOf, taskOf } from '../tasks';

/** What a password or a key looks like, wherever it stands. */
const patterns: readonly { readonly what: string; readonly pattern: RegExp }[] = [
  { what: 'a private key', pattern: /-----BEGIN ([A-Z]+ )*PRIVATE KEY-----/ },
  {
    what: 'a password of Redis',
    pattern:
      /^\s*(?:--)?(requirepass|masterauth|primaryauth|tls-key-file-pass|sentinel (auth-pass \S+|sentinel-pass))\s+"?(?![$<"])\S/m,
  },
  { what: 'a password of an ACL user', pattern: /^\s*user\s+\S+\s(.*\s)?>\S/m },
  { what: 'a URL with a password', pattern: /\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@$]*:[^\s/@$]+@/ },
];

const secretName =
  /(PASSWORD|PASSWD|PASS|SECRET|TOKEN|PRIVATE_?KEY|API_?KEY|ACCESS_?KEY|CREDENTIAL)S?$|^REDISCLI_AUTH$/i;
/** Options that are followed by one. */
const secretOption = /^(--requirepass|--masterauth|--primaryauth|--pass|--password|--token|-a)$/;
/** The same within one word: behind `=`, or in what a shell is to run. There `$` and "`" begin what is looked up elsewhere. */
const secretInWord: readonly RegExp[] = [
  /^--(requirepass|masterauth|primaryauth|pass|password|token)=(?!\$)./,
  /\s--(requirepass|masterauth|primaryauth)\s+["']?(?![$<`"'])\S/,
  /\b(redis|valkey)-cli\b[^\n|;&]*\s(-a|--pass)\s+["']?(?![$<`"'])\S/,
];

/** Mandatory: it leaks. Who may look at pods, ConfigMaps or tasks, and that is nearly everybody, may log in. */
export const plaintextSecrets = resourceRule({
  name: 'plaintext-secrets',
  level: Level.Mandatory,
  what: 'No password and no private key stands in a ConfigMap, in an environment variable, or on a command line.',
  why: 'Who may look at pods, ConfigMaps and tasks of ECS, and that is nearly everybody, could log in; and it stays in the history of each.',
  fix: 'Put it into a Secret and mount that as a file; a variable takes `valueFrom.secretKeyRef`. A task of ECS has it in Secrets Manager, and names it in `secrets`.',
  settings: {
    allowedVariables: z
      .array(z.string())
      .default([])
      .describe('Environment variables that are called like a secret and are none.'),
  },
  concerns: (type) => type === taskDefinition || isKind('ConfigMap', ...podKinds)(type),
  check: (resource, { allowedVariables }) => {
    if (resource.type === taskDefinition) return inTask(resource, allowedVariables);
    return resource.type.endsWith(':ConfigMap') ? inConfigMap(resource) : inPods(resource.props, allowedVariables);
  },
});

function inConfigMap({ props }: Checked): Issue[] {
  const binary = textsOf(mappingAt(props, 'binaryData')).map(([key, value]): [string, string, string] => [
    'binaryData',
    key,
    Buffer.from(value, 'base64').toString('latin1'),
  ]);
  const data = textsOf(mappingAt(props, 'data')).map(([key, value]): [string, string, string] => ['data', key, value]);
  return [...data, ...binary].flatMap(([field, key, text]) => inText(`${field}.${key}`, text));
}

/** Never the text itself: a message is read by as many as a ConfigMap. */
function inText(where: string, text: string): Issue[] {
  const found = patterns.find(({ pattern }) => pattern.test(text));
  return found === undefined ? [] : [{ where, found: found.what, allowed: 'none' }];
}

function inPods(props: unknown, allowedVariables: readonly string[]): Issue[] {
  return containersIn(props, '').flatMap(({ container, where }) => [
    ...listAt(container, 'env').flatMap((variable) => {
      if (isMapping(at(variable, 'valueFrom'))) return [];
      const [name, value] = [textAt(variable, 'name') ?? '', textAt(variable, 'value') ?? ''];
      return allowedVariables.includes(name) ? [] : inValue(`${where}.env[${name}]`, name, value, 'valueFrom');
    }),
    ...inWords([...textsAt(container, 'command'), ...textsAt(container, 'args')], `${where}.args`),
  ]);
}

/** What comes from elsewhere stands in `secrets`, beside `environment`. */
function inTask(resource: Checked, allowedVariables: readonly string[]): Issue[] {
  const task = taskOf(resource);
  // A variable that holds files is looked at file by file.
  const files = taskFilesOf(task).map((one) => ({ ...one, all: Object.entries(one.files ?? {}) }));
  const isRead = (where: string): boolean => files.some((one) => one.at === where && one.files !== undefined);
  const inContainer = ({ environment, words, container, at: where }: TaskContainer): Issue[] => [
    ...environment.flatMap(({ name, value }) => {
      const variable = `${where}.environment[${name}]`;
      return allowedVariables.includes(name) || isRead(variable) ? [] : inValue(variable, name, value, 'secrets');
    }),
    ...inWords(words, `${where}.command`),
    ...inWords(textsAt(container, 'healthCheck', 'command'), `${where}.healthCheck.command`),
    ...textsOf(mappingAt(container, 'logConfiguration', 'options')).flatMap(([name, value]) =>
      inValue(`${where}.logConfiguration.options.${name}`, name, value, 'secretOptions'),
    ),
  ];
  return [
    ...task.issues,
    ...task.containers.flatMap(inContainer),
    ...files.flatMap(({ all, at: where }) =>
      all.flatMap(([file, text]) => inValue(`${where}: ${file}`, file, text, 'secrets')),
    ),
  ];
}

/** @param allowed where a value comes from that is secret by its name */
function inValue(where: string, name: string, value: string, allowed: string): Issue[] {
  // `$(OTHER)` is another variable's value.
  const isText = value !== '' && !/^\$\(.*\)$/.test(value);
  if (isText && secretName.test(name)) return [{ where, found: 'a value', allowed }];
  return inText(where, value);
}

function inWords(words: readonly string[], where: string): Issue[] {
  const isOption = words.some((word, i) => secretOption.test(word) && !/^\$|^$/.test(words[i + 1] ?? ''));
  return isOption || words.some((word) => secretInWord.some((pattern) => pattern.test(word)))
    ? [{ where, found: 'a password behind an option', allowed: 'none' }]
    : words.flatMap((word) => inText(where, word));
}

/** Containers of all kinds, wherever the pod stands. */
function containersIn(props: unknown, path: string): { container: unknown; where: string }[] {
  const pod = ['spec', 'template', 'jobTemplate'] as const;
  const nested = pod.flatMap((key) => {
    const inner = mappingAt(props, key);
    return Object.keys(inner).length === 0 ? [] : containersIn(inner, path === '' ? key : `${path}.${key}`);
  });
  const own = (['initContainers', 'containers'] as const).flatMap((list) =>
    listAt(props, list).map((container) => ({
      container,
      where: `${path}.${list}[${textAt(container, 'name') ?? ''}]`,
    })),
  );
  return [...own, ...nested];
}
