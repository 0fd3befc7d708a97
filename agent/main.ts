/** The agent's process: `node dist/agent/main.js --config FILE`. */
import { Agent } from './agent';
import { AgentConfigError, loadAgentConfig } from './config';
import { ReloadingAgent } from './reload';

const USAGE = `usage: node main.js --config FILE [--reload]

  --config FILE   the agent's config (JSON; see agent/config.ts)
  --reload        begin anew, in this process, when the file has changed

The password of Redis is read from the config's redis.passwordFile or from MERIDIAN_REDIS_PASSWORD.`;

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) {
    process.stdout.write(`${USAGE}\n`);
    return;
  }
  const reloads = args.includes('--reload');
  const [option, file, ...rest] = args.filter((arg) => arg !== '--reload');
  if (option !== '--config' || file === undefined || rest.length > 0) {
    process.stderr.write(`${USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  const agent = reloads ? await ReloadingAgent.start(file, end) : await Agent.start(loadAgentConfig(file));
  let stopping = false;
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    void agent.stop().then(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

function fail(error: unknown): void {
  const known = error instanceof AgentConfigError || (error instanceof Error && 'code' in error);
  process.stderr.write(
    `meridian agent: ${known ? error.message : error instanceof Error ? error.stack : String(error)}\n`,
  );
  process.exitCode = 1;
}

/** Whatever still runs. */
function end(error: unknown): never {
  fail(error);
  process.exit();
}

main(process.argv.slice(2)).catch(fail);
