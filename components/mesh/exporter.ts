import * as pulumi from '@pulumi/pulumi';

import { checksum, checksumAnnotation, childOptions, labelsOf, nameOf, Role, selectorOf } from '../common';
import { kubernetes } from '../common/kubernetes';
import { containerSecurity, podSecurity, secretMode, sidecarResources } from '../common/pod';
import { exporterPort, images } from '../kubernetes/pods';

interface ExporterOptions {
  readonly region: string;
  readonly namespace: pulumi.Input<string>;
  readonly host: pulumi.Input<string>;
  readonly port: pulumi.Input<number>;
  /** Of its user. */
  readonly secretName: pulumi.Input<string>;
  /** Changes with what it logs in with. */
  readonly credentials: pulumi.Input<string>;
  /** PEM of the service's authority. Default: those that any system trusts. */
  readonly caPem?: pulumi.Input<string> | undefined;
  readonly image?: pulumi.Input<string> | undefined;
  readonly imagePullPolicy?: pulumi.Input<string> | undefined;
}

const caDir = '/etc/redis-ca';
const caKey = 'ca.crt';

/**
 * redis_exporter of a managed Redis, in a pod of its own, for nothing of ours runs beside the server.
 */
export function createExporter(parent: pulumi.Resource, name: string, o: ExporterOptions): void {
  const { region, namespace, caPem } = o;
  const labels = labelsOf(Role.Exporter, region);
  const matchLabels = selectorOf(Role.Exporter, region);
  const metadata = { name, namespace, labels };
  const ca =
    caPem === undefined
      ? undefined
      : new kubernetes.core.v1.ConfigMap(name, { metadata, data: { [caKey]: caPem } }, childOptions(parent));
  const fromSecret = (env: string, key: string) => ({
    name: env,
    // Where the name is told with the password there is none.
    valueFrom: { secretKeyRef: { name: o.secretName, key, optional: key === 'username' } },
  });
  new kubernetes.apps.v1.Deployment(
    name,
    {
      metadata,
      spec: {
        replicas: 1,
        selector: { matchLabels },
        template: {
          metadata: { labels, annotations: { [checksumAnnotation]: checksum(o.credentials, caPem ?? '') } },
          spec: {
            automountServiceAccountToken: false,
            enableServiceLinks: false,
            securityContext: podSecurity,
            containers: [
              {
                name: 'exporter',
                image: o.image ?? images.exporter,
                imagePullPolicy: o.imagePullPolicy ?? 'IfNotPresent',
                env: [
                  { name: 'REDIS_ADDR', value: pulumi.interpolate`rediss://${o.host}:${o.port}` },
                  fromSecret('REDIS_USER', 'username'),
                  fromSecret('REDIS_PASSWORD', 'password'),
                  // The services refuse CONFIG.
                  { name: 'REDIS_EXPORTER_CONFIG_COMMAND', value: '-' },
                  ...(ca === undefined
                    ? []
                    : [{ name: 'REDIS_EXPORTER_TLS_CA_CERT_FILE', value: `${caDir}/${caKey}` }]),
                ],
                ports: [{ name: 'http-metrics', containerPort: exporterPort }],
                readinessProbe: { httpGet: { path: '/health', port: exporterPort }, periodSeconds: 10 },
                resources: sidecarResources,
                securityContext: containerSecurity,
                ...(ca === undefined ? {} : { volumeMounts: [{ name: 'ca', mountPath: caDir, readOnly: true }] }),
              },
            ],
            ...(ca === undefined
              ? {}
              : { volumes: [{ name: 'ca', configMap: { name: nameOf(ca, name), defaultMode: secretMode } }] }),
          },
        },
      },
    },
    childOptions(parent),
  );
}
