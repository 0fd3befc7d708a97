/** Links between the agents of all regions: gRPC streams over mutual TLS (docs/architecture.md). */
export type { Beat } from './beat';
export { PeerError, type PeerErrorCode } from './error';
export { certificateName, PROTOCOL } from './hello';
export { PeerMesh } from './mesh';
export {
  TIMING,
  type LinkState,
  type LinkStatus,
  type PeerAddress,
  type PeerMeshOptions,
  type RecordReader,
  type RecordSource,
  type Timing,
  type TlsFiles,
} from './options';
export type { RequestHandler } from './request';
