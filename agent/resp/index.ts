/** RESP, the protocol of Redis: the stream's scanner, commands out, replies in, one connection. */
export { type Arg, CommandWriter, encodeCommand } from './encode';
export { type Reply, ReplyError, ReplyParser } from './replies';
export { acrossSlots } from './cross-slot';
export { argsOf, rewriteCommands } from './rewrite';
export { CommandScanner, type CommandScannerOptions, ProtocolError } from './scanner';
export {
  ConnectionError,
  openSocket,
  RedisConnection,
  type RedisConnectionOptions,
  type TransactionReply,
} from './connection';
