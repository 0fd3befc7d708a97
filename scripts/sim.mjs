// `npm run sim`: the simulator (test/sim), with what is said after `--`.
import { runBundled } from './bundle.mjs';

await runBundled('test/sim/cli.ts');
