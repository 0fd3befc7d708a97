/**
 * Options of Node.js for an agent's process. A small young generation is collected often, and with it the buffers that
 * what it holds refers to: that is 30 MB less at full speed, at no cost in time. Buffers count as part of the old generation,
 * and by the default factor an agent's small one would be collected five times a second for their sake: a quarter of its CPU
 * time at full speed. Source maps are left out: with the libraries' in it, the first error logged would cost as much again, and
 * the one file is readable as it is.
 */
export const agentNodeOptions: readonly string[] = ['--max-semi-space-size=1', '--heap-growing-percent=150'];

/**
 * Its environment. glibc gives every thread a heap of its own, and what the threads that write files and encrypt have freed
 * stays in it: that is 20 MB after a full sync. Other C libraries don't know the variable.
 */
export const agentEnvironment: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: '2' };
