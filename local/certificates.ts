import { X509Certificate } from 'node:crypto';
import path from 'node:path';

import type * as Certificates from '../agent/peers/certificates';
import { makeDir, readIfThere, writeAtomically } from './files';
import { type StackLayout } from './layout';

/** Paths of PEM files. */
export interface CertificateFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const renewBeforeMs = 30 * 24 * 3600 * 1000;

export function certificateFiles(layout: StackLayout, region: string): CertificateFiles {
  const { certs } = layout.dir;
  return {
    ca: path.join(certs, 'ca.pem'),
    cert: path.join(certs, `${region}.pem`),
    key: path.join(certs, `${region}-key.pem`),
  };
}

/** Makes the stack's CA and its regions' certificates where they are missing or soon too old. */
export async function provideCertificates(layout: StackLayout): Promise<void> {
  const names = layout.regions.map((region) => region.name);
  const caKeyFile = path.join(layout.dir.certs, 'ca-key.pem');
  const caFile = path.join(layout.dir.certs, 'ca.pem');
  const ca = { cert: readIfThere(caFile), key: readIfThere(caKeyFile) };
  const hasCa = ca.cert !== undefined && ca.key !== undefined && isGood(ca.cert, ca.cert);
  const missing = names.filter((name) => {
    const files = certificateFiles(layout, name);
    const cert = readIfThere(files.cert);
    return !hasCa || cert === undefined || readIfThere(files.key) === undefined || !isGood(cert, ca.cert ?? '');
  });
  if (missing.length === 0) return;

  makeDir(layout.dir.certs);
  // Loaded only when needed: it takes longer than everything else here.
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  const { createCa, issueCertificate } = require('../agent/peers/certificates') as typeof Certificates;
  const { stack } = layout;
  const authority = hasCa ? { cert: ca.cert ?? '', key: ca.key ?? '' } : await createCa({ stack });
  writeAtomically(caKeyFile, authority.key);
  writeAtomically(caFile, authority.cert);
  await Promise.all(
    missing.map(async (region) => {
      const files = certificateFiles(layout, region);
      const issued = await issueCertificate(authority, { stack, region });
      writeAtomically(files.key, issued.key);
      writeAtomically(files.cert, issued.cert);
    }),
  );
}

/** Readable, signed by this CA, and valid for long enough. */
function isGood(cert: string, ca: string): boolean {
  try {
    const parsed = new X509Certificate(cert);
    return parsed.verify(new X509Certificate(ca).publicKey) && Date.parse(parsed.validTo) > Date.now() + renewBeforeMs;
  } catch {
    return false;
  }
}
