/**
 * Who may ask the admin endpoint for keys and values, or to do something: whoever can read the agent's state directory, from the same machine or pod. Health, status
 * and metrics stay open, for probes and Prometheus.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { AdminError, type AdminRoute } from './admin';

/** Its name in the agent's state directory. */
export const ADMIN_TOKEN_FILE = 'admin-token';

/** The token of this state directory; made where there is none. */
export function provideAdminToken(stateDir: string): string {
  const file = path.join(stateDir, ADMIN_TOKEN_FILE);
  try {
    const token = fs.readFileSync(file, 'utf8').trim();
    if (token !== '') return token;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const token = randomBytes(24).toString('base64url');
  fs.mkdirSync(stateDir, { recursive: true });
  fs.writeFileSync(`${file}.new`, `${token}\n`, { mode: 0o600 });
  fs.renameSync(`${file}.new`, file);
  return token;
}

/** The route, for those only who know the token and come over the loopback: in plain text it must not cross a network. */
export function withToken(token: string, route: AdminRoute): AdminRoute {
  const wanted = Buffer.from(`Bearer ${token}`);
  return async (url, request) => {
    if (!isLoopback(request.socket.remoteAddress))
      throw new AdminError(403, 'this is answered over the loopback only: ask from the same machine or pod');
    const given = Buffer.from(request.headers.authorization ?? '');
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted))
      throw new AdminError(401, `the token in ${ADMIN_TOKEN_FILE} of the agent's state directory is needed`);
    return route(url, request);
  };
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(?:::ffff:)?127\.|^::1$/.test(address);
}
