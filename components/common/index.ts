/** What all components share: arguments and how they are refused, labels, placement, what pods may do. */
export { ArgumentError, checkArguments, dnsLabel, namesList, oneOf, rule, whole } from './arguments';
export { checksum, checksumAnnotation } from './checksum';
export { labelsOf, regionLabel, Role, roleLabel, selectorOf } from './labels';
export { childOptions, dataOptions } from './options';
export { type Passwords, pickPasswords } from './passwords';
export { placement, Spread } from './placement';
export {
  type Container,
  containerSecurity,
  type EnvVar,
  podIpEnv,
  podNameEnv,
  podSecurity,
  scriptMode,
  secretMode,
  sidecarResources,
  type Volume,
  type VolumeMount,
} from './pod';
export { componentType } from './type';
