/** For tests only: what a component deploys, without an engine. */
export { deploy, type Deployment, type HarnessOptions, type Recorded, valueOf } from './harness';
export { isSecret, leaksOf, plain } from './secrets';
