/** Who is at the other end: what the certificate proves and what Hello says, compared. */
import type { PeerCertificate } from 'tls';
import { PeerError } from './error';

/** Version of mesh.proto, of the rules in this folder, and of the records that are sent. */
export const PROTOCOL = 3;

export interface Hello {
  readonly protocol: number;
  readonly meshVersion: number;
  readonly stack: string;
  readonly region: string;
  readonly instance: string;
  /** Of conflicts, as text. */
  readonly policies: string;
  /** Of the shard that it serves; empty: it has all keys. */
  readonly slots: string;
}

/** The DNS name by which a certificate names its region (a subject alternative name). */
export function certificateName(region: string, stack: string): string {
  return `${region}.${stack}.meridian`.toLowerCase();
}

/**
 * The region of this stack that a certificate names.
 * @throws PeerError `identity` when it names none or several
 */
export function regionOfCertificate(certificate: Pick<PeerCertificate, 'subjectaltname'>, stack: string): string {
  const suffix = `.${stack}.meridian`.toLowerCase();
  const names = (certificate.subjectaltname ?? '')
    .split(', ')
    .filter((name) => name.startsWith('DNS:'))
    .map((name) => name.slice(4).toLowerCase());
  const regions = new Set(names.filter((name) => name.endsWith(suffix)).map((name) => name.slice(0, -suffix.length)));
  const [region] = regions;
  if (regions.size === 1 && region) return region;
  const found = names.filter((name) => name.endsWith('.meridian')).join(', ') || 'no region';
  throw new PeerError('identity', `certificate names ${found}; one region of stack ${stack} is needed (*${suffix})`);
}

/** @throws PeerError `identity` when the certificate is not the named region's */
export function checkCertificate(
  certificate: Pick<PeerCertificate, 'subjectaltname'>,
  region: string,
  stack: string,
): void {
  const named = regionOfCertificate(certificate, stack);
  if (named !== region.toLowerCase())
    throw new PeerError('identity', `certificate is of region ${named}, expected ${region}`);
}

/** @throws PeerError when a peer that says `theirs` is not to be talked to */
export function checkHello(ours: Hello, theirs: Hello, region: string): void {
  if (theirs.protocol !== ours.protocol)
    throw new PeerError('protocol', `peer speaks protocol ${theirs.protocol}, this agent ${ours.protocol}`);
  if (theirs.meshVersion !== ours.meshVersion)
    throw new PeerError('protocol', `peer has mesh version ${theirs.meshVersion}, this agent ${ours.meshVersion}`);
  if (theirs.stack !== ours.stack)
    throw new PeerError('protocol', `peer belongs to stack ${theirs.stack.slice(0, 100)}, this agent to ${ours.stack}`);
  if (theirs.policies !== ours.policies) {
    const say = (text: string): string => (text === '' ? 'none' : text.slice(0, 300));
    throw new PeerError(
      'policies',
      `peer has other conflict policies: ${say(theirs.policies)}; this agent: ${say(ours.policies)}; set the same replication.conflicts in every region`,
    );
  }
  if (theirs.slots !== ours.slots) {
    const say = (text: string): string =>
      text === '' ? 'all keys, on a Redis that is no cluster' : `the slots ${text.slice(0, 200)}`;
    throw new PeerError(
      'protocol',
      `peer serves ${say(theirs.slots)}, this agent ${say(ours.slots)}: shards are linked that have the same slots (redis.cluster.slots)`,
    );
  }
  if (theirs.region.toLowerCase() !== region.toLowerCase())
    throw new PeerError('identity', `peer says it is region ${theirs.region.slice(0, 100)}, expected ${region}`);
  if (theirs.region === ours.region)
    throw new PeerError('identity', `peer is of this agent's own region ${ours.region}`);
}
