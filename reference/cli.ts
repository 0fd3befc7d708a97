import { writeFileSync } from 'node:fs';
import path from 'node:path';

import { references } from '.';

// `npm run docs` starts it in the root of the repository.
for (const [file, text] of references(process.cwd())) {
  writeFileSync(path.join(process.cwd(), file), text);
  console.log(`wrote ${file}`);
}
