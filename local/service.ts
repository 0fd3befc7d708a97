import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { errorText } from './errors';
import { type ProcessIdentity, identityOf, isAlive, signal } from './process';

/** One program that the supervisor keeps running. */
export interface ServiceSpec {
  /** Unique in the stack: `us-west-2/redis`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Gets stdout and stderr, appended. */
  readonly log: string;
  /** Whether it serves. Asked again and again after each start until it says `ready`; anything else says what it is at. */
  readonly probe: () => Promise<'ready' | (string & {})>;
  /** What SIGTERM gives it to end by itself. */
  readonly graceMs: number;
}

/** `waiting`: it ended, and is started again after a pause. */
export type ServiceState = 'stopped' | 'starting' | 'ready' | 'waiting' | 'stopping';

interface ServiceEvents {
  /** A process was started or adopted. */
  process: [identity: ProcessIdentity];
  state: [state: ServiceState];
  /** Something a person may want to know. */
  notice: [text: string];
}

const backoffMs = { first: 100, max: 10_000, resetAfter: 10_000 } as const;
const probePauseMs = { first: 15, max: 200 } as const;
const adoptedPollMs = 200;
const logBytesMax = 16 * 1024 * 1024;

/** Starts a program, tells when it serves, and starts it again when it ends, until it is stopped. */
export class Service extends EventEmitter<ServiceEvents> {
  private current: ProcessIdentity | undefined;
  private ended: Promise<void> = Promise.resolve();
  private failures = 0;
  private timer: NodeJS.Timeout | undefined;
  private stateNow: ServiceState = 'stopped';
  private lastProbe = '';
  private lastEndText = '';
  private paused = false;

  constructor(readonly spec: ServiceSpec) {
    super();
  }

  get state(): ServiceState {
    return this.stateNow;
  }

  get identity(): ProcessIdentity | undefined {
    return this.current;
  }

  /** For a person: what it is doing, such as `loading its data`. */
  get detail(): string {
    if (this.paused) return 'paused';
    if (this.stateNow === 'starting') return this.lastProbe;
    return this.stateNow === 'waiting' ? this.lastEndText : '';
  }

  /** Ends since it last served; how often it was tried in vain. */
  get failedStarts(): number {
    return this.failures;
  }

  /** How the last process ended: `was ended by SIGKILL`. */
  get lastEnd(): string {
    return this.lastEndText;
  }

  get isPaused(): boolean {
    return this.paused;
  }

  start(): void {
    if (this.stateNow !== 'stopped') return;
    this.launch();
  }

  /** Takes over a process that an earlier supervisor started. It is no child of ours: whether it lives is asked, not told. */
  adopt(identity: ProcessIdentity): void {
    if (this.stateNow !== 'stopped') return;
    signal(identity, 'SIGCONT');
    this.watch(identity, untilGone(identity));
  }

  /** SIGKILL; it is then started again like after any other end. @returns false when no process runs */
  kill(): boolean {
    this.paused = false;
    return this.current !== undefined && signal(this.current, 'SIGKILL');
  }

  /** SIGSTOP, or SIGCONT. @returns false when no process runs */
  pause(on: boolean): boolean {
    if (this.current === undefined || !signal(this.current, on ? 'SIGSTOP' : 'SIGCONT')) return false;
    this.paused = on;
    this.emit('state', this.stateNow);
    return true;
  }

  /** Ends the process for good, gracefully within `graceMs`, or at once; also when a graceful end is under way. */
  async stop(atOnce = false): Promise<void> {
    clearTimeout(this.timer);
    this.paused = false;
    const identity = this.current;
    this.become(identity === undefined ? 'stopped' : 'stopping');
    if (identity === undefined) return;
    if (atOnce) signal(identity, 'SIGKILL');
    else {
      signal(identity, 'SIGTERM');
      signal(identity, 'SIGCONT'); // a stopped process doesn't see SIGTERM before it goes on
      const timeout = new AbortController();
      const inTime = await Promise.race([
        this.ended.then(() => true),
        sleep(this.spec.graceMs, false, { signal: timeout.signal }).catch(() => false),
      ]);
      timeout.abort();
      if (!inTime && signal(identity, 'SIGKILL')) {
        this.emit('notice', `${this.spec.name} did not end within ${this.spec.graceMs / 1000} s and was killed`);
      }
    }
    await this.ended;
  }

  private launch(): void {
    this.paused = false;
    let child: ChildProcess;
    try {
      child = this.spawn();
    } catch (error) {
      this.onEnd(`could not be started: ${errorText(error)}`);
      return;
    }
    const exit = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(`could not be started: ${errorText(error)}`));
      child.once('exit', (code, name) => resolve(name === null ? `ended with status ${code}` : `was ended by ${name}`));
    });
    const identity = child.pid === undefined ? undefined : identityOf(child.pid);
    // It may have ended already; then there is nobody to know it by, and the exit is reported all the same.
    this.watch(identity, exit);
  }

  /** In a session of its own: Ctrl-C at the terminal reaches the supervisor only, which then ends all in order. */
  private spawn(): ChildProcess {
    const { command, args, cwd, env, log } = this.spec;
    if (existsSync(log) && statSync(log).size > logBytesMax) renameSync(log, `${log}.1`);
    const fd = openSync(log, 'a', 0o600);
    try {
      return spawn(command, args, { cwd, env: env ?? process.env, stdio: ['ignore', fd, fd], detached: true });
    } finally {
      closeSync(fd);
    }
  }

  private watch(identity: ProcessIdentity | undefined, exit: Promise<string>): void {
    this.current = identity;
    this.lastProbe = 'starting';
    this.become('starting');
    if (identity !== undefined) this.emit('process', identity);
    const startedAt = performance.now();
    let over = false;
    this.ended = exit.then((how) => {
      over = true;
      this.current = undefined;
      if (performance.now() - startedAt > backoffMs.resetAfter) this.failures = 0;
      this.onEnd(how);
    });
    void this.probeUntilReady(() => over);
  }

  private async probeUntilReady(isOver: () => boolean): Promise<void> {
    for (let pause: number = probePauseMs.first; ; pause = Math.min(pause * 1.5, probePauseMs.max)) {
      await sleep(pause);
      if (isOver() || this.stateNow !== 'starting') return;
      const answer = await this.spec.probe().catch(errorText);
      if (isOver() || this.stateNow !== 'starting') return;
      if (answer === 'ready') {
        this.become('ready');
        return;
      }
      this.lastProbe = answer;
    }
  }

  private onEnd(how: string): void {
    this.paused = false;
    if (this.stateNow === 'stopping' || this.stateNow === 'stopped') {
      this.become('stopped');
      return;
    }
    this.lastEndText = how;
    const pause = Math.min(backoffMs.first * 2 ** this.failures++, backoffMs.max);
    this.emit('notice', `${this.spec.name} ${how}; it is started again in ${pause / 1000} s`);
    this.timer = setTimeout(() => this.launch(), pause);
    this.become('waiting');
  }

  private become(state: ServiceState): void {
    this.stateNow = state;
    this.emit('state', state);
  }
}

/** The last lines of a log, for the message about why something didn't start. */
export function lastLines(log: string, count: number): string {
  try {
    return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
  } catch {
    return '';
  }
}

async function untilGone(identity: ProcessIdentity): Promise<string> {
  while (isAlive(identity)) await sleep(adoptedPollMs, undefined, { ref: false });
  return 'ended';
}
