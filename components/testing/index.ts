/** For tests only: what a component deploys, without an engine. */
export { deploy, type Deployment, type HarnessOptions, type Recorded, valueOf } from './harness';
export { isSecret, plain } from '../recording';
export { leaksOf } from './secrets';
export { canary, madeBy, maker, managedUsers, passwordsFor } from './single';
export { lostUrns } from './urns';
