import { z } from 'zod';

import { type Rule } from '../policies/rule';
import { code, paragraphs, table } from './markdown';

const about = `# Policies

<!-- Made from policies/rules by \`npm run docs\`. -->

What may be deployed, as a policy pack of Pulumi in [policies/](../policies): of Meridian's own components, and of other programs' Redis on
Kubernetes, ElastiCache, MemoryDB, ApsaraDB and TencentDB. The shipped prod stacks, with their images given by digest,
break none of these rules; tests run them as the engine does.

\`\`\`sh
npm ci
pulumi preview --policy-pack policies
\`\`\`

A **mandatory** rule stops the deployment: it is about what loses data or leaks it. An **advisory** one is told, and the deployment goes on. A file says
otherwise, rule by rule, and gives settings; \`all\` stands for all rules:

\`\`\`json
{
  "spread": "mandatory",
  "alerts": "disabled",
  "sentinels": { "sentinelsMin": 5 },
  "image-digests": { "enforcementLevel": "advisory", "productionStacks": ["live-*"] }
}
\`\`\`

\`\`\`sh
pulumi preview --policy-pack policies --policy-pack-config policies.json
\`\`\`

A rule says what it found, where, what is allowed there, and what to do about it.`;

const limits = `## Limits

- A preview can't know what is made during the deployment. Where a rule would have to read such a value Pulumi says so, and the rule runs in \`pulumi up\`.
  Of Meridian's components that is the ACL file in the first preview (\`acl-default-user\`), which is made of passwords that are not there yet, and the
  containers of an agent in Fargate, which name a secret.
- Of a task of ECS its containers are JSON in one text. What of it can't be read each rule says that would have to read it, whosever the task is: it might be an agent's.
- The engine tells policies whether a resource has \`protect\`, and not whether it has \`retainOnDelete\`: \`data-retained\` looks at the arguments of Meridian's
  components, and can say nothing of other programs' resources.
- What a Helm release makes is no resource of the program: rules don't see it.
- \`plaintext-secrets\` knows what passwords and keys look like, not which text is one. A password alone in a ConfigMap, under a name that says nothing, is not found.
- A Redis is known by its image's name or by Meridian's labels. An image with a name of its own needs the labels.`;

interface JsonSchema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly items?: JsonSchema;
  readonly minimum?: number;
  readonly default?: unknown;
  readonly description?: string;
}

/** docs/policies.md. */
export function policiesReference(rules: readonly Rule[]): string {
  const overview = table(
    ['Rule', 'Level', 'What has to be so'],
    rules.map(({ name, level, what }) => [`[${code(name)}](#${name})`, level, what]),
  );
  return `${paragraphs(about, overview, ...rules.map(section), limits)}\n`;
}

function section({ name, level, kind, what, why, fix, settings }: Rule): string {
  const looksAt = kind === 'resource' ? 'each resource by itself' : 'all resources of a stack together';
  const rows = Object.entries(settings).map(([key, type]) => {
    const schema = z.toJSONSchema(type, { io: 'input' }) as JsonSchema;
    return [code(key), typeOf(schema), code(JSON.stringify(schema.default)), schema.description ?? ''];
  });
  return paragraphs(
    `## ${name}`,
    `**${what}** ${why}`,
    `What to do: ${fix}`,
    `Level: ${level}. It looks at ${looksAt}.`,
    rows.length === 0 ? '' : table(['Setting', 'Type', 'Default', 'Meaning'], rows),
  );
}

function typeOf({ type = '', enum: choices, items, minimum }: JsonSchema): string {
  if (choices !== undefined) return choices.map((choice) => code(JSON.stringify(choice))).join(', ');
  if (items !== undefined) return `list of ${items.type ?? ''}s`;
  return minimum === undefined ? type : `${type}, ${minimum} or more`;
}
