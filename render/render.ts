import { record } from '../components/recording';
import { RenderError } from './error';
import { GenerationError } from './generated';
import { type Manifests, manifestsOf } from './manifests';
import { GeneratedValues, PlaceholderValues } from './values';

export interface RenderOptions {
  /** Name of the stack. */
  readonly stack: string;
  /** Its config, as Pulumi's runtime gives it; see `readConfig`. Default: none. */
  readonly config?: Readonly<Record<string, string>>;
  /** Leave the values of Secrets in, rather than references to where they come from. Default: false. */
  readonly secrets?: boolean;
  /** File in which generated passwords, keys and certificates are kept, so that the next render has the same. Default: none. */
  readonly state?: string;
}

/**
 * The manifests that a Pulumi program would deploy.
 * @param program makes the resources; loads the program, where that is a file
 * @throws RenderError where the program fails: a bad config, arguments that are refused
 */
export async function render(program: () => unknown, options: RenderOptions): Promise<Manifests> {
  const { stack, config, secrets = false, state } = options;
  // Without state and secrets nobody could use values, and new ones would change each time what is rendered.
  const values = secrets || state !== undefined ? GeneratedValues.open(stack, state) : new PlaceholderValues();
  const failures = new Failures();
  try {
    const recording = await Promise.race([
      record(program, {
        stack,
        ...(config === undefined ? {} : { config }),
        outputs: (type, name, inputs) =>
          values.outputsOf(type, name, inputs).catch((error: unknown) => failures.add(error)),
      }),
      // Pulumi's runtime waits for ever for what depends on a resource that failed.
      failures.first,
    ]);
    // Outputs that failed are known to nobody before the end of this turn.
    await new Promise(setImmediate);
    failures.check();
    const manifests = manifestsOf(recording, values, secrets);
    if (values instanceof GeneratedValues) values.save();
    return manifests;
  } catch (error) {
    throw readable(error);
  } finally {
    failures.close();
  }
}

/** What goes wrong where nobody waits for it: in outputs, and in the providers' stead. */
class Failures {
  private error: Error | undefined;
  private reject: (error: Error) => void = () => undefined;
  /** Fails with the first one. */
  readonly first = new Promise<never>((_, reject) => (this.reject = reject));
  private readonly listener = (error: unknown): void => this.note(error);

  constructor() {
    this.first.catch(() => undefined);
    process.on('unhandledRejection', this.listener);
  }

  private note(error: unknown): void {
    this.error ??= readable(error);
    this.reject(this.error);
  }

  add(error: unknown): never {
    this.note(error);
    throw error;
  }

  /** @throws the first one */
  check(): void {
    if (this.error !== undefined) throw this.error;
  }

  /** After a failure it goes on listening: what depends on the same thing fails later. */
  close(): void {
    if (this.error === undefined) process.off('unhandledRejection', this.listener);
  }
}

/** An error that its thrower meant for a person, as one of ours; others as they are. */
function readable(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  const isMeant = error instanceof GenerationError || '__pulumiRunError' in error;
  return isMeant ? new RenderError(error.message.replace(/^(error serializing property "[^"]*": )+/, '')) : error;
}
