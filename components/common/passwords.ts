import * as pulumi from '@pulumi/pulumi';

/** The passwords of all users, by name. */
export type Passwords = Readonly<Record<string, readonly string[]>>;

/** A user's passwords, of all. @throws RunError when there is none */
export function pickPasswords(all: Passwords, user: string): [string, ...string[]] {
  const [first, ...others] = all[user] ?? [];
  if (first !== undefined) return [first, ...others];
  throw new pulumi.RunError(
    `userPasswords: found none for ${user}; allowed: one or more; is it in RedisSecurity's users?`,
  );
}
