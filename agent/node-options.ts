/**
 * Options of Node.js for an agent's process. A small young generation is collected often, and with it the buffers that
 * what it holds refers to: that is 30 MB less at full speed, at no cost in time. Source maps are left out: with the
 * libraries' in it, the first error logged would cost as much again, and the one file is readable as it is.
 */
export const agentNodeOptions: readonly string[] = ['--max-semi-space-size=1'];
