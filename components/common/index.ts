/**
 * What all components share: arguments and how they are refused, labels, options. What has types of Kubernetes' package is imported by its file (`kubernetes`,
 * `pod`, `placement`): the types that programs see must not need a package that they may not have.
 */
export { ArgumentError, checkArguments, dnsLabel, namesList, oneOf, rule, whole } from './arguments';
export { checksum, checksumAnnotation } from './checksum';
export { labelsOf, regionLabel, Role, roleLabel, selectorOf } from './labels';
export { childOptions, dataOptions } from './options';
export { type Passwords, pickPasswords } from './passwords';
export { checkPackages, type OptionalPackage, optionalPackages, PackageError } from './packages';
export { nameOf } from './references';
export { Spread } from './spread';
export { componentType } from './type';
