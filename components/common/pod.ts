import type * as k8s from '@pulumi/kubernetes';

export type Container = k8s.types.input.core.v1.Container;
export type Volume = k8s.types.input.core.v1.Volume;
export type VolumeMount = k8s.types.input.core.v1.VolumeMount;
export type EnvVar = k8s.types.input.core.v1.EnvVar;

/** Of the `redis` user in the official images; any number above 0 would do, as nothing in the image belongs to it. */
const userId = 999;

/** Pods meet the "restricted" Pod Security Standard: https://kubernetes.io/docs/concepts/security/pod-security-standards/ */
export const podSecurity: k8s.types.input.core.v1.PodSecurityContext = {
  runAsNonRoot: true,
  runAsUser: userId,
  runAsGroup: userId,
  fsGroup: userId,
  // A volume with many files would otherwise be walked at every start.
  fsGroupChangePolicy: 'OnRootMismatch',
  seccompProfile: { type: 'RuntimeDefault' },
};

export const containerSecurity: k8s.types.input.core.v1.SecurityContext = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
};

/** Resources of a small helper beside the main container. */
export const sidecarResources: k8s.types.input.core.v1.ResourceRequirements = {
  requests: { cpu: '10m', memory: '32Mi' },
  limits: { memory: '96Mi' },
};

/** The name of the pod itself, for scripts. */
export const podNameEnv: EnvVar = { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } };
export const podIpEnv: EnvVar = { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } };

/** Only its owner and its group may read what is mounted. */
export const secretMode = 0o440;
export const scriptMode = 0o555;
