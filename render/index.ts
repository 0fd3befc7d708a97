/** Manifests of a stack, for those who deploy by kubectl or GitOps. */
export { RenderError } from './error';
export { type Manifest, type Manifests, yamlOf } from './manifests';
export { render, type RenderOptions } from './render';
export { readConfig } from './stackfile';
export { writeFolder } from './folder';
