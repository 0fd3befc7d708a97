/**
 * An agent that begins anew, in its process, when its config file has changed. A region more or less changes the config of all agents, and a pod that is replaced for it is away for
 * seconds, in which a region in semi-sync takes no writes; this is over in less than one.
 */
import fs from 'node:fs';
import { Agent } from './agent';
import { type AgentConfig, AgentConfigError, loadAgentConfig } from './config';

/** Between two looks. A ConfigMap's volume is itself up to a minute behind it. */
const LOOK_MS = 2000;

export class ReloadingAgent {
  private timer: NodeJS.Timeout | null = null;
  private stopping = false;
  /** What runs now, or began to. */
  private turn: Promise<void> = Promise.resolve();

  private constructor(
    private readonly file: string,
    private text: string,
    private agent: Agent,
    private readonly failed: (error: unknown) => void,
  ) {}

  /**
   * @param failed it could not begin anew, and is no more
   * @throws AgentConfigError and what Agent.start throws
   */
  static async start(file: string, failed: (error: unknown) => void): Promise<ReloadingAgent> {
    // Before the config is read: a change between the two is seen twice, and not never.
    const text = textOf(file);
    const reloading = new ReloadingAgent(file, text, await Agent.start(loadAgentConfig(file)), failed);
    reloading.timer = setInterval(() => reloading.look(), LOOK_MS);
    return reloading;
  }

  private look(): void {
    const text = textOf(this.file);
    if (text === this.text || this.stopping) return;
    this.text = text;
    let config: AgentConfig;
    try {
      config = loadAgentConfig(this.file);
    } catch (error) {
      if (!(error instanceof AgentConfigError)) throw error;
      this.agent.log.error(
        { err: error },
        'the config file has changed and is not good: what was in it before goes on',
      );
      return;
    }
    this.turn = this.turn.then(() => this.change(config)).catch(this.failed);
  }

  private async change(config: AgentConfig): Promise<void> {
    if (this.stopping) return;
    this.agent.log.info('the config file has changed: beginning anew');
    await this.agent.stop();
    this.agent = await Agent.start(config);
  }

  async stop(): Promise<void> {
    this.stopping = true;
    if (this.timer !== null) clearInterval(this.timer);
    await this.turn;
    await this.agent.stop();
  }
}

/** Empty where it can't be read: loading it says why. */
function textOf(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
