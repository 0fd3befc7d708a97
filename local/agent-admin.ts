import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type z } from 'zod';

import { ADMIN_TOKEN_FILE } from '../agent/admin-token';
import { type CommonOptions, dirOf } from './commands/common';
import { requestJson } from './control';
import { LocalError, errorText } from './errors';
import { readIfThere } from './files';
import { agentDataOf } from './layout';
import { requireRunning } from './status';

// What an agent's admin endpoint answers only to those who can read its state directory.

export interface AgentOptions extends CommonOptions {
  /** URL of the admin endpoint of an agent that is elsewhere, by a forwarded port say. */
  readonly agent?: string;
  /** The file with its token. */
  readonly tokenFile?: string;
}

export interface AgentEndpoint {
  readonly name: string;
  readonly admin: string;
  readonly token: string;
}

/** The agents that are meant: those of the stack, or one elsewhere. @throws LocalError */
export function agentsOf(options: AgentOptions): AgentEndpoint[] {
  if (options.agent !== undefined)
    return [{ name: hostOf(options.agent), admin: options.agent, token: tokenOf(options.tokenFile) }];
  if (options.tokenFile !== undefined)
    throw new LocalError('BAD_ARGUMENT', '--token-file goes with --agent: the agents of a stack here need none.');
  const dir = dirOf(options);
  const state = requireRunning(dir, options.stack);
  if (!state.agents) throw new LocalError('AGENT', `Stack '${options.stack}' runs without agents.`);
  return state.regions.map(({ name, agent }) => ({
    name,
    admin: agent.admin,
    token: readIfThere(path.join(agentDataOf(dir, name), ADMIN_TOKEN_FILE))?.trim() ?? '',
  }));
}

function hostOf(url: string): string {
  if (URL.canParse(url) && new URL(url).protocol === 'http:') return new URL(url).host;
  throw new LocalError('BAD_ARGUMENT', `--agent ${url} is no URL of an admin endpoint, such as http://127.0.0.1:7601.`);
}

function tokenOf(file: string | undefined): string {
  const copy = `a copy of ${ADMIN_TOKEN_FILE} in that agent's state directory`;
  if (file === undefined) throw new LocalError('BAD_ARGUMENT', `--agent needs --token-file: ${copy}.`);
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new LocalError('BAD_ARGUMENT', `--token-file ${file} can't be read (${errorText(error)}): it is ${copy}.`);
  }
  if (/^[\x21-\x7e]+$/.test(text)) return text;
  throw new LocalError('BAD_ARGUMENT', `--token-file ${file} holds no token: it is ${copy}.`);
}

/** @throws LocalError AGENT when it doesn't answer, or with an error */
async function askAgentFor<Schema extends z.ZodType>(
  { name, admin, token }: AgentEndpoint,
  schema: Schema,
  request: { path: string; query?: Readonly<Record<string, string | number | undefined>>; method?: string },
): Promise<z.output<Schema>> {
  const { hostname, port } = new URL(admin);
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(request.query ?? {}))
    if (value !== undefined) query.set(key, String(value));
  const options = {
    host: hostname,
    port,
    method: request.method ?? 'GET',
    path: `${request.path}?${query.toString()}`,
    headers: { authorization: `Bearer ${token}` },
  };
  let answer: Awaited<ReturnType<typeof requestJson>>;
  try {
    answer = await requestJson(options, '', timeoutMs);
  } catch (error) {
    throw new LocalError('AGENT', `The agent of ${name} at ${admin} does not answer: ${errorText(error)}.`);
  }
  if (answer.status === 200) return schema.parse(answer.body);
  const why = String(Reflect.get(Object(answer.body) as object, 'error') ?? `status ${answer.status}`);
  throw new LocalError('AGENT', `The agent of ${name} answers: ${why}.`);
}

const timeoutMs = 20_000;

/** Asks all of them at once. @returns answers by name, and what those said who gave none */
export async function askAll<Schema extends z.ZodType>(
  agents: readonly AgentEndpoint[],
  schema: Schema,
  request: (agent: AgentEndpoint) => Parameters<typeof askAgentFor>[2],
): Promise<{ answers: Map<string, z.output<Schema>>; failures: Map<string, string> }> {
  const answers = new Map<string, z.output<Schema>>();
  const failures = new Map<string, string>();
  await Promise.all(
    agents.map(async (agent) => {
      try {
        answers.set(agent.name, await askAgentFor(agent, schema, request(agent)));
      } catch (error) {
        failures.set(agent.name, errorText(error));
      }
    }),
  );
  if (answers.size === 0) throw new LocalError('AGENT', [...failures.values()].join(' '));
  return { answers, failures };
}
