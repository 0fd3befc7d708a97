import { randomBytes, timingSafeEqual } from 'node:crypto';
import { rmSync } from 'node:fs';
import http from 'node:http';
import { type AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { z } from 'zod';

import { LocalError, type LocalErrorCode, errorText } from './errors';
import { type FaultRequest, activeFaultSchema, faultSchema } from './faults';
import { readIfThere, writeAtomically } from './files';
import { type StateDir } from './layout';
import { loopback } from './ports';

// The supervisor listens on a loopback port for the other commands. The port and a token are in a file that only the
// user who started the stack can read: other users of the machine can't break it.

const controlSchema = z.object({ port: z.number().int(), token: z.string() });

const supervisorViewSchema = z.object({
  /** False until every service has served once. */
  ready: z.boolean(),
  faults: z.array(activeFaultSchema),
  services: z.array(z.object({ name: z.string(), state: z.string(), detail: z.string() })),
});
/** What only the supervisor knows. */
export type SupervisorView = z.output<typeof supervisorViewSchema>;

export interface ControlHandlers {
  view(): SupervisorView;
  fault(request: FaultRequest): string;
}

const requestBytesMax = 64 * 1024;

export class ControlServer {
  private readonly token = randomBytes(24).toString('base64url');
  private readonly server: http.Server;

  constructor(
    private readonly dir: StateDir,
    private readonly handlers: ControlHandlers,
  ) {
    this.server = http.createServer((request, response) => {
      void this.answer(request).then(([status, body]) => {
        response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
        response.end(JSON.stringify(body));
      });
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ host: loopback, port: 0 }, resolve);
    });
    const { port } = this.server.address() as AddressInfo;
    writeAtomically(this.dir.control, JSON.stringify({ port, token: this.token }));
  }

  async close(): Promise<void> {
    if (!this.server.listening) return;
    rmSync(this.dir.control, { force: true });
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(request: http.IncomingMessage): Promise<[status: number, body: unknown]> {
    try {
      if (!this.isAuthorised(request.headers.authorization))
        return [401, { code: 'BAD_ARGUMENT', message: 'wrong token' }];
      if (Number(request.headers['content-length'] ?? 0) > requestBytesMax) return [413, { message: 'too long' }];
      switch (`${request.method} ${request.url}`) {
        case 'GET /view':
          return [200, this.handlers.view()];
        case 'POST /fault':
          return [200, { done: this.handlers.fault(faultSchema.parse(JSON.parse(await readText(request)))) }];
        default:
          return [404, { message: 'no such thing' }];
      }
    } catch (error) {
      const code = error instanceof LocalError ? error.code : 'BAD_ARGUMENT';
      return [400, { code, message: errorText(error) }];
    }
  }

  private isAuthorised(header: string | undefined): boolean {
    const [given, wanted] = [Buffer.from(header ?? ''), Buffer.from(`Bearer ${this.token}`)];
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }
}

function parseControl(dir: StateDir, text: string): z.output<typeof controlSchema> {
  try {
    return controlSchema.parse(JSON.parse(text));
  } catch {
    throw new LocalError(
      'STATE_DIR',
      `${dir.control} can't be understood: stop the stack with \`meridian down\` and start it again.`,
    );
  }
}

/** @returns undefined when no supervisor answers. @throws LocalError what the supervisor refused, with its reason */
async function ask(dir: StateDir, method: string, path: string, body?: unknown): Promise<unknown> {
  const file = readIfThere(dir.control);
  if (file === undefined) return undefined;
  const { port, token } = parseControl(dir, file);
  const text = body === undefined ? '' : JSON.stringify(body);
  const answer = await requestJson(
    {
      host: loopback,
      port,
      method,
      path,
      headers: { authorization: `Bearer ${token}`, 'content-length': Buffer.byteLength(text) },
    },
    text,
    5000,
  ).catch(() => undefined);
  if (answer === undefined) return undefined;
  if (answer.status === 200) return answer.body;
  const refused = z.object({ code: z.string().default('BAD_ARGUMENT'), message: z.string() }).parse(answer.body);
  throw new LocalError(refused.code as LocalErrorCode, refused.message);
}

export async function askView(dir: StateDir): Promise<SupervisorView | undefined> {
  const answer = await ask(dir, 'GET', '/view');
  return answer === undefined ? undefined : supervisorViewSchema.parse(answer);
}

/** @returns one line about what was done; undefined when there is no supervisor to do it */
export async function askFault(dir: StateDir, request: FaultRequest): Promise<string | undefined> {
  const answer = await ask(dir, 'POST', '/fault', request);
  return answer === undefined ? undefined : z.object({ done: z.string() }).parse(answer).done;
}

export interface JsonAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** One HTTP request that answers with JSON. */
export function requestJson(options: http.RequestOptions, body: string, timeoutMs: number): Promise<JsonAnswer> {
  return new Promise((resolve, reject) => {
    const request = http.request({ ...options, timeout: timeoutMs }, (response) => {
      readText(response)
        .then((text) => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as unknown }))
        .catch(reject);
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    request.on('error', reject);
    request.end(body);
  });
}
