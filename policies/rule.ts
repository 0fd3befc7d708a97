import {
  type PolicyConfigSchema,
  type PolicyResource,
  type ResourceValidationPolicy,
  type StackValidationPolicy,
} from '@pulumi/policy';
import { z } from 'zod';

import { type Mapping } from './props';

/** What happens where a rule is broken. A pack's config may say otherwise, for each rule. */
export const Level = {
  /** The deployment stops: for what loses data or leaks it. */
  Mandatory: 'mandatory',
  /** It is told, and the deployment goes on. */
  Advisory: 'advisory',
} as const;
export type Level = (typeof Level)[keyof typeof Level];

/** What a rule found, as the config's own errors say it. */
export interface Issue {
  /** The place within the resource, such as `spec.replicas`; of a rule about stacks the resource too. */
  readonly where: string;
  readonly found: string;
  readonly allowed: string;
  /** The resource, where the rule looks at a stack. */
  readonly urn?: string;
}

/** A resource, as far as rules look at it. Reading what a preview can't know yet throws, and the rule is not run. */
export interface Checked {
  readonly type: string;
  readonly name: string;
  readonly urn: string;
  readonly props: Mapping;
  readonly opts: { readonly protect: boolean };
}

export interface CheckedInStack extends Checked {
  /** URN of the provider: the same namespace in two clusters is two. Undefined: the default one. */
  readonly providerUrn: string | undefined;
  /** URNs of what it refers to. */
  readonly dependencies: readonly string[];
  /** The same by property: of what its value is made. */
  readonly propertyDependencies: Readonly<Record<string, readonly string[]>>;
}

type Settings = Readonly<Record<string, z.ZodType>>;
type Values<S extends Settings> = z.output<z.ZodObject<S>>;

/** What a rule says about itself; docs/policies.md is made of it. */
interface About<S extends Settings> {
  /** Its ID, for the config of a pack. */
  readonly name: string;
  readonly level: Level;
  /** What has to be so, a sentence. */
  readonly what: string;
  /** What happens otherwise, and so why it has its level. */
  readonly why: string;
  /** What to do about it, a sentence; it ends each message. */
  readonly fix: string;
  /** What can be set, each with a default and `describe`. */
  readonly settings: S;
}

export interface ResourceRule<S extends Settings = Settings> extends About<S> {
  readonly kind: 'resource';
  /** Whether it has anything to say about resources of a type. */
  readonly concerns: (type: string) => boolean;
  readonly check: (resource: Checked, settings: Values<S>) => Issue[];
}

export interface StackRule<S extends Settings = Settings> extends About<S> {
  readonly kind: 'stack';
  /** What is yielded before something unknown ends the rule is told. */
  readonly check: (resources: readonly CheckedInStack[], settings: Values<S>) => Iterable<Issue>;
}

/** A rule as the pack holds it: its settings are checked when it runs, and no longer typed. */
export interface Rule extends About<Settings> {
  readonly kind: 'resource' | 'stack';
  readonly policy: ResourceValidationPolicy | StackValidationPolicy;
}

/** A rule that one resource is enough for. */
export function resourceRule<S extends Settings>(rule: Omit<ResourceRule<S>, 'kind'>): Rule {
  const { concerns, check, ...about } = rule;
  return {
    ...about,
    kind: 'resource',
    policy: {
      ...described(about),
      validateResource: (args, report) => {
        if (!concerns(args.type)) args.notApplicable(`${about.name} says nothing about ${args.type}`);
        const { type, name, urn, opts } = args;
        const resource: Checked = { type, name, urn, opts, props: args.props as Mapping };
        for (const issue of check(resource, settingsOf(about, args.getConfig()))) report(messageOf(issue, about.fix));
      },
    },
  };
}

/** A rule that looks at several resources together. */
export function stackRule<S extends Settings>(rule: Omit<StackRule<S>, 'kind'>): Rule {
  const { check, ...about } = rule;
  return {
    ...about,
    kind: 'stack',
    policy: {
      ...described(about),
      validateStack: (args, report) => {
        const settings = settingsOf(about, args.getConfig());
        for (const issue of check(args.resources.map(inStack), settings))
          report(messageOf(issue, about.fix), issue.urn);
      },
    },
  };
}

const inStack = ({ type, name, urn, opts, props, provider, ...all }: PolicyResource): CheckedInStack => ({
  ...{ type, name, urn, opts },
  props: props as Mapping,
  providerUrn: provider?.urn,
  dependencies: all.dependencies.map((other) => other.urn),
  propertyDependencies: Object.fromEntries(
    Object.entries(all.propertyDependencies).map(([key, others]) => [key, others.map((other) => other.urn)]),
  ),
});

const messageOf = ({ where, found, allowed }: Issue, fix: string): string =>
  `${where}: found ${found}; allowed: ${allowed}. ${fix}`;

function described<S extends Settings>({ name, level, what, fix, settings }: About<S>) {
  return {
    name,
    description: what,
    enforcementLevel: level,
    remediationSteps: fix,
    configSchema: schemaOf(settings),
  };
}

/** For Pulumi, which checks the config of a pack before it runs, and fills in the defaults. */
function schemaOf(settings: Settings): PolicyConfigSchema {
  const { properties = {} } = z.toJSONSchema(z.object(settings), { target: 'draft-7', io: 'input' });
  return { properties: properties as PolicyConfigSchema['properties'] };
}

/** @throws Error where the config of the pack is wrong */
function settingsOf<S extends Settings>({ name, settings }: About<S>, given: object): Values<S> {
  const result = z.strictObject(settings).safeParse(given);
  if (result.success) return result.data;
  throw new Error(`bad config of policy ${name}:\n${z.prettifyError(result.error)}`);
}
