/** How the data of two regions differ, by digests of their keys: nothing of it is loaded, and nothing is written. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConflictPolicies } from '../../model';
import { type RdbEntry, ReplicaLink } from '../capture';
import { type AgentContext, type RedisAddress, replicaOptions, SessionError } from '../session/context';
import { Digester, type DigestTable, type KeyDigest, readDigests, writeDigests } from '../session/digest';
import { DIGEST_MARK, type DigestsEnd, type DigestsRequest, isOwnKey } from '../session/donor';
import type { MeshAnswer } from '../session/difference';
import type { Survey } from './trial';

const DIGESTS_PER_FRAME = 8192;
/** Times to live that differ by less are the same: they were set by a remaining time. */
const TTL_TOLERANCE_MS = 1000;
/** How long links get to come up, before nobody is there to compare with. */
const PATIENCE_MS = 10_000;
const RETRY_MS = 2000;

/** Digests of the keys of a snapshot, without the agents' own and ignored ones, some thousands at a time. */
export async function* digestsOf(
  batches: AsyncIterable<RdbEntry[]>,
  policies: ConflictPolicies,
  each: (entry: RdbEntry) => void = () => undefined,
): AsyncGenerator<KeyDigest[]> {
  const digester = new Digester();
  let digests: KeyDigest[] = [];
  for await (const entries of batches) {
    for (const entry of entries) {
      each(entry);
      if (entry.kind !== 'key' || isOwnKey(entry.key) || policies.ignores(entry.db, entry.key)) continue;
      const digest = digester.add(entry);
      if (digest !== null) digests.push(digest);
    }
    if (digests.length < DIGESTS_PER_FRAME) continue;
    yield digests;
    digests = [];
  }
  if (digests.length > 0) yield digests;
}

/** Answers a region that compares, in the form of `serveDigests`: with a snapshot of its own. It stands at no place of the mesh. */
export async function* serveTrialDigests(context: AgentContext, address: RedisAddress): AsyncGenerator<Buffer> {
  const link = new ReplicaLink(replicaOptions(context, address));
  link.on('close', () => undefined);
  try {
    await link.connect(null);
    for await (const digests of digestsOf(link.snapshotBatches(), context.policies))
      yield Buffer.concat([DIGEST_MARK, writeDigests(digests)]);
    const end: DigestsEnd = { vector: [], unexplained: true, stamp: 0 };
    yield Buffer.from(JSON.stringify(end));
  } finally {
    link.close();
  }
}

/**
 * Compares with the region whose data this one would take over: one that has its place in the mesh, else the primary.
 * @param table this region's keys; used up
 * @param alive throws once the session has ended
 */
export async function survey(context: AgentContext, table: DigestTable, alive: () => void): Promise<Survey> {
  const { mesh, log } = context;
  const startedMs = Date.now();
  for (;;) {
    alive();
    const donor = await donorOf(context);
    if (donor === null && isPrimary(context) && Date.now() - startedMs >= PATIENCE_MS)
      return alone(table.size, Date.now());
    try {
      if (donor !== null) return await compare(mesh, donor, table);
    } catch (error) {
      log.debug({ err: error, peer: donor }, 'comparing keys failed; it is tried again');
    }
    await sleep(RETRY_MS, undefined, { ref: false });
  }
}

function alone(here: number, timeMs: number): Survey {
  return { with: null, timeMs, here, there: 0, equal: 0, differing: 0, onlyHere: here, onlyThere: 0 };
}

async function donorOf(context: AgentContext): Promise<string | null> {
  const up = context.mesh.links().filter(({ state }) => state === 'up');
  const peers = up.map(({ peer }) => peer).sort();
  for (const peer of peers) {
    const answer = await context.mesh.request(peer, 'mesh', Buffer.alloc(0), { timeoutMs: 5000 }).catch(() => null);
    if (answer !== null && (JSON.parse(answer.toString('utf8')) as MeshAnswer).established) return peer;
  }
  if (isPrimary(context)) return null;
  const { members } = context.config;
  return peers.find((peer) => members.some(({ name, primary }) => primary && name === peer)) ?? peers[0] ?? null;
}

/** Whether this region begins the mesh, where none is there. */
function isPrimary({ config: { region, members } }: AgentContext): boolean {
  const first = members.find(({ primary }) => primary)?.name ?? members.map(({ name }) => name).sort()[0];
  return first === region;
}

async function compare(mesh: AgentContext['mesh'], donor: string, table: DigestTable): Promise<Survey> {
  table.unmeet();
  const request: DigestsRequest = { needs: [] };
  let [there, equal, onlyThere] = [0, 0, 0];
  for await (const frame of mesh.requestStream(donor, 'digests', Buffer.from(JSON.stringify(request)))) {
    if (frame[0] !== DIGEST_MARK[0]) {
      let onlyHere = 0;
      for (const _ of table.unmet()) onlyHere++;
      const { size: here } = table;
      const differing = there - equal - onlyThere;
      return { with: donor, timeMs: Date.now(), here, there, equal, differing, onlyHere, onlyThere };
    }
    for (const digest of readDigests(frame.subarray(DIGEST_MARK.length))) {
      const own = table.meet(digest);
      there++;
      if (own === null) onlyThere++;
      else if (isSame(own, digest)) equal++;
    }
  }
  throw new SessionError('no-donor', `the digests from ${donor} ended early`);
}

function isSame(a: Omit<KeyDigest, 'hashHigh' | 'hashLow'>, b: KeyDigest): boolean {
  const isTtlSame =
    (a.expireAtMs === 0) === (b.expireAtMs === 0) && Math.abs(a.expireAtMs - b.expireAtMs) <= TTL_TOLERANCE_MS;
  return a.isInteger === b.isInteger && a.value === b.value && isTtlSame;
}
