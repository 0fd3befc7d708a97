/** All regions hold the same, and what the naive rule says of the complete set of operations. */
import { higher, Rule, type RuleOp } from '../rule';
import type { Value } from '../redis';
import { type Ended, isIgnored, isLastWriters, ownerOf } from './ended';

export function checkValues(ended: Ended): void {
  const rule = new Rule();
  for (const op of ended.log.values()) rule.add(op);
  checkLibraries(ended, rule);
  const ids = new Set(rule.ids());
  const held = ended.regions.map(({ redis }) => {
    const map = new Map<string, string>();
    for (const { db, key, value, expireAt } of redis.keys())
      if (!key.startsWith('meridian:')) map.set(`${db} ${key}`, show(value, expireAt));
    for (const id of map.keys()) ids.add(id);
    return map;
  });
  for (const id of ids) {
    const values = postponed(
      ended,
      id,
      held.map((map) => map.get(id) ?? 'absent'),
    );
    if (isIgnored(ended, id)) {
      checkIgnored(ended, id, values);
      continue;
    }
    // What is told of a Redis that had lost its end when others had, too, is what they had then: equal is all that it has to be.
    if (!ended.profile.pairs) checkOwned(ended, id, values[0]!);
    const isLast = isLastWriters(ended, id);
    const expected = isLast || ended.profile.pairs ? 'verbatim' : rule.value(id);
    let says = expected === 'verbatim' ? null : expected === null ? 'absent' : show(expected.value, expected.expireAt);
    if (isLast) says = lastWritten(ended, id);
    // Where Redis decides about the time to live, and the regions agree, only the value is the rule's.
    // So it is where an element that was written while no agent was reading was not told of, for others wrote it too.
    if (says !== null && expected !== null && expected !== 'verbatim' && (expected.ttlByRedis || ended.profile.outages))
      if (withoutTtl(says) === withoutTtl(values[0]!)) says = null;
    const equal = values.every((value) => value === values[0]);
    if (equal && (says === null || says === values[0])) continue;
    const lines = ended.regions.map(({ name }, i) => `${name}: ${values[i]}`);
    if (says !== null) lines.push(`rule: ${says}`);
    for (const line of rule.describe(id)) ended.trace(line);
    ended.fail(`key ${id} ${equal ? 'is not what the rule says' : 'differs between regions'}\n  ${lines.join('\n  ')}`);
  }
}

/**
 * Where a region's clock is ahead of the owner's, a key that is over there is put back for a moment, again and again, until it is over at its owner's, too: it has the
 * owner's value meanwhile.
 */
function postponed(ended: Ended, id: string, values: string[]): string[] {
  const owner = ended.regions.findIndex(({ name }) => name === ownerOf(ended, id));
  const its = values[owner];
  const untilMs = Number(/ until (\d+)$/.exec(its ?? '')?.[1] ?? Infinity);
  return values.map((value, i) =>
    ended.regions[i]!.redis.nowMs >= untilMs && withoutTtl(value) === withoutTtl(its!) ? its! : value,
  );
}

/** Libraries of functions are the same everywhere, and what the naive rule says. */
function checkLibraries(ended: Ended, rule: Rule): void {
  const shown = (libraries: ReadonlyMap<string, string>): string => JSON.stringify([...libraries].sort());
  const held = ended.regions.map(({ redis }) => shown(redis.functions.all));
  const says = shown(rule.libraries());
  const equal = held.every((libraries) => libraries === held[0]);
  if (equal && (held[0] === says || ended.profile.pairs)) return;
  for (const line of rule.describeLibraries()) ended.trace(line);
  const lines = [...ended.regions.map(({ name }, i) => `${name}: ${held[i]}`), `rule: ${says}`];
  ended.fail(`libraries ${equal ? 'are not what the rule says' : 'differ between regions'}\n  ${lines.join('\n  ')}`);
}

/** What a key was in the region of the highest operation right after it; null: that can't be told. */
function lastWritten(ended: Ended, id: string): string | null {
  const { failovers, outages, restarts } = ended.profile;
  // Their histories, and what is found by comparing, are not looked at.
  if (failovers || outages || restarts) return null;
  const at = id.indexOf(' ');
  const [db, key] = [Number(id.slice(0, at)), id.slice(at + 1)];
  let top: RuleOp | null = null;
  for (const op of ended.log.values())
    if (!op.isState && op.commands.some((command) => command.db === db && command.argv.slice(1).includes(key)))
      if (top === null || higher(op, top)) top = op;
  if (top === null) return null;
  if (/^(?:DEL|UNLINK)$/i.test(top.commands[0]!.argv[0]!)) return 'absent';
  for (const { agent } of ended.regions)
    for (const [replId, { origin }] of agent.histories) {
      if (origin !== top.origin) continue;
      const entry = ended.written.get(`${replId}@${top.position} ${id}`);
      if (entry === undefined) return null;
      const isOver = entry === null || (entry.expireAt !== null && entry.expireAt <= ended.now);
      return isOver ? 'absent' : show(entry.value, entry.expireAt);
    }
  return null;
}

/** What is in a key that a region owns its own clients have written: elements tell whose they are. */
function checkOwned(ended: Ended, id: string, value: string): void {
  const owner = ownerOf(ended, id);
  const { otherTypes, moves } = ended.profile.mix;
  if (owner === null || otherTypes || (moves && id.includes('list'))) return;
  const others = ended.regions.filter(({ name }) => name !== owner).map(({ name }) => name[0]);
  if (/ (?:string|list|log|queue)\d$/.test(id) && new RegExp(`["[.,][${others.join('')}]\\d`).test(value))
    ended.fail(`key ${id} is ${owner}'s, and holds what others wrote: ${value}`);
}

/** Of a key that is not replicated each region has what its own clients wrote. */
function checkIgnored(ended: Ended, id: string, values: readonly string[]): void {
  // Who wrote a string that bits were set in can't be told from it.
  if (ended.profile.mix.otherTypes) return;
  ended.regions.forEach(({ name }, i) => {
    if (/ string/.test(id) && /^"[a-z]\d+b?"/.test(values[i]!) && values[i]![1] !== name[0])
      ended.fail(`key ${id} is not replicated, and ${name} has ${values[i]}`);
  });
}

function withoutTtl(shown: string): string {
  return shown.replace(/ until \d+$/, '');
}

/** A value as one text; order of elements counts only in lists. */
function show(value: Value, expireAt: number | null): string {
  const ttl = expireAt === null ? '' : ` until ${expireAt}`;
  switch (value.type) {
    case 'string':
      return `"${value.string}"${ttl}`;
    case 'hash':
      return `hash ${JSON.stringify([...value.hash].sort())}${ttl}`;
    case 'set':
      return `set ${JSON.stringify([...value.set].sort())}${ttl}`;
    case 'zset':
      return `zset ${JSON.stringify([...value.zset].map(([m, s]) => [m, String(s)]).sort())}${ttl}`;
    case 'list':
      return `list ${JSON.stringify(value.list)}${ttl}`;
    case 'stream':
      return `stream ${JSON.stringify([...value.entries].map(([id, fields]) => [id, fields.join(' ')]))} last ${value.lastId}${ttl}`;
  }
}
