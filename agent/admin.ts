/** The admin endpoint: health, readiness, status, metrics, and what the agent adds. For operators and probes only. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';

export interface AdminAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** @param url path and query as asked for */
export type AdminRoute = (url: URL, request: http.IncomingMessage) => Promise<AdminAnswer>;

export interface AdminOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Answers /status; must not throw secrets into it. */
  readonly status: () => unknown;
  /** Answers /readyz. */
  readonly ready: () => { ready: boolean; reason?: string };
  readonly metrics: Registry;
  /** More routes: a path, for GET, or `METHOD /path`. */
  readonly routes?: Readonly<Record<string, AdminRoute>>;
}

export interface Admin {
  readonly host: string;
  readonly port: number;
  /** Takes no more requests, lets those under way finish for up to two seconds, then closes every connection. */
  close(): Promise<void>;
}

const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 30_000;
const DRAIN_MS = 2_000;
const CONNECTIONS_MAX = 128;
/** The largest body that `readJson` takes. */
const BODY_BYTES_MAX = 1024 * 1024;

type Handler = (url: URL, request: http.IncomingMessage) => Promise<{ status: number; type: string; text: string }>;

/** An error that a route answers with: its status, and its message as `{"error": …}`. */
export class AdminError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
    this.name = 'AdminError';
  }
}

/** The JSON body of a request. @throws AdminError 400, 413 */
export async function readJson(request: http.IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new AdminError(413, `the body is larger than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    throw new AdminError(400, 'the body is not JSON');
  }
}

/** Starts the endpoint; rejects when the address cannot be bound. */
export async function startAdmin(o: AdminOptions): Promise<Admin> {
  const routes = routeTable(o);
  const server = http.createServer(
    { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: 5_000 },
    (request, response) => {
      void serve(routes, request, response);
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(o.port, o.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  let closing: Promise<void> | null = null;
  return {
    host: o.host,
    port: (server.address() as AddressInfo).port,
    close: () => (closing ??= drain(server)),
  };
}

function drain(server: http.Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}

/** Handlers by path and method. */
function routeTable(o: AdminOptions): Map<string, Map<string, Handler>> {
  const table = new Map<string, Map<string, Handler>>();
  const add = (method: string, path: string, handler: Handler): void => {
    const methods = table.get(path) ?? new Map<string, Handler>();
    methods.set(method, handler);
    table.set(path, methods);
  };
  add('GET', '/healthz', async () => json(200, { ok: true }));
  add('GET', '/readyz', async () => {
    const answer = o.ready();
    return json(answer.ready ? 200 : 503, answer);
  });
  add('GET', '/status', async () => json(200, o.status()));
  add('GET', '/metrics', async () => ({
    status: 200,
    type: o.metrics.contentType,
    text: await o.metrics.metrics(),
  }));
  for (const [key, route] of Object.entries(o.routes ?? {})) {
    const [method, path] = key.startsWith('/') ? ['GET', key] : (key.split(' ', 2) as [string, string]);
    add(method, path, async (url, request) => {
      const { status, body } = await route(url, request);
      return json(status, body);
    });
  }
  return table;
}

function json(status: number, body: unknown): { status: number; type: string; text: string } {
  return { status, type: 'application/json', text: `${JSON.stringify(body)}\n` };
}

/** @throws AdminError 400 */
function urlOf(request: http.IncomingMessage): URL {
  try {
    return new URL(request.url ?? '/', 'http://admin');
  } catch {
    throw new AdminError(400, 'what is asked for is no URL');
  }
}

async function serve(
  routes: ReadonlyMap<string, ReadonlyMap<string, Handler>>,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  let answer: { status: number; type: string; text: string };
  try {
    const url = urlOf(request);
    const methods = routes.get(url.pathname);
    // HEAD is GET without the body, which node leaves out by itself.
    const handler = methods?.get(request.method === 'HEAD' ? 'GET' : (request.method ?? ''));
    if (methods === undefined) {
      answer = json(404, { error: `no ${url.pathname} here`, paths: [...routes.keys()] });
    } else if (handler === undefined) {
      const allow = [...methods.keys()].join(', ');
      response.setHeader('allow', allow);
      answer = json(405, { error: `${url.pathname} takes ${allow}` });
    } else {
      answer = await handler(url, request);
    }
  } catch (error) {
    const status = error instanceof AdminError ? error.status : 500;
    answer = json(status, { error: error instanceof Error ? error.message : String(error) });
  }
  if (response.destroyed) return;
  // A body that nobody read would be taken for the next request.
  if (!request.complete) response.setHeader('connection', 'close');
  response.writeHead(answer.status, { 'content-type': answer.type, 'content-length': Buffer.byteLength(answer.text) });
  response.end(answer.text);
}
