/** What a server of gRPC shows and asks for, by mutual TLS; it can be replaced while it listens. */
import { ServerCredentials } from '@grpc/grpc-js';
import type { TlsFiles } from './options';

export class RenewableCredentials extends ServerCredentials {
  constructor(tls: TlsFiles) {
    super({ requestCert: true, rejectUnauthorized: true }, contextOf(tls));
  }

  /** For connections from now on; those that stand stay. */
  renew(tls: TlsFiles): void {
    this.updateSecureContextOptions(contextOf(tls));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

function contextOf({ ca, cert, key }: TlsFiles) {
  return { ca, cert: [cert], key: [key] };
}
