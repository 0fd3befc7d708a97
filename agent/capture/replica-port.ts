/**
 * The port behind a replica link. Whoever reads the primary's INFO (Sentinel, FAILOVER, an operator) finds us in the list of replicas and asks there: so something must
 * answer as a replica that is never to be promoted. Without it Sentinel counts a replica as down; a bare FAILOVER would choose us and wait.
 */
import { randomBytes } from 'crypto';
import { EventEmitter } from 'events';
import * as net from 'net';
import * as tls from 'tls';
import { CommandScanner, ProtocolError } from '../resp';

export interface ReplicaPortOptions {
  /** Where to listen. Default all interfaces, and a free port. */
  host?: string;
  port?: number;
  tls?: tls.TlsOptions;
  /** Wanted of who asks (Sentinel's auth-pass). Absent: any AUTH is accepted, and none is needed. */
  password?: string;
  username?: string;
}

/** What INFO and ROLE answer. */
export interface ReplicaPortState {
  primaryHost: string;
  primaryPort: number;
  /** Whether the replica link stands. */
  linkUp: boolean;
  /** Unix time in ms since which it doesn't; ignored while it is up. */
  linkDownSinceMs?: number;
  /** Bytes of the stream processed. */
  offset: number;
}

interface ReplicaPortEvents {
  /** REPLICAOF host port (Sentinel after a failover); null: REPLICAOF NO ONE, which is refused. */
  replicaof: [target: { host: string; port: number } | null];
  error: [error: Error];
}

const CONNECTIONS_MAX = 64;
const COMMAND_BYTES_MAX = 64 * 1024;
const QUEUED_MAX = 64;
const IDLE_MS = 300_000;

const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
const array = (items: string[]): string => `*${items.length}\r\n${items.join('')}`;

interface Client {
  socket: net.Socket;
  authorized: boolean;
  /** Replies of a MULTI block; null outside. */
  queued: (() => string)[] | null;
}

/** The server. `listen`, keep `update`d, `close`. */
export class ReplicaPort extends EventEmitter<ReplicaPortEvents> {
  private server: net.Server | null = null;
  private readonly sockets = new Set<net.Socket>();
  /** Sentinel knows an instance by its run ID. */
  private readonly runId = randomBytes(20).toString('hex');
  private readonly startedMs = Date.now();
  private state: ReplicaPortState;

  constructor(
    private readonly opts: ReplicaPortOptions,
    state: ReplicaPortState,
  ) {
    super();
    this.state = { ...state };
  }

