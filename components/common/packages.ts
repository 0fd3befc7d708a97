import * as pulumi from '@pulumi/pulumi';

/**
 * The packages of providers that not everybody needs, and the versions that the components are made for. They are optional peer dependencies: a program
 * installs those of what it deploys. Each is loaded when the first resource of it is made (`kubernetes.ts` here, `provider.ts` of a cloud).
 */
export const optionalPackages = {
  '@pulumi/alicloud': '^3.108.0',
  '@pulumi/aws': '^7.48.0',
  '@pulumi/kubernetes': '^4.34.2',
} as const;
export type OptionalPackage = keyof typeof optionalPackages;

/** Where each is; by literal names, which bundlers see too. */
const places: Readonly<Record<OptionalPackage, () => string>> = {
  '@pulumi/alicloud': () => require.resolve('@pulumi/alicloud/package.json'),
  '@pulumi/aws': () => require.resolve('@pulumi/aws/package.json'),
  '@pulumi/kubernetes': () => require.resolve('@pulumi/kubernetes/package.json'),
};

/** A package of a provider that is not installed. Thrown by the constructor, before any resource is made; a RunError, as ArgumentError is. */
export class PackageError extends pulumi.RunError {
  constructor(
    className: string,
    name: string,
    readonly packages: readonly OptionalPackage[],
  ) {
    const versions = packages.map((one) => `${one}@${optionalPackages[one]}`).join(' ');
    const are = packages.length > 1 ? 'are' : 'is';
    super(
      `${className} '${name}' needs ${packages.join(' and ')}, which ${are} not installed here: npm install ${versions}`,
    );
    this.name = 'PackageError';
  }
}

/** Throws with all that is missing of what a component will load. */
export function checkPackages(className: string, name: string, needed: readonly OptionalPackage[]): void {
  const missing = [...new Set(needed)].filter((one) => !isInstalled(one));
  if (missing.length > 0) throw new PackageError(className, name, missing);
}

function isInstalled(name: OptionalPackage): boolean {
  try {
    places[name]();
    return true;
  } catch {
    return false;
  }
}
