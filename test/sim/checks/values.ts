/** All regions hold the same, and what the naive rule says of the complete set of operations. */
import { Rule } from '../rule';
import type { Value } from '../redis';
import { type Ended, isIgnored, ownerOf } from './ended';

export function checkValues(ended: Ended): void {
  const rule = new Rule();
  for (const op of ended.log.values()) rule.add(op);
  const ids = new Set(rule.ids());
  const held = ended.regions.map(({ redis }) => {
    const map = new Map<string, string>();
    for (const { db, key, value, expireAt } of redis.keys())
      if (!key.startsWith('meridian:')) map.set(`${db} ${key}`, show(value, expireAt));
    for (const id of map.keys()) ids.add(id);
    return map;
  });
  for (const id of ids) {
    const values = held.map((map) => map.get(id) ?? 'absent');
    if (isIgnored(ended, id)) {
      checkIgnored(ended, id, values);
      continue;
    }
    // What is told of a Redis that had lost its end when others had, too, is what they had then: equal is all that it has to be.
    if (!ended.profile.pairs) checkOwned(ended, id, values[0]!);
    const expected = ended.profile.pairs ? 'verbatim' : rule.value(id);
    let says = expected === 'verbatim' ? null : expected === null ? 'absent' : show(expected.value, expected.expireAt);
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
