/**
 * The lock file of a journal: the pid of the agent that has it open. A pid alone is not enough, since an agent in a
 * container has the same pid after every restart; where the system tells when a process started, that is compared too.
 */
import fs from 'node:fs';
import path from 'node:path';
import { JournalError } from './error';

/** Directories locked by this very process: its own pid proves nothing about them. */
const held = new Set<string>();

function startedAt(pid: number): string | null {
  try {
    // Field 22 of /proc/pid/stat; the command's name before it may hold spaces and parentheses.
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    const boot = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    return `${boot}:${ticks}`;
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The pid of the live process that a lock file's text names, or null when the lock is stale. */
function holder(text: string): number | null {
  const [first = '', started = ''] = text.split('\n');
  const pid = Number(first);
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid || !isAlive(pid)) return null;
  const now = startedAt(pid);
  return now !== null && started !== '' && now !== started ? null : pid;
}

function readText(file: string): string | null {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch {
    return null;
  }
}

/**
 * @returns a function that releases the lock
 * @throws JournalError `locked`
 */
export function lockDir(dir: string): () => void {
  const real = fs.realpathSync(dir);
  const file = path.join(real, 'lock');
  const refuse = (pid: number): never => {
    throw new JournalError(
      'locked',
      `the journal in ${dir} is in use by the agent with pid ${pid}; stop that one, or give this one its own stateDir`,
    );
  };
  if (held.has(real)) refuse(process.pid);
  // The text is complete before the name appears: a lock that others can read always names its holder.
  const own = `${file}.${process.pid}`;
  fs.writeFileSync(own, `${process.pid}\n${startedAt(process.pid) ?? ''}\n`, { mode: 0o600 });
  try {
    for (;;) {
      try {
        fs.linkSync(own, file);
        break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const found = readText(file);
      if (found === null) continue;
      const pid = holder(found);
      if (pid !== null) refuse(pid);
      // Two starting agents may both find it stale. Only the one that moves away the text it has read goes on.
      const aside = `${file}.stale.${process.pid}`;
      try {
        fs.renameSync(file, aside);
      } catch {
        continue;
      }
      if (readText(aside) !== found) {
        try {
          fs.linkSync(aside, file);
        } catch {
          // a third one was faster; the next round sees it
        }
      }
      fs.rmSync(aside, { force: true });
    }
  } finally {
    fs.rmSync(own, { force: true });
  }
  held.add(real);
  return () => {
    held.delete(real);
    fs.rmSync(file, { force: true });
  };
}
