/** What went wrong, so that a script can tell. Each is raised with one sentence that says what to do. */
export type LocalErrorCode =
  | 'AGENT'
  | 'ALREADY_RUNNING'
  | 'BAD_ARGUMENT'
  | 'BAD_CONFIG'
  | 'BINARY'
  | 'COULD_NOT_COMPARE'
  | 'NOT_CONFIRMED'
  | 'NOT_FOUND'
  | 'NOT_RUNNING'
  | 'PORT_IN_USE'
  | 'REGISTRY'
  | 'START_FAILED'
  | 'STATE_DIR'
  | 'STOP_FAILED'
  | 'UNKNOWN_REGION';

/** A failure that a person can act on: the command prints the message and ends with `exitCode`. */
export class LocalError extends Error {
  constructor(
    readonly code: LocalErrorCode,
    message: string,
    readonly exitCode = 1,
  ) {
    super(message);
    this.name = 'LocalError';
  }
}

/** The text of whatever was thrown. */
export function errorText(error: unknown): string {
  // By its form, not by its class: Node's own errors are of another realm's class under jest.
  const message = property(error, 'message');
  return typeof message === 'string' && message !== '' ? message : (errorCode(error) ?? String(error));
}

/** The `code` of a system error (`ENOENT`, …), if it is one. */
export function errorCode(error: unknown): string | undefined {
  const code = property(error, 'code');
  return typeof code === 'string' ? code : undefined;
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (Reflect.get(value, name) as unknown) : undefined;
}
