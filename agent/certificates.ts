/** Until when certificates are good: an agent and its Redis read theirs at the start, and go on with them whatever the files say later. */
import { X509Certificate } from 'node:crypto';
import tls from 'node:tls';

/** In seconds since 1970, of the certificate that ends first in a PEM text. @throws Error where there is none */
export function endOf(pem: string | Buffer): number {
  const all = pem.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (all.length === 0) throw new Error('found no certificate; allowed: one or more, PEM');
  return Math.min(...all.map((one) => seconds(new X509Certificate(one).validTo)));
}

/** TLS options that tell the end of the server's certificate at each connection, and check it as ever. */
export function watched<T extends tls.ConnectionOptions>(options: T, tell: (end: number) => void): T {
  return {
    ...options,
    checkServerIdentity: (host: string, certificate: tls.PeerCertificate) => {
      tell(seconds(certificate.valid_to));
      return tls.checkServerIdentity(host, certificate);
    },
  };
}

const seconds = (date: string): number => Date.parse(date) / 1000;
