/** What can go wrong with a link, as a code that monitoring counts and a sentence that a person can act on. */
export type PeerErrorCode =
  /** The peer cannot be reached, or the connection broke. */
  | 'unavailable'
  /** Connected, and nothing heard for too long. */
  | 'timeout'
  /** The certificate is not of the mesh's CA, or names another region or stack. */
  | 'identity'
  /** The peer belongs to another stack or speaks another version. */
  | 'protocol'
  /** The peer decides conflicts by other policies. */
  | 'policies'
  /** A message that breaks the protocol's rules. */
  | 'malformed'
  /** A record that fails its checksum or cannot be decoded. */
  | 'record'
  /** A message or record above its limit, or too many of them. */
  | 'flood'
  /** The records of an origin do not follow each other, twice in a row. */
  | 'gap'
  /** The records of an origin go back. */
  | 'regression'
  /** A newer stream of the same region took this one's place. */
  | 'replaced'
  /** Own code could not take what arrived, or could not read what it should send. */
  | 'consumer'
  | 'source'
  /** A request to a region that is not connected, without a handler, or whose handler failed. */
  | 'not-connected'
  | 'unknown-request'
  | 'request'
  | 'stopped';

export class PeerError extends Error {
  constructor(
    readonly code: PeerErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'PeerError';
  }
}

const CODES: ReadonlySet<string> = new Set<PeerErrorCode>([
  'unavailable',
  'timeout',
  'identity',
  'protocol',
  'policies',
  'malformed',
  'record',
  'flood',
  'gap',
  'regression',
  'replaced',
  'consumer',
  'source',
  'not-connected',
  'unknown-request',
  'request',
  'stopped',
]);

/** Retrying these at once would fail in the same way: a person, or the peer's next version, has to change something. */
export function isLasting(code: PeerErrorCode): boolean {
  switch (code) {
    case 'identity':
    case 'protocol':
    case 'policies':
    case 'malformed':
    case 'record':
    case 'flood':
    case 'gap':
    case 'regression':
    case 'replaced':
      return true;
    default:
      return false;
  }
}

/** The form in which an error's code passes through a gRPC status, whose own codes are too few. */
export function toDetails(error: PeerError): string {
  return `[${error.code}] ${error.message}`;
}

/** @returns null when the details are not ours */
export function fromDetails(details: string): PeerError | null {
  const match = /^\[([a-z-]+)\] (.*)$/s.exec(details);
  if (!match?.[1] || !CODES.has(match[1])) return null;
  return new PeerError(match[1] as PeerErrorCode, (match[2] ?? '').slice(0, 500));
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
