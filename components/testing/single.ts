/** The deployment of one component by itself, and what such tests look for. */
import * as pulumi from '@pulumi/pulumi';

import { SystemUser, usersDefault } from '../../model';
import { type Inputs, type Recorded } from '../recording';
import { deploy, type Deployment } from './harness';

/** Stands in every password and key of a test: where else it is found, a secret has leaked. */
export const canary = 'Tweety';

/** Who logs in to a provider's Redis. */
export const managedUsers = [...Object.keys(usersDefault), SystemUser.Agent, SystemUser.Exporter];

/** `userPasswords` of RedisSecurity: of each user as many as there are generations, such as `Tweety-app-1`. Secret. */
export function passwordsFor(
  users: readonly string[],
  generations: readonly string[],
): pulumi.Output<Record<string, string[]>> {
  return pulumi.secret(
    Object.fromEntries(users.map((user) => [user, generations.map((name) => `${canary}-${user}-${name}`)])),
  );
}

type Component<Args, T> = new (name: string, args: Args, opts?: pulumi.ComponentResourceOptions) => T;

/**
 * What deploys a component with its least arguments, changed by those given.
 * @param outputs what its provider adds, by type and name
 */
export function maker<Args extends object, T>(
  Class: Component<Args, T>,
  name: string,
  minimal: () => Args,
  outputs?: (type: string, name: string, inputs: Inputs) => Inputs,
) {
  return (args: Partial<Args> = {}, opts?: () => pulumi.ComponentResourceOptions): Promise<Deployment<T>> =>
    deploy(() => new Class(name, { ...minimal(), ...args }, opts?.()), {
      canary,
      ...(outputs === undefined ? {} : { outputs }),
    });
}

/** What a provider's package makes, such as `aws`. */
export const madeBy = ({ resources }: Pick<Deployment<unknown>, 'resources'>, provider: string): Recorded[] =>
  resources.filter(({ type }) => type.startsWith(`${provider}:`));
