/** References that are made from the code, and never edited. */
import path from 'node:path';

import { rules } from '../policies/rules';
import { commandsReference } from './commands';
import { componentsReference } from './components';
import { policiesReference } from './policies';
import { readSources } from './sources';

/** Every file, by its path in the repository. */
export function references(root: string): ReadonlyMap<string, string> {
  const sources = readSources(path.join(root, 'components'), path.join(root, 'model'));
  return new Map([
    ['docs/policies.md', policiesReference(rules)],
    ['docs/commands.md', commandsReference()],
    ['docs/components.md', componentsReference(sources)],
  ]);
}
