/**
 * The type token of one of our components, by its class. Every component extends pulumi.ComponentResource itself, without
 * a base class in between: the analyser of component packages looks no further up than one step.
 */
export function componentType(className: string): string {
  return `meridian:index:${className}`;
}
