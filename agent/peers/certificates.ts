/** A CA for one stack, and the certificates of its regions: EC P-256, for a stack on one machine and for tests. */
import 'reflect-metadata';
import { webcrypto } from 'crypto';
import { isIP } from 'net';
import * as x509 from '@peculiar/x509';
import { certificateName } from './hello';

export interface CertificateAuthority {
  /** PEM */
  readonly cert: string;
  /** PEM, PKCS #8 */
  readonly key: string;
}

export interface IssuedCertificate extends CertificateAuthority {
  /** PEM of the CA, as every peer needs it. */
  readonly ca: string;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 3600 * 1000;
/** Clocks of two machines differ: a certificate is good from a little before it was made. */
const SKEW_MS = 3600 * 1000;

const crypto = webcrypto;

/** Creates the CA of a stack. `days` is how long it is valid (default ten years). */
export async function createCa(o: { stack: string; days?: number }): Promise<CertificateAuthority> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serial(),
      name: [{ CN: [`Meridian ${o.stack} CA`] }],
      keys,
      signingAlgorithm: ALGORITHM,
      ...validity(o.days ?? 3650),
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
      ],
    },
    crypto,
  );
  return { cert: certificate.toString('pem'), key: await keyPem(keys.privateKey) };
}

/**
 * Issues a region's certificate. It names the region (`<region>.<stack>.meridian`), localhost, 127.0.0.1 and `hosts`,
 * and serves for both ends of a link. `days` is how long it is valid (default one year).
 */
export async function issueCertificate(
  ca: CertificateAuthority,
  o: { stack: string; region: string; hosts?: readonly string[]; days?: number },
): Promise<IssuedCertificate> {
  const issuer = new x509.X509Certificate(ca.cert);
  const issuerKey = await crypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(ca.key), ALGORITHM, false, [
    'sign',
  ]);
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const names = new Set([certificateName(o.region, o.stack), 'localhost', '127.0.0.1', ...(o.hosts ?? [])]);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serial(),
      subject: [{ CN: [certificateName(o.region, o.stack)] }],
      issuer: issuer.subject,
      publicKey: keys.publicKey,
      signingKey: issuerKey,
      signingAlgorithm: ALGORITHM,
      ...validity(o.days ?? 365, issuer.notAfter),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        new x509.SubjectAlternativeNameExtension(
          [...names].map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value })),
        ),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey, false, crypto),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
      ],
    },
    crypto,
  );
  return { ca: ca.cert, cert: certificate.toString('pem'), key: await keyPem(keys.privateKey) };
}

function validity(days: number, latest?: Date): { notBefore: Date; notAfter: Date } {
  const end = Date.now() + days * DAY_MS;
  return { notBefore: new Date(Date.now() - SKEW_MS), notAfter: new Date(Math.min(end, latest?.getTime() ?? end)) };
}

/** 16 random bytes; positive, because its first bit is off, and never zero. */
function serial(): string {
  const bytes = Buffer.from(crypto.getRandomValues(new Uint8Array(16)));
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString('hex');
}

async function keyPem(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}
