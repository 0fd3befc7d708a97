/** What a program would deploy, without an engine: for what renders manifests, and for tests. */
export { type Inputs, record, type Recorded, type Recording, type RecordingOptions, urnEnd } from './recording';
export { isMapping, isSecret, plain } from './secrets';
