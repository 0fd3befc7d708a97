/**
 * For tests only: checks custom resources against the schemas that an API server would check them by, strictly: what the schema doesn't know is an
 * error. The CustomResourceDefinitions come from the projects' own Go modules, by `go mod download`, into Go's module cache. CEL rules
 * (`x-kubernetes-validations`) are left to a real API server.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';

import { type Recorded } from './harness';

const sources = [
  { module: 'istio.io/api@v1.31.1', files: ['kubernetes/customresourcedefinitions.gen.yaml'] },
  {
    module: 'github.com/prometheus-operator/prometheus-operator@v0.85.0',
    files: ['podmonitors', 'prometheusrules'].map(
      (plural) => `example/prometheus-operator-crd/monitoring.coreos.com_${plural}.yaml`,
    ),
  },
  {
    module: 'github.com/cert-manager/cert-manager@v1.21.2',
    files: ['certificates', 'clusterissuers', 'issuers'].map((plural) => `deploy/crds/cert-manager.io_${plural}.yaml`),
  },
];

interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly oneOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly not?: Schema;
  readonly 'x-kubernetes-int-or-string'?: boolean;
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
}

interface Definition {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string };
    readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: Schema } }[];
  };
}

/** Schemas by `apiVersion/kind`. */
export type CustomSchemas = ReadonlyMap<string, Schema>;

/** The files, or why they can't be had: no `go`, no network, or MERIDIAN_NO_INSTALL=1. */
export function customDefinitionFiles(): { readonly files?: readonly string[]; readonly reason: string } {
  if (process.env['MERIDIAN_NO_INSTALL'] === '1')
    return { reason: 'MERIDIAN_NO_INSTALL=1 forbids downloading modules' };
  const args = ['mod', 'download', '-json', ...sources.map(({ module }) => module)];
  const run = spawnSync('go', args, { encoding: 'utf8', timeout: 60_000, cwd: path.parse(process.cwd()).root });
  if (run.status !== 0) return { reason: `\`go ${args.join(' ')}\` failed: install Go and reach its module proxy` };
  const dirs = [...run.stdout.matchAll(/"Dir": "(.*)"/g)].map(([, dir]) => dir ?? '');
  const files = sources.flatMap(({ module, files: names }) => {
    const dir = dirs.find((found) => found.endsWith(module)) ?? module;
    return names.map((name) => path.join(dir, name));
  });
  return { files, reason: '' };
}

/** @returns undefined and why, where they can't be had */
export function customSchemas(): { readonly schemas?: CustomSchemas; readonly reason: string } {
  const { files, reason } = customDefinitionFiles();
  if (files === undefined) return { reason };
  const schemas = new Map<string, Schema>();
  for (const document of files.flatMap((file) => parseAllDocuments(readFileSync(file, 'utf8')))) {
    const definition = document.toJS() as Definition | null;
    if (definition === null) continue;
    const { group, names, versions } = definition.spec;
    for (const { name, schema } of versions) schemas.set(`${group}/${name}/${names.kind}`, schema.openAPIV3Schema);
  }
  return { schemas, reason: '' };
}

/** What an API server would refuse in a resource, each with its path; empty when all is well. */
export function violations(schemas: CustomSchemas, { inputs }: Recorded): string[] {
  const { apiVersion, kind, spec } = inputs as { apiVersion: string; kind: string; spec: unknown };
  const schema = schemas.get(`${apiVersion}/${kind}`)?.properties?.['spec'];
  return schema === undefined ? [`no schema of ${apiVersion} ${kind}`] : check(schema, spec, 'spec');
}

function check(schema: Schema, value: unknown, at: string): string[] {
  const mayBeEither = schema['x-kubernetes-int-or-string'] === true && ['number', 'string'].includes(typeof value);
  if (schema.type !== undefined && !mayBeEither && !isType(schema.type, value)) {
    return [`${at}: ${JSON.stringify(value)} is no ${schema.type}`];
  }
  return [
    ...branches(schema, value, at),
    ...(schema.enum !== undefined && !schema.enum.includes(value)
      ? [`${at}: ${JSON.stringify(value)} is none of ${schema.enum.join(', ')}`]
      : []),
    ...limits(schema, value, at),
    ...(Array.isArray(value)
      ? value.flatMap((item, i) => (schema.items === undefined ? [] : check(schema.items, item, `${at}[${i}]`)))
      : []),
    ...(isObject(value) ? fields(schema, value, at) : []),
  ];
}

function fields(schema: Schema, value: Readonly<Record<string, unknown>>, at: string): string[] {
  const { properties = {}, additionalProperties } = schema;
  // Only what declares a type is a structure; branches of a oneOf speak of some fields and leave the others alone.
  const isOpen = schema.type === undefined || schema['x-kubernetes-preserve-unknown-fields'] === true;
  return [
    ...(schema.required ?? []).filter((key) => value[key] === undefined).map((key) => `${at}.${key}: missing`),
    ...Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .flatMap(([key, item]) => {
        const known = properties[key] ?? (typeof additionalProperties === 'object' ? additionalProperties : undefined);
        if (known !== undefined) return check(known, item, `${at}.${key}`);
        return isOpen || additionalProperties === true ? [] : [`${at}.${key}: unknown`];
      }),
  ];
}

function branches(schema: Schema, value: unknown, at: string): string[] {
  const passing = (all: readonly Schema[]): number => all.filter((one) => check(one, value, at).length === 0).length;
  return [
    ...(schema.oneOf !== undefined && passing(schema.oneOf) !== 1
      ? [`${at}: not exactly one of its alternatives`]
      : []),
    ...(schema.anyOf !== undefined && passing(schema.anyOf) === 0 ? [`${at}: none of its alternatives`] : []),
    ...(schema.not !== undefined && passing([schema.not]) === 1 ? [`${at}: excluded`] : []),
  ];
}

function limits(schema: Schema, value: unknown, at: string): string[] {
  const bad = (isBad: boolean, what: string): string[] => (isBad ? [`${at}: ${JSON.stringify(value)} ${what}`] : []);
  if (typeof value === 'number') {
    return [
      ...bad(schema.minimum !== undefined && value < schema.minimum, `is below ${schema.minimum ?? ''}`),
      ...bad(schema.maximum !== undefined && value > schema.maximum, `is above ${schema.maximum ?? ''}`),
    ];
  }
  if (typeof value === 'string') {
    const { pattern, minLength = 0, maxLength = Infinity } = schema;
    return [
      ...bad(pattern !== undefined && !new RegExp(pattern).test(value), `doesn't match ${pattern ?? ''}`),
      ...bad(value.length < minLength || value.length > maxLength, 'is too short or too long'),
    ];
  }
  if (!Array.isArray(value)) return [];
  const { minItems = 0, maxItems = Infinity } = schema;
  return bad(value.length < minItems || value.length > maxItems, 'has too few or too many items');
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function isType(type: string, value: unknown): boolean {
  switch (type) {
    case 'object':
      return isObject(value);
    case 'array':
      return Array.isArray(value);
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}
