/** RDB, the snapshot format of Redis and Valkey: read it while it arrives, rebuild keys from it. */
export { toCommands, type ToCommandsOptions } from './commands';
export { Crc64 } from './crc64';
export { type DecodedDump, decodeDump, decodeFunctionDump, encodeDump } from './dump';
export { readRdb, RdbReader, type RdbReaderOptions } from './reader';
export {
  formatScore,
  type HashItem,
  parseScore,
  type RdbAux,
  type RdbEnd,
  type RdbEntry,
  RdbError,
  type RdbFunction,
  type RdbKey,
  type RdbKeyType,
  RdbOpcode,
  RdbType,
  type RdbValue,
  type StreamGroup,
  type StreamItem,
  type StreamPending,
  type StreamValue,
  type ZsetItem,
} from './types';
