import { readFileSync, renameSync, writeFileSync } from 'node:fs';

import { z } from 'zod';

import { type Inputs } from '../components/recording';
import { RenderError } from './error';
import { generate, isGenerated, renewalOf, sha256Hex } from './generated';

const fileSchema = z.strictObject({
  version: z.literal(1),
  stack: z.string(),
  values: z.record(z.string(), z.strictObject({ inputs: z.string(), outputs: z.record(z.string(), z.string()) })),
});
type StateFile = z.output<typeof fileSchema>;

/** Where the values of passwords, keys and certificates come from. */
export interface Values {
  /** What the provider of this resource makes up; nothing where it makes up nothing. */
  outputsOf(type: string, name: string, inputs: Inputs): Promise<Record<string, string>>;
  /** The resources whose values, or their hashes, stand in a text: `RandomPassword redis-security-app-a`. */
  sourcesIn(text: string): string[];
}

const title = (type: string, name: string): string => `${type.split(':').at(-1) ?? ''} ${name}`;

/** Remembers which text came from where. */
class Sources {
  private readonly texts = new Map<string, string>();

  add(source: string, text: string): void {
    this.texts.set(text, source);
    // ACL files hold passwords as their hashes.
    this.texts.set(sha256Hex(text), source);
  }

  in(text: string): string[] {
    return [...new Set([...this.texts].filter(([part]) => text.includes(part)).map(([, source]) => source))].sort();
  }
}

/**
 * Instead of values: texts that say what has to be there. So nothing is secret, and the same stack gives the same manifests each time.
 */
export class PlaceholderValues implements Values {
  private readonly sources = new Sources();

  outputsOf(type: string, name: string): Promise<Record<string, string>> {
    if (!isGenerated(type)) return Promise.resolve({});
    const source = title(type, name);
    const text = `<${source}>`;
    this.sources.add(source, text);
    return Promise.resolve({
      result: text,
      privateKeyPem: text,
      publicKeyPem: text,
      certPem: `${text}\n`,
      certRequestPem: text,
    });
  }

  sourcesIn(text: string): string[] {
    return this.sources.in(text);
  }
}

/** Real values. With a state file each stays the same until its arguments change or a certificate nears its end, as with Pulumi's own state. */
export class GeneratedValues implements Values {
  private readonly sources = new Sources();
  private readonly used: StateFile['values'] = {};

  private constructor(
    private readonly stack: string,
    private readonly known: StateFile['values'],
    private readonly file: string | undefined,
  ) {}

  /**
   * @param file of an earlier render; it need not be there yet. None: all values are new.
   * @throws RenderError where it is no such file, or another stack's
   */
  static open(stack: string, file?: string): GeneratedValues {
    return new GeneratedValues(stack, file === undefined ? {} : readState(file, stack), file);
  }

  async outputsOf(type: string, name: string, inputs: Inputs): Promise<Record<string, string>> {
    if (!isGenerated(type)) return {};
    const key = `${type} ${name}`;
    const fingerprint = sha256Hex(canonical(inputs));
    const kept = this.known[key];
    const isGood =
      kept?.inputs === fingerprint && !(Number(renewalOf(type, inputs, kept.outputs) ?? Infinity) <= Date.now());
    const outputs = isGood ? kept.outputs : await generate(type, name, inputs);
    this.used[key] = { inputs: fingerprint, outputs };
    for (const text of Object.values(outputs)) this.sources.add(title(type, name), text);
    return outputs;
  }

  sourcesIn(text: string): string[] {
    return this.sources.in(text);
  }

  /** Writes the state file, if there is one, for its owner only. What the stack has no more is forgotten, as Pulumi forgets it. */
  save(): void {
    if (this.file === undefined) return;
    const values = Object.fromEntries(Object.entries(this.used).sort(([a], [b]) => (a < b ? -1 : 1)));
    const state: StateFile = { version: 1, stack: this.stack, values };
    const temporary = `${this.file}.${process.pid}.tmp`;
    writeFileSync(temporary, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
    renameSync(temporary, this.file);
  }
}

function readState(file: string, stack: string): StateFile['values'] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new RenderError(`--state ${file}: can't be read: ${(error as Error).message}`);
  }
  let state: StateFile;
  try {
    state = fileSchema.parse(JSON.parse(text));
  } catch {
    // Not what was found: it may be a secret.
    throw new RenderError(
      `--state ${file}: found no state of a render; allowed: a file that --state wrote, or a new one`,
    );
  }
  if (state.stack !== stack)
    throw new RenderError(`--state ${file}: found the state of stack ${state.stack}; allowed: a file for each stack`);
  return state.values;
}

/** JSON with sorted keys: what does not depend on the order in which a program wrote its arguments. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