  /** Port in use; 0 before `listen`. */
  get port(): number {
    const address = this.server?.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  async listen(): Promise<number> {
    const onSocket = (socket: net.Socket): void => this.serve(socket);
    const server = this.opts.tls === undefined ? net.createServer(onSocket) : tls.createServer(this.opts.tls, onSocket);
    server.maxConnections = CONNECTIONS_MAX;
    server.on('tlsClientError', () => undefined);
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.opts.port ?? 0, this.opts.host, () => {
        server.off('error', reject);
        server.on('error', (error: Error) => this.listenerCount('error') > 0 && this.emit('error', error));
        resolve();
      });
    });
    return this.port;
  }

  /** Shows another certificate from the next connection on. */
  renew(options: tls.TlsOptions): void {
    if (this.server instanceof tls.Server) this.server.setSecureContext(options);
  }

  /** Tells what to answer from now on. */
  update(state: Partial<ReplicaPortState>): void {
    Object.assign(this.state, state);
  }

  async close(): Promise<void> {
    const server = this.server;
    this.server = null;
    for (const socket of this.sockets) socket.destroy();
    if (server !== null) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  private serve(socket: net.Socket): void {
    const client: Client = { socket, authorized: this.opts.password === undefined, queued: null };
    const scanner = new CommandScanner({ maxCommandBytes: COMMAND_BYTES_MAX, maxArgs: 64 });
    this.sockets.add(socket);
    socket.setNoDelay(true);
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('data', (chunk: Buffer) => {
      let out = '';
      try {
        scanner.push(chunk);
        while (scanner.next()) {
          const args: string[] = [];
          for (let i = 0; i < scanner.argc; i++) {
            args.push(scanner.buf.toString('latin1', scanner.argStart[i], scanner.argEnd[i]));
          }
          out += this.answer(client, args);
          if (socket.destroyed) return;
        }
      } catch (error) {
        socket.end(error instanceof ProtocolError ? '-ERR Protocol error\r\n' : '-ERR internal error\r\n');
        return;
      }
      if (out !== '') socket.write(out);
    });
  }

  private answer(client: Client, args: string[]): string {
    const name = (args[0] ?? '').toLowerCase();
    if (name === 'auth') {
      const password = args[args.length - 1];
      const user = args.length > 2 ? args[1] : undefined;
      if (this.opts.password === undefined) return '+OK\r\n';
      if (password === this.opts.password && (user === undefined || user === (this.opts.username ?? 'default'))) {
        client.authorized = true;
        return '+OK\r\n';
      }
      return '-WRONGPASS invalid username-password pair or user is disabled.\r\n';
    }
    if (name === 'quit') {
      client.socket.end('+OK\r\n');
      return '';
    }
    if (!client.authorized) return '-NOAUTH Authentication required.\r\n';
    if (client.queued !== null && name !== 'exec' && name !== 'discard' && name !== 'multi') {
      if (client.queued.length >= QUEUED_MAX) return '-ERR too many commands in a transaction\r\n';
      client.queued.push(() => this.run(client, name, args));
      return '+QUEUED\r\n';
    }
    return this.run(client, name, args);
  }

  private run(client: Client, name: string, args: string[]): string {
    switch (name) {
      case 'ping':
        return args[1] === undefined ? '+PONG\r\n' : bulk(args[1]);
      case 'info':
        return bulk(this.info());
      case 'role': {
        const { primaryHost, primaryPort, linkUp, offset } = this.state;
        const link = linkUp ? 'connected' : 'connect';
        return array([bulk('slave'), bulk(primaryHost), `:${primaryPort}\r\n`, bulk(link), `:${offset}\r\n`]);
      }
      case 'replicaof':
      case 'slaveof':
        return this.replicaof(args);
      case 'multi':
        if (client.queued !== null) return '-ERR MULTI calls can not be nested\r\n';
        client.queued = [];
        return '+OK\r\n';
      case 'exec': {
        // Sentinel sends SLAVEOF, CONFIG REWRITE and CLIENT KILL as one block.
        const queued = client.queued;
        if (queued === null) return '-ERR EXEC without MULTI\r\n';
        client.queued = null;
        return array(queued.map((reply) => reply()));
      }
      case 'discard':
        client.queued = null;
        return '+OK\r\n';
      case 'subscribe':
        return args
          .slice(1)
          .map((channel, i) => array([bulk('subscribe'), bulk(channel), `:${i + 1}\r\n`]))
          .join('');
      case 'publish':
        return ':0\r\n';
      case 'config':
        return args[1]?.toLowerCase() === 'get' ? '*0\r\n' : '+OK\r\n';
      case 'client':
        return args[1]?.toLowerCase() === 'kill' ? ':0\r\n' : '+OK\r\n';
      case 'replconf':
      case 'select':
        return '+OK\r\n';
      case 'psync':
      case 'sync':
        // Also `PSYNC … FAILOVER`: the primary must learn at once that this one can't be promoted (it then aborts and goes on).
        return '-ERR this is a replication agent, it has no data and can not be promoted\r\n';
      default:
        return '-ERR unknown command\r\n';
    }
  }

  private replicaof(args: string[]): string {
    const [, host = '', port = ''] = args;
    if (host.toLowerCase() === 'no' && port.toLowerCase() === 'one') {
      this.emit('replicaof', null);
      return '-ERR this is a replication agent, it can not be promoted\r\n';
    }
    const number = Number(port);
    if (host === '' || !Number.isInteger(number) || number < 1 || number > 65535) return '-ERR Invalid master port\r\n';
    if (host === this.state.primaryHost && number === this.state.primaryPort)
      return '+OK Already connected to specified master\r\n';
    // Answer with the new primary from now on: Sentinel waits for it before it calls the failover done.
    this.update({ primaryHost: host, primaryPort: number, linkUp: false, linkDownSinceMs: Date.now() });
    this.emit('replicaof', { host, port: number });
    return '+OK\r\n';
  }

  private info(): string {
    const { primaryHost, primaryPort, linkUp, linkDownSinceMs, offset } = this.state;
    const down = Math.max(0, Math.round((Date.now() - (linkDownSinceMs ?? this.startedMs)) / 1000));
    const lines = [
      '# Server',
      'redis_version:7.0.0',
      'redis_mode:standalone',
      `run_id:${this.runId}`,
      `tcp_port:${this.port}`,
      `uptime_in_seconds:${Math.round((Date.now() - this.startedMs) / 1000)}`,
      '',
      '# Replication',
      'role:slave',
      `master_host:${primaryHost}`,
      `master_port:${primaryPort}`,
      `master_link_status:${linkUp ? 'up' : 'down'}`,
      'master_last_io_seconds_ago:0',
      'master_sync_in_progress:0',
      `slave_read_repl_offset:${offset}`,
      `slave_repl_offset:${offset}`,
      ...(linkUp ? [] : [`master_link_down_since_seconds:${down}`]),
      'slave_priority:0', // never a candidate
      'slave_read_only:1',
      'replica_announced:0', // not shown to clients that ask Sentinel for replicas
      'connected_slaves:0',
      'master_failover_state:no-failover',
      `master_repl_offset:${offset}`,
    ];
    return lines.join('\r\n') + '\r\n';
  }
}
