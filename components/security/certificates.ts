import * as pulumi from '@pulumi/pulumi';
import * as tls from '@pulumi/tls';

import { childOptions, nameOf } from '../common';
import { kubernetes } from '../common/kubernetes';

const hoursPerDay = 24;
const validityDaysDefault = 365;
/** Renewed when less than this part of the validity is left. */
const renewPart = 12;

/** What a certificate of the stack's own authority is made of. */
export interface Signing {
  readonly commonName: pulumi.Output<string>;
  readonly hosts: pulumi.Input<pulumi.Input<string>[]>;
  readonly caCertPem?: pulumi.Input<string>;
  readonly caPrivateKeyPem?: pulumi.Input<string>;
  readonly certificateValidityDays?: pulumi.Input<number>;
}

export interface Issue extends Signing {
  readonly namespace: pulumi.Input<string>;
  readonly labels: Record<string, string>;
  readonly caBundlePem?: pulumi.Input<string>;
  readonly issuerName?: pulumi.Input<string>;
  readonly issuerKind?: pulumi.Input<string>;
}

export interface Issued {
  /** With `tls.crt`, `tls.key` and `ca.crt`, whoever issued it. */
  readonly secretName: pulumi.Output<string>;
  /** Changes when the certificate does, as far as Pulumi can know. */
  readonly certificate: pulumi.Output<string>;
  /** The authorities that are trusted; empty where only cert-manager knows them. */
  readonly trusted: pulumi.Output<string>;
}

/** Both ends of a link show the same certificate: Redis nodes, Sentinels and agents are server and client of each other. */
const uses = ['digital_signature', 'server_auth', 'client_auth'];

/** The names in a certificate. `localhost` is for probes and side-cars. */
function namesOf({ commonName, hosts }: Signing): pulumi.Output<string[]> {
  return pulumi.all([commonName, hosts]).apply(([first, others]) => [...new Set([first, 'localhost', ...others])]);
}

/** By which the agents of a mesh know each other: see agent/peers/hello.ts. */
export function agentName(region: string, stack: pulumi.Input<string>): pulumi.Output<string> {
  return pulumi.interpolate`${region}.${stack}.meridian`;
}

/** A key, and a certificate of it by the stack's own authority. */
export function signByCa(
  parent: pulumi.Resource,
  name: string,
  issue: Signing,
): { readonly certPem: pulumi.Output<string>; readonly keyPem: pulumi.Output<string> } {
  const { caCertPem = '', caPrivateKeyPem = '' } = issue;
  const hours = pulumi.output(issue.certificateValidityDays ?? validityDaysDefault).apply((days) => days * hoursPerDay);
  const options = childOptions(parent);
  const key = new tls.PrivateKey(`${name}-key`, { algorithm: 'ECDSA', ecdsaCurve: 'P256' }, options);
  const request = new tls.CertRequest(
    `${name}-request`,
    {
      privateKeyPem: key.privateKeyPem,
      subject: { commonName: issue.commonName },
      dnsNames: namesOf(issue),
      ipAddresses: ['127.0.0.1'],
    },
    options,
  );
  const certificate = new tls.LocallySignedCert(
    `${name}-certificate`,
    {
      caCertPem,
      caPrivateKeyPem,
      certRequestPem: request.certRequestPem,
      allowedUses: uses,
      validityPeriodHours: hours,
      earlyRenewalHours: hours.apply((all) => Math.ceil(all / renewPart)),
    },
    options,
  );
  return { certPem: certificate.certPem, keyPem: key.privateKeyPem };
}

/** A certificate of the stack's own authority, in a native Secret. */
export function issueByCa(parent: pulumi.Resource, name: string, issue: Issue): Issued {
  const { caBundlePem = '' } = issue;
  const { certPem, keyPem } = signByCa(parent, name, issue);
  const secret = new kubernetes.core.v1.Secret(
    name,
    {
      metadata: { name, namespace: issue.namespace, labels: issue.labels },
      type: 'kubernetes.io/tls',
      stringData: { 'tls.crt': certPem, 'tls.key': keyPem, 'ca.crt': caBundlePem },
    },
    childOptions(parent),
  );
  return { secretName: nameOf(secret, name), certificate: certPem, trusted: pulumi.output(caBundlePem) };
}

/** A certificate of cert-manager, which writes the Secret and renews it: https://cert-manager.io/docs/usage/certificate/ */
export function issueByCertManager(parent: pulumi.Resource, name: string, issue: Issue): Issued {
  const days = pulumi.output(issue.certificateValidityDays ?? validityDaysDefault);
  const metadata = { name, namespace: issue.namespace, labels: issue.labels };
  new kubernetes.apiextensions.CustomResource(
    name,
    {
      apiVersion: 'cert-manager.io/v1',
      kind: 'Certificate',
      metadata,
      spec: {
        secretName: name,
        secretTemplate: { labels: issue.labels },
        issuerRef: { group: 'cert-manager.io', kind: issue.issuerKind ?? 'ClusterIssuer', name: issue.issuerName },
        commonName: issue.commonName,
        dnsNames: namesOf(issue),
        ipAddresses: ['127.0.0.1'],
        usages: ['digital signature', 'server auth', 'client auth'],
        privateKey: { algorithm: 'ECDSA', size: 256, rotationPolicy: 'Always' },
        duration: days.apply((n) => `${n * hoursPerDay}h`),
        renewBefore: days.apply((n) => `${Math.ceil((n * hoursPerDay) / renewPart)}h`),
      },
    },
    childOptions(parent),
  );
  return { secretName: pulumi.output(name), certificate: pulumi.output(name), trusted: pulumi.output('') };
}
