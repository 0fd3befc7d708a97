import { readFileSync } from 'node:fs';
import path from 'node:path';

import { agentRules, discoveryRules, dryRunAgentRules } from './acl';
import { notificationAgentRules } from './capture';
import { agentDirectives } from './directives';

const page = readFileSync(path.join(__dirname, '../docs/own-redis.md'), 'utf8');
const blocks = [...page.matchAll(/^```(\w*)\n([^]*?)```$/gm)].flatMap(([, language, text]) =>
  language === '' ? [text!.trim()] : [],
);

test('docs/own-redis.md has the rules of the model, and its directives', () => {
  const user = (rules: readonly string[]): string => `user meridian-agent on >PASSWORD ${rules.join(' ')}`;
  expect(blocks).toEqual([
    agentDirectives.join('\n'),
    user(agentRules),
    user(dryRunAgentRules),
    user(notificationAgentRules),
    user(discoveryRules),
  ]);
});

test('each rule of the agent is explained there', () => {
  const table = page.split('| rules | what for')[1]!.split('\n\n')[0]!.replaceAll('\\|', '|');
  const missing = agentRules.filter((rule) => rule !== '-@all' && rule !== '+auth' && !table.includes(rule));
  expect(missing).toEqual([]);
});
