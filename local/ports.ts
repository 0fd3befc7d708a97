import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import net from 'node:net';

import { LocalError, errorCode } from './errors';
import { describeProcess } from './process';

/** A port that something of ours will listen on. */
export interface WantedPort {
  readonly port: number;
  /** What for, such as `Redis of us-west-2`. */
  readonly use: string;
}

export const loopback = '127.0.0.1';

/** @throws LocalError PORT_IN_USE, naming the first port that can't be had, and by whom it is held where that is known */
export async function checkPortsFree(wanted: readonly WantedPort[]): Promise<void> {
  const failures = await Promise.all(wanted.map(async (want) => ({ ...want, code: await tryListen(want.port) })));
  const taken = failures.find(({ code }) => code !== undefined);
  if (taken === undefined) return;
  if (taken.code !== 'EADDRINUSE') {
    throw new LocalError(
      'PORT_IN_USE',
      `Port ${taken.port} (${taken.use}) can't be listened on here (${taken.code}): choose others, by local.basePort of the config or --base-port.`,
    );
  }
  const pid = listenerOf(taken.port);
  const program = pid === undefined ? undefined : describeProcess(pid);
  const owner = pid === undefined ? '' : ` by process ${pid}${program === undefined ? '' : ` (${program})`}`;
  throw new LocalError(
    'PORT_IN_USE',
    `Port ${taken.port} (${taken.use}) is in use${owner}: stop that, or choose other ports, by local.basePort of the config or --base-port.`,
  );
}

/** @returns the system's error code, or undefined when the port is free */
function tryListen(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', (error) => resolve(errorCode(error) ?? 'unknown error'));
    server.listen({ host: loopback, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** The process that listens on a port, where the system tells (Linux, and a process of the same user). */
function listenerOf(port: number): number | undefined {
  const inodes = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) => listeningInodes(table, port)));
  if (inodes.size === 0) return undefined;
  for (const pid of safely(() => readdirSync('/proc'))) {
    if (!/^\d+$/.test(pid)) continue;
    for (const fd of safely(() => readdirSync(`/proc/${pid}/fd`))) {
      const [link = ''] = safely(() => [readlinkSync(`/proc/${pid}/fd/${fd}`)]);
      const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
      if (inode !== undefined && inodes.has(inode)) return Number(pid);
    }
  }
  return undefined;
}

function listeningInodes(table: string, port: number): string[] {
  const [text = ''] = safely(() => [readFileSync(table, 'latin1')]);
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(`:${hex}`) && fields[3] === '0A') // 0A is LISTEN
    .flatMap((fields) => (fields[9] === undefined ? [] : [fields[9]]));
}

/** A process may end, or belong to somebody else, while we look. */
function safely<T>(read: () => T[]): T[] {
  try {
    return read();
  } catch {
    return [];
  }
}
