import { readFileSync } from 'node:fs';

import { parseDocument } from 'yaml';

import { isMapping } from '../components/recording';
import { RenderError } from './error';

/**
 * The config of a stack's file as Pulumi's runtime gives it to a program: texts, and JSON where a value is none.
 * @param settings more of it, `meridian:kubernetes.agentImage=name`, which replace what the file says
 * @throws RenderError where the file can't be read, holds encrypted values, or a setting makes no sense
 */
export function readConfig(file: string, settings: readonly string[] = []): Record<string, string> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new RenderError(
      `${file}: ${isMissing ? 'there is no such file: name a stack that has one by --stack, or a file by --file' : `can't be read: ${(error as Error).message}`}`,
    );
  }
  const document = parseDocument(text, { prettyErrors: true });
  if (document.errors[0] !== undefined)
    throw new RenderError(`${file}: found broken YAML: ${document.errors[0].message}`);
  const stack: unknown = document.toJS();
  const config = isMapping(stack) ? (stack['config'] ?? {}) : undefined;
  if (!isMapping(config))
    throw new RenderError(`${file}: found no mapping \`config:\`; allowed: the file of a Pulumi stack`);
  for (const [key, value] of Object.entries(config)) {
    if (isMapping(value) && 'secure' in value)
      throw new RenderError(`${file}: ${key} is encrypted, which only Pulumi can read; give it by --set ${key}=…`);
  }
  for (const setting of settings) set(config, setting);
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
  );
}

/** `key=value` or `key.inner.key=value`; the value is JSON where it can be read so, else a text. */
function set(config: Record<string, unknown>, setting: string): void {
  const at = setting.indexOf('=');
  const [first = '', ...keys] = setting.slice(0, Math.max(at, 0)).split('.');
  if (at < 0 || !/^[^:\s]+:[^:\s]+$/.test(first) || keys.includes(''))
    throw new RenderError(`--set ${setting}: allowed: key=value, such as meridian:kubernetes.agentImage=meridian:1`);
  const value = valueOf(setting.slice(at + 1));
  const last = keys.pop();
  if (last === undefined) {
    config[first] = value;
    return;
  }
  let inner: unknown = (config[first] ??= {});
  for (const key of keys) inner = isMapping(inner) ? (inner[key] ??= {}) : inner;
  if (!isMapping(inner)) throw new RenderError(`--set ${setting}: what it is to be set in is no mapping`);
  inner[last] = value;
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
