/** The agent's process: `node dist/agent/main.js --config FILE`. */
import { Agent } from './agent';
import { AgentConfigError, loadAgentConfig } from './config';

const USAGE = `usage: node main.js --config FILE

  --config FILE   the agent's config (JSON; see agent/config.ts)

The password of Redis is read from the config's redis.passwordFile or from MERIDIAN_REDIS_PASSWORD.`;

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) {
    process.stdout.write(`${USAGE}\n`);
    return;
  }
  const at = args.indexOf('--config');
  const file = at < 0 ? undefined : args[at + 1];
  if (file === undefined || args.length !== 2) {
    process.stderr.write(`${USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  const agent = await Agent.start(loadAgentConfig(file));
  let stopping = false;
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    void agent.stop().then(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const known = error instanceof AgentConfigError || (error instanceof Error && 'code' in error);
  process.stderr.write(
    `meridian agent: ${known ? error.message : error instanceof Error ? error.stack : String(error)}\n`,
  );
  process.exitCode = 1;
});
