import 'reflect-metadata';
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomInt, webcrypto } from 'node:crypto';

import * as x509 from '@peculiar/x509';
import { z } from 'zod';

import { type Inputs } from '../components/recording';

// What the providers `random` and `tls` make, for the arguments that components give them. Anything else is refused: a manifest with a
// value that is not there would be applied all the same.

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const hourMs = 3600 * 1000;
/** Clocks of two machines differ: a certificate is good from a little before it was made. */
const skewMs = hourMs;
/** Object identifier of the extension with a certificate's names. */
const subjectAlternativeName = '2.5.29.17';

const password = z.strictObject({ length: z.number().int().min(1), special: z.literal(false) });
const privateKey = z.strictObject({ algorithm: z.literal('ECDSA'), ecdsaCurve: z.literal('P256') });
const uses = z.array(z.enum(['cert_signing', 'crl_signing', 'digital_signature', 'server_auth', 'client_auth']));
const subject = z.strictObject({ commonName: z.string() });
const selfSigned = z.strictObject({
  privateKeyPem: z.string(),
  subject,
  isCaCertificate: z.literal(true),
  setSubjectKeyId: z.literal(true),
  allowedUses: uses,
  validityPeriodHours: z.number(),
});
const request = z.strictObject({
  privateKeyPem: z.string(),
  subject,
  dnsNames: z.array(z.string()),
  ipAddresses: z.array(z.string()),
});
const locallySigned = z.strictObject({
  caCertPem: z.string(),
  caPrivateKeyPem: z.string(),
  certRequestPem: z.string(),
  allowedUses: uses,
  validityPeriodHours: z.number(),
  earlyRenewalHours: z.number().default(0),
});
type Use = z.output<typeof uses>[number];

/** Type tokens of the resources whose outputs can be made here. */
export const generatedTypes = {
  password: 'random:index/randomPassword:RandomPassword',
  privateKey: 'tls:index/privateKey:PrivateKey',
  selfSigned: 'tls:index/selfSignedCert:SelfSignedCert',
  request: 'tls:index/certRequest:CertRequest',
  locallySigned: 'tls:index/locallySignedCert:LocallySignedCert',
} as const;

export const isGenerated = (type: string): boolean => /^(random|tls):/.test(type);

/** A random or TLS resource that can't be made. */
export class GenerationError extends Error {
  constructor(type: string, name: string, reason: string) {
    super(`${type} ${name} can't be made without its provider: ${reason}. Deploy this stack by \`pulumi up\`.`);
    this.name = 'GenerationError';
  }
}

/**
 * The outputs that the provider would make up: new ones, and different each time.
 * @throws GenerationError where the arguments are not those that our components give
 */
