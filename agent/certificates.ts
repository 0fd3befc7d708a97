/**
 * Certificates, which outlive no agent that runs long enough: its own files are looked at again and again, and what is new in them goes for every connection from then on (those that stand stay). Until when those are good that it uses,
 * its Redis' among them, is told.
 */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { EventEmitter } from 'node:events';
import fs from 'node:fs';
import tls from 'node:tls';

/** Between two looks. A volume of Kubernetes is itself a minute behind its Secret. */
const LOOK_MS = 2000;

/** In seconds since 1970, of the certificate that ends first in a PEM text. @throws Error where there is none, or where one is cut off */
export function endOf(pem: string | Buffer): number {
  return Math.min(...certificatesIn(pem).map(({ validTo }) => seconds(validTo)));
}

function certificatesIn(pem: string | Buffer): X509Certificate[] {
  const text = pem.toString('latin1');
  const all = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (all.length === 0) throw new Error('found no certificate; allowed: one or more, PEM');
  if (all.length < text.split('-----BEGIN CERTIFICATE-----').length - 1)
    throw new Error('found a certificate that is cut off; allowed: whole ones, PEM');
  return all.map((one) => new X509Certificate(one));
}

/** TLS options that tell the end of the server's certificate at each connection, and check it as ever. */
export function watched(options: tls.ConnectionOptions, tell: (end: number) => void): tls.ConnectionOptions {
  // With its getters: they are asked at each connection.
  return Object.defineProperties(
    {
      checkServerIdentity: (host: string, certificate: tls.PeerCertificate) => {
        tell(seconds(certificate.valid_to));
        return tls.checkServerIdentity(host, certificate);
      },
    },
    Object.getOwnPropertyDescriptors(options),
  );
}

const seconds = (date: string): number => Date.parse(date) / 1000;

export interface CertificatePaths {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

/** PEM. */
interface Texts {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

interface CertificateEvents {
  /** Others are in the files, and taken. */
  renewed: [];
  /** What is in the files is good for nothing, and not just half written. Told once. */
  refused: [why: string];
}

/** A certificate, its key, and authorities: what their files held when they last were good together. */
export class CertificateFiles extends EventEmitter<CertificateEvents> {
  private texts: Texts;
  /** What the last look could not take. */
  private doubtful = '';
  private refused = '';
  private timer: NodeJS.Timeout | null = null;

  /** @throws Error where they can't be read, or are not good */
  constructor(readonly paths: CertificatePaths) {
    super();
    const { caFile, certFile, keyFile } = paths;
    const read = (file: string | undefined) => (file === undefined ? undefined : fs.readFileSync(file));
    this.texts = { ca: read(caFile), cert: read(certFile), key: read(keyFile) };
    check(this.texts);
  }

  get ca(): Buffer | undefined {
    return this.texts.ca;
  }

  get cert(): Buffer | undefined {
    return this.texts.cert;
  }

  get key(): Buffer | undefined {
    return this.texts.key;
  }

  /** For `tls.connect`, which asks for them at each connection. */
  options(): tls.ConnectionOptions {
    const ask = (name: keyof Texts) => ({ get: () => this.texts[name], enumerable: true });
    return Object.defineProperties({}, { ca: ask('ca'), cert: ask('cert'), key: ask('key') });
  }

  watch(everyMs = LOOK_MS): void {
    this.timer ??= setInterval(() => void this.look(), everyMs);
    this.timer.unref();
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
  }

  /** Takes what is in the files, if it is new and good. They are several, and written one after the other: what isn't good may be so at the next look. */
  async look(): Promise<void> {
    let found = '';
    try {
      const texts = await read(this.paths);
      if (isSame(texts, this.texts)) {
        this.doubtful = this.refused = '';
        return;
      }
      found = Object.values(texts).join('\n');
      check(texts);
      this.texts = texts;
      this.doubtful = this.refused = '';
    } catch (error) {
      const why = (error as Error).message;
      const what = `${why}\n${found}`;
      if (what === this.doubtful && what !== this.refused) {
        this.refused = what;
        this.emit('refused', why);
      }
      this.doubtful = what;
      return;
    }
    this.emit('renewed');
  }
}

async function read({ caFile, certFile, keyFile }: CertificatePaths): Promise<Texts> {
  const [ca, cert, key] = await Promise.all(
    [caFile, certFile, keyFile].map(async (file) => (file === undefined ? undefined : fs.promises.readFile(file))),
  );
  return { ca, cert, key };
}

function isSame(a: Texts, b: Texts): boolean {
  const same = (x: Buffer | undefined, y: Buffer | undefined): boolean => (x && y ? x.equals(y) : x === y);
  return same(a.ca, b.ca) && same(a.cert, b.cert) && same(a.key, b.key);
}

/** @throws Error where they are not good together */
function check({ ca, cert, key }: Texts): void {
  if (ca !== undefined) certificatesIn(ca);
  if (cert !== undefined && key !== undefined) {
    const [own] = certificatesIn(cert);
    if (!own!.checkPrivateKey(createPrivateKey(key))) throw new Error('the key is not that of the certificate');
  }
  tls.createSecureContext({ ca, cert, key });
}
