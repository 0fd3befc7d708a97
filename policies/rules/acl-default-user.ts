import { concernsConf, confsOf, valueOf } from '../conf';
import { isKind, kindOf } from '../kubernetes';
import { memoryDb, replicationGroup } from '../managed';
import { at, isGiven, mappingAt, shown, textAt } from '../props';
import { type Checked, type Issue, Level, resourceRule } from '../rule';

const user = 'aws:elasticache/user:User';
const managed: readonly string[] = [user, replicationGroup, memoryDb];

/** Mandatory: it leaks. Every connection begins as `default`, who in a new Redis may do everything without a password. */
export const aclDefaultUser = resourceRule({
  name: 'acl-default-user',
  level: Level.Mandatory,
  what: 'The user `default` is off, and every other one has a password.',
  why: 'Every connection begins as `default`, who in a new Redis may do everything without a password.',
  fix: 'Use RedisCredentials or the components for managed Redis, or `user default off` in an ACL file and a user group.',
  settings: {},
  concerns: (type) => concernsConf(type) || isKind('Secret')(type) || managed.includes(type),
  check: (resource) => {
    const kind = kindOf(resource.type);
    if (kind === 'Secret') return isOpaque(resource) ? aclFilesIn(resource, ['stringData', 'data']) : [];
    if (kind === 'ConfigMap') return [...aclFilesIn(resource, ['data']), ...confIssues(resource)];
    return kind === undefined ? managedIssues(resource) : confIssues(resource);
  },
});

/** Passwords, certificates and tokens have types of their own. Not to be read: in a first preview they are unknown as a whole. */
const isOpaque = ({ props }: Checked): boolean => ['Opaque', undefined].includes(textAt(props, 'type'));

/** ACL files by their name, so that no other part of a Secret is looked at. */
function aclFilesIn({ props, type }: Checked, fields: readonly string[]): Issue[] {
  return fields.flatMap((field) => {
    const files = mappingAt(props, field);
    return Object.keys(files)
      .filter((file) => file.endsWith('.acl'))
      .flatMap((file) => {
        const text = textAt(files, file) ?? '';
        const isEncoded = field === 'data' && kindOf(type) === 'Secret';
        return aclIssues(`${field}.${file}`, isEncoded ? Buffer.from(text, 'base64').toString() : text);
      });
  });
}

function aclIssues(where: string, text: string): Issue[] {
  const users = text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([first]) => first === 'user');
  const isOff = users.some(([, name, ...rules]) => name === 'default' && isLastOff(rules));
  const open = users.filter(
    ([, name, ...rules]) => name !== 'default' && rules.includes('nopass') && !isLastOff(rules),
  );
  return [
    ...(isOff ? [] : [{ where: `${where}: user default`, found: 'not off', allowed: 'off' }]),
    ...open.map(([, name = '']) => ({ where: `${where}: user ${name}`, found: 'nopass', allowed: 'a password' })),
  ];
}

/** The last of `on` and `off` counts, and `reset` is off. */
const isLastOff = (rules: readonly string[]): boolean =>
  rules.findLast((rule) => ['on', 'off', 'reset'].includes(rule)) !== 'on' &&
  rules.some((rule) => /^(off|reset)$/.test(rule));

/** A server has an ACL file, or lines of its own that say the same. */
function confIssues(resource: Checked): Issue[] {
  return confsOf(resource).flatMap((conf) => {
    if (valueOf(conf, 'aclfile') !== undefined) return [];
    const lines = (conf.directives.get('user') ?? []).map((line) => `user ${line}`);
    return aclIssues(conf.where, lines.join('\n'));
  });
}

function managedIssues({ type, props }: Checked): Issue[] {
  const need = (key: string, isRight: boolean, found: string, allowed: string): Issue[] =>
    isRight ? [] : [{ where: key, found, allowed }];
  if (type === user) {
    const isDefault = at(props, 'userName') === 'default';
    const access = textAt(props, 'accessString');
    return [
      ...need('accessString', !isDefault || /^off\b/.test(access ?? ''), shown(access), 'off, for `default`'),
      ...need('noPasswordRequired', at(props, 'noPasswordRequired') !== true, 'true', 'a password'),
      ...need(
        'authenticationMode.type',
        textAt(props, 'authenticationMode', 'type') !== 'no-password-required',
        'no-password-required',
        'password or iam',
      ),
    ];
  }
  if (type === memoryDb) return need('aclName', at(props, 'aclName') !== 'open-access', 'open-access', 'an ACL');
  return need('userGroupIds', isGiven(props, 'userGroupIds'), 'nothing', 'a user group');
}
