/** A client of a cluster's node for tests that were written for a Redis that is none. */
import type Redis from 'ioredis';

type Key = string | Buffer;
type Value = Key | number;

/** Commands and transactions with keys of several slots go as one command for each key; the rest as it is. */
export function bySlot(client: Redis): Redis {
  const flat = (args: unknown[]): unknown[] => args.flatMap((arg) => (Array.isArray(arg) ? flat(arg) : [arg]));
  const pairs = (args: unknown[]): unknown[] => {
    const [first] = args;
    return args.length === 1 && typeof first === 'object' && !Array.isArray(first) ? Object.entries(first!) : args;
  };
  const each = (args: unknown[], run: (key: Key) => Promise<number>): Promise<number> =>
    Promise.all((flat(args) as Key[]).map(run)).then((counts) => counts.reduce((sum, n) => sum + n, 0));
  const { del, unlink, exists } = {
    del: client.del.bind(client),
    unlink: client.unlink.bind(client),
    exists: client.exists.bind(client),
  };
  return Object.assign(client, {
    mget: (...args: unknown[]) => Promise.all((flat(args) as Key[]).map((key) => client.get(key))),
    mset: async (...args: unknown[]) => {
      const all = flat(pairs(args)) as Value[];
      for (let i = 0; i < all.length; i += 2) await client.set(all[i] as Key, all[i + 1]!);
      return 'OK' as const;
    },
    del: (...args: unknown[]) => each(args, (key) => del(key)),
    unlink: (...args: unknown[]) => each(args, (key) => unlink(key)),
    exists: (...args: unknown[]) => each(args, (key) => exists(key)),
    multi: () => client.pipeline(),
  });
}