export async function generate(type: string, name: string, inputs: Inputs): Promise<Record<string, string>> {
  const read = <Schema extends z.ZodType>(schema: Schema): z.output<Schema> => {
    const result = schema.safeParse(inputs);
    if (result.success) return result.data;
    const [issue] = result.error.issues;
    throw new GenerationError(type, name, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
  };
  switch (type) {
    case generatedTypes.password:
      return { result: makePassword(read(password).length) };
    case generatedTypes.privateKey:
      read(privateKey);
      return makeKey();
    case generatedTypes.selfSigned:
      return { certPem: await selfSign(read(selfSigned)) };
    case generatedTypes.request:
      return { certRequestPem: await makeRequest(read(request)) };
    case generatedTypes.locallySigned:
      return { certPem: await sign(read(locallySigned)) };
    default:
      throw new GenerationError(type, name, 'its type is not among those that are known here');
  }
}

/**
 * When the provider would make the value anew by itself: a certificate that comes into the last part of its validity.
 * @returns undefined: never
 */
export function renewalOf(type: string, inputs: Inputs, outputs: Readonly<Record<string, string>>): Date | undefined {
  if (type !== generatedTypes.locallySigned) return undefined;
  const { notAfter } = new x509.X509Certificate(outputs['certPem'] ?? '');
  return new Date(notAfter.getTime() - Number(inputs['earlyRenewalHours'] ?? 0) * hourMs);
}

function makePassword(length: number): string {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
  return Array.from({ length }, () => letters[randomInt(letters.length)]).join('');
}

function makeKey(): Record<string, string> {
  const { privateKey: key, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    privateKeyPem: key.export({ type: 'sec1', format: 'pem' }).toString(),
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

async function keysOf(privateKeyPem: string): Promise<webcrypto.CryptoKeyPair> {
  const key = createPrivateKey(privateKeyPem);
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const { subtle } = webcrypto;
  return {
    privateKey: await subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
    publicKey: await subtle.importKey('spki', spki, algorithm, true, ['verify']),
  };
}

const nameOf = (commonName: string): x509.JsonName => [{ CN: [commonName] }];

function validity(hours: number, latest?: Date): { notBefore: Date; notAfter: Date } {
  const end = Date.now() + hours * hourMs;
  return { notBefore: new Date(Date.now() - skewMs), notAfter: new Date(Math.min(end, latest?.getTime() ?? end)) };
}

/** 16 random bytes; positive, because its first bit is off, and never zero. */
function serial(): string {
  const bytes = Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)));
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function usageExtensions(allowed: readonly Use[]): x509.Extension[] {
  const flags: Partial<Record<Use, x509.KeyUsageFlags>> = {
    cert_signing: x509.KeyUsageFlags.keyCertSign,
    crl_signing: x509.KeyUsageFlags.cRLSign,
    digital_signature: x509.KeyUsageFlags.digitalSignature,
  };
  const extended: Partial<Record<Use, x509.ExtendedKeyUsage>> = {
    server_auth: x509.ExtendedKeyUsage.serverAuth,
    client_auth: x509.ExtendedKeyUsage.clientAuth,
  };
  const others = allowed.flatMap((use) => extended[use] ?? []);
  return [
    new x509.KeyUsagesExtension(
      allowed.reduce((all, use) => all | (flags[use] ?? 0), 0),
      true,
    ),
    ...(others.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension(others)]),
  ];
}

async function selfSign(o: z.output<typeof selfSigned>): Promise<string> {
  const keys = await keysOf(o.privateKeyPem);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serial(),
      name: nameOf(o.subject.commonName),
      keys,
      signingAlgorithm: algorithm,
      ...validity(o.validityPeriodHours),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        ...usageExtensions(o.allowedUses),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return pem(certificate);
}

async function makeRequest(o: z.output<typeof request>): Promise<string> {
  const made = await x509.Pkcs10CertificateRequestGenerator.create(
    {
      name: nameOf(o.subject.commonName),
      keys: await keysOf(o.privateKeyPem),
      signingAlgorithm: algorithm,
      extensions: [
        new x509.SubjectAlternativeNameExtension([
          ...o.dnsNames.map((value) => ({ type: 'dns' as const, value })),
          ...o.ipAddresses.map((value) => ({ type: 'ip' as const, value })),
        ]),
      ],
    },
    webcrypto,
  );
  return pem(made);
}

async function sign(o: z.output<typeof locallySigned>): Promise<string> {
  const asked = new x509.Pkcs10CertificateRequest(o.certRequestPem);
  const issuer = new x509.X509Certificate(o.caCertPem);
  const names = asked.extensions.find((extension) => extension.type === subjectAlternativeName);
  const publicKey = await webcrypto.subtle.importKey('spki', asked.publicKey.rawData, algorithm, true, ['verify']);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serial(),
      subject: asked.subject,
      issuer: issuer.subject,
      publicKey,
      signingKey: (await keysOf(o.caPrivateKeyPem)).privateKey,
      signingAlgorithm: algorithm,
      ...validity(o.validityPeriodHours, issuer.notAfter),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        ...usageExtensions(o.allowedUses),
        ...(names === undefined ? [] : [names]),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey, false, webcrypto),
        await x509.SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return pem(certificate);
}

/** With a line's end, as the provider has it: bundles are made by putting one after the other. */
const pem = (made: { toString(format: 'pem'): string }): string => `${made.toString('pem').trimEnd()}\n`;

export const sha256Hex = (text: string): string => createHash('sha256').update(text).digest('hex');
