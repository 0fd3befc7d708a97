// `npm run docs`: renews the references in docs/ that are made from the code (reference/).
import { root, runBundled } from './bundle.mjs';

process.chdir(root);
await runBundled('reference/cli.ts', 'external');
