import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { references } from '.';
import { analyse } from './schema';

// `npm run docs` starts it in the root of the repository.
const root = process.cwd();
for (const [file, text] of [...references(root), ['plugin/schema.json', analyse(root).schema] as const]) {
  writeFileSync(path.join(root, file), text);
  console.log(`wrote ${file}`);
}
