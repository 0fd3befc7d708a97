/** The mesh as processes on this machine. */
export { type LocalMeshArgs, type LocalRegion } from './args';
export { LocalMesh } from './mesh';
export { type LocalEndpoint } from './provider';
