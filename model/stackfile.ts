import { LineCounter, parseDocument } from 'yaml';

import { type ConfigResult, parseStackConfig } from './config';

/**
 * Reads the text of a `Pulumi.<stack>.yaml`. Whoever has the file reads it: this folder does no I/O.
 * @param file its name, for messages
 */
export function parseStackFile(text: string, file: string): ConfigResult {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  if (document.errors.length > 0) {
    return {
      ok: false,
      issues: document.errors.map((error) => ({
        path: `${file}:${lineCounter.linePos(error.pos[0]).line}`,
        found: `broken YAML (${error.message})`,
        allowed: 'the YAML of a Pulumi stack, with a mapping `config:`',
      })),
    };
  }
  const stack: unknown = document.toJS();
  const isMapping = typeof stack === 'object' && stack !== null && !Array.isArray(stack);
  const config = isMapping ? (Reflect.get(stack, 'config') as unknown) : undefined;
  if (config === undefined || config === null) {
    return {
      ok: false,
      issues: [{ path: file, found: 'no `config:`', allowed: 'a mapping `config:` with meridian:regions, …' }],
    };
  }
  return parseStackConfig(config);
}
