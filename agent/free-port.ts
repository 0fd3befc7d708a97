/** For tests and benchmarks: where on the loopback nobody listens. */
import net from 'node:net';

/** Below the ephemeral ports of every system, so that no outgoing connection of anybody takes one between the check and the use. */
export const PORTS = { first: 10_000, last: 32_000 } as const;

/** Those that this process has given out: most are not listened on yet when the next one is asked for. */
const given = new Set<number>();

export async function freePort(): Promise<number> {
  if (given.size > (PORTS.last - PORTS.first) / 2) given.clear();
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * (PORTS.last - PORTS.first));
    // Looked up last: another caller may have got it meanwhile.
    if (!(await isFree(port)) || given.has(port)) continue;
    given.add(port);
    return port;
  }
}

/** Whether nobody listens on a port of the loopback. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
