/**
 * What programs in other languages see of the components: the schema that Pulumi's own analyser of component packages makes of plugin/. It is part of
 * the SDK, but not of its API.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import ts from 'typescript';

export interface AnalysedComponent {
  readonly inputs: Record<string, { readonly description?: string; readonly plain?: boolean }>;
}

interface Analysis {
  readonly components: Record<string, AnalysedComponent>;
  readonly typeDefinitions: unknown;
  readonly dependencies: unknown;
}
interface AnalyzerModule {
  Analyzer: new (dir: string, name: string, packageJson: object, names: Set<string>) => { analyze(): Analysis };
}
interface SchemaModule {
  generateSchema: (
    name: string,
    version: string,
    description: string,
    components: unknown,
    typeDefinitions: unknown,
    dependencies: unknown,
  ) => object;
}

/** Names of the components that plugin/ offers. */
export function offeredIn(root: string): string[] {
  const file = path.join(root, 'plugin/index.ts');
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022);
  return source.statements
    .flatMap((node) =>
      ts.isExportDeclaration(node) && node.exportClause !== undefined && ts.isNamedExports(node.exportClause)
        ? node.exportClause.elements.map((element) => element.name.text)
        : [],
    )
    .sort();
}

/** @throws Error where the analyser refuses a component. It compiles everything, the types of four clouds included. */
export function analyse(root: string): { components: Record<string, AnalysedComponent>; schema: string } {
  /* eslint-disable @typescript-eslint/no-require-imports */
  const { Analyzer } = require('@pulumi/pulumi/provider/experimental/analyzer') as AnalyzerModule;
  const { generateSchema } = require('@pulumi/pulumi/provider/experimental/schema') as SchemaModule;
  /* eslint-enable @typescript-eslint/no-require-imports */
  const manifest = JSON.parse(readFileSync(path.join(root, 'plugin/package.json'), 'utf8')) as {
    name: string;
    version: string;
    description: string;
  };
  const dir = mkdtempSync(path.join(tmpdir(), 'meridian-schema-'));
  // Of this folder what is exported, and nothing else: tests have types of their own.
  const main = path.join(root, 'components/index.ts');
  const compilerOptions = { module: 'Node16', moduleResolution: 'Node16', target: 'ES2022', types: [], typeRoots: [] };
  writeFileSync(path.join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [main] }));
  const analyzer = new Analyzer(dir, manifest.name, { ...manifest, main }, new Set(offeredIn(root)));
  rmSync(dir, { recursive: true });
  const { components, typeDefinitions, dependencies } = analyzer.analyze();
  const { name, version, description } = manifest;
  const schema = generateSchema(name, version, description, components, typeDefinitions, dependencies);
  return { components, schema: `${JSON.stringify(schema, undefined, 2)}\n` };
}
