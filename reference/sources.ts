/** What components/ declares, read from its sources: syntax alone, as compiling the types of all clouds takes a minute. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

/** An argument, an output, or one value of a kind. */
export interface Member {
  readonly name: string;
  readonly type: string;
  readonly isOptional: boolean;
  readonly doc: string;
}

export interface Shape {
  readonly name: string;
  readonly doc: string;
  /** Interfaces whose members it has too. */
  readonly parents: readonly string[];
  readonly members: readonly Member[];
}

export interface Component {
  readonly name: string;
  readonly doc: string;
  /** Interface of its arguments. */
  readonly args: string;
  readonly outputs: readonly Member[];
}

export interface Sources {
  /** Exported components, by name. */
  readonly components: readonly Component[];
  /** Interfaces, by name. */
  readonly shapes: ReadonlyMap<string, Shape>;
  /** `as const` objects that list the values of an argument, by name. */
  readonly kinds: ReadonlyMap<string, Shape>;
}

/**
 * @param dir of the components, with an index.ts that exports what is offered
 * @param more folders with interfaces and kinds that arguments use
 */
export function readSources(dir: string, ...more: readonly string[]): Sources {
  const components: Component[] = [];
  const shapes = new Map<string, Shape>();
  const kinds = new Map<string, Shape>();
  const offered = exportsOf(parsed(path.join(dir, 'index.ts')));
  for (const file of [dir, ...more].flatMap(filesOf)) {
    for (const node of parsed(file).statements) {
      if (ts.isInterfaceDeclaration(node)) shapes.set(node.name.text, shapeOf(node));
      if (ts.isVariableStatement(node)) for (const kind of kindsIn(node)) kinds.set(kind.name, kind);
      if (ts.isClassDeclaration(node) && offered.has(node.name?.text ?? '')) {
        const component = componentOf(node);
        if (component !== undefined) components.push(component);
      }
    }
  }
  return { components: components.sort((a, b) => a.name.localeCompare(b.name)), shapes, kinds };
}

function filesOf(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.startsWith('testing'))
    .sort()
    .map((file) => path.join(dir, file));
}

const parsed = (file: string): ts.SourceFile =>
  ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022, true);

function exportsOf(index: ts.SourceFile): Set<string> {
  const names = index.statements.flatMap((node) =>
    ts.isExportDeclaration(node) && node.exportClause !== undefined && ts.isNamedExports(node.exportClause)
      ? node.exportClause.elements.map((element) => element.name.text)
      : [],
  );
  return new Set(names);
}

/** The docstring in one line a paragraph. */
function docOf(node: ts.Node): string {
  const text = ts
    .getJSDocCommentsAndTags(node)
    .filter(ts.isJSDoc)
    .map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? '')
    .join('\n\n');
  return text
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.replaceAll(/\s+/g, ' ').trim())
    .join('\n\n');
}

const textOf = (node: ts.Node | undefined): string => (node?.getText() ?? '').replaceAll(/\s+/g, ' ');

function shapeOf(node: ts.InterfaceDeclaration): Shape {
  return {
    name: node.name.text,
    doc: docOf(node),
    parents: (node.heritageClauses ?? []).flatMap(({ types }) => types.map((type) => textOf(type.expression))),
    members: node.members.filter(ts.isPropertySignature).map((member) => ({
      name: textOf(member.name),
      type: textOf(member.type),
      isOptional: member.questionToken !== undefined,
      doc: docOf(member),
    })),
  };
}

/** `export const Kind = { Name: 'value' } as const`. */
function kindsIn(statement: ts.VariableStatement): Shape[] {
  return statement.declarationList.declarations.flatMap((declaration) => {
    const { initializer, name } = declaration;
    if (
      initializer === undefined ||
      !ts.isAsExpression(initializer) ||
      !ts.isObjectLiteralExpression(initializer.expression)
    )
      return [];
    const values = initializer.expression.properties.filter(ts.isPropertyAssignment);
    if (!values.every((value) => ts.isStringLiteral(value.initializer))) return [];
    const members = values.map((value) => ({
      name: textOf(value.name),
      type: textOf(value.initializer),
      isOptional: false,
      doc: docOf(value),
    }));
    return [{ name: textOf(name), doc: docOf(statement), parents: [], members }];
  });
}

/** A class that extends ComponentResource itself, as all of ours do. */
function componentOf(node: ts.ClassDeclaration): Component | undefined {
  const base = node.heritageClauses?.flatMap(({ types }) => types.map((type) => textOf(type.expression)))[0];
  if (base !== 'pulumi.ComponentResource') return undefined;
  const constructor = node.members.find(ts.isConstructorDeclaration);
  return {
    name: node.name?.text ?? '',
    doc: docOf(node),
    args: textOf(constructor?.parameters[1]?.type),
    outputs: node.members
      .filter(ts.isPropertyDeclaration)
      .filter((member) => textOf(member.type).startsWith('pulumi.Output<'))
      .map((member) => ({
        name: textOf(member.name),
        type: textOf(member.type).replace(/^pulumi\.Output<(.*)>$/, '$1'),
        isOptional: false,
        doc: docOf(member),
      })),
  };
}
