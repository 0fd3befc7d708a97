import * as pulumi from '@pulumi/pulumi';
import * as random from '@pulumi/random';
import * as tls from '@pulumi/tls';

import { type ConfigIssue, SystemUser, usersDefault } from '../../model';
import { checkArguments, componentType, dataOptions, namesList, rule } from '../common';

/** Nothing that a shell, a URL or redis.conf would read as anything else; 190 bits. */
const passwordLength = 32;
const hoursPerDay = 24;

export interface RedisSecurityArgs {
  /** Name of the stack, part of the names in certificates. Agents of different stacks refuse each other. */
  stack: pulumi.Input<string>;
  /**
   * Users of the applications, by name. Plain, for each has resources of its own. What they may do is said per region, at
   * RedisCredentials. Default: app, read, admin.
   */
  users?: string[];
  /**
   * Certificate authorities, by names of your choice. All of them are trusted, the first one signs. To replace `a`: deploy
   * `[a, b]` (both trusted everywhere), then `[b, a]` (b signs), then `[b]`; at no moment does one end refuse the other. Default: `[a]`.
   */
  authorities?: string[];
  /**
   * Passwords of each user, by names of your choice, at least two. All of them are accepted, the first one is handed out. To replace `a`: deploy
   * `[b, a]`, and when all clients have restarted `[b, c]`. Default: `[a, b]`.
   */
  passwords?: string[];
  /** Validity of a certificate authority, in days. Default: 3650, as its replacement is a decision, made by `authorities`. */
  authorityValidityDays?: pulumi.Input<number>;
  /** Refuse to delete authorities and passwords: without them nobody gets into the data. Default: false. */
  protect?: boolean;
  /** Leave authorities and passwords alone when they leave the program. Default: false. */
  retainOnDelete?: boolean;
}

/**
 * What all regions of a stack share: who is trusted, and who may log in. The same users and passwords hold in every region, for traffic
 * may be moved from one to another under a running client. The certificates and Secrets of one region: RedisCredentials.
 */
export class RedisSecurity extends pulumi.ComponentResource {
  /** PEM of all authorities, what everybody trusts. */
  public readonly caBundlePem: pulumi.Output<string>;
  /** PEM of the authority that signs. */
  public readonly caCertPem: pulumi.Output<string>;
  /** Its private key, PEM. Secret. */
  public readonly caPrivateKeyPem: pulumi.Output<string>;
  /** The passwords of each user, those of our own programs included; the first is the one to use. Secret. */
  public readonly userPasswords: pulumi.Output<{ [user: string]: string[] }>;

  constructor(name: string, args: RedisSecurityArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments('RedisSecurity', name, args, ['stack'], () => securityIssues(args));
    super(componentType('RedisSecurity'), name, args, opts);

    const authorities = args.authorities ?? ['a'];
    const passwords = args.passwords ?? ['a', 'b'];
    const users = args.users ?? Object.keys(usersDefault);
    const made = authorities.map((authority) => {
      const child = `${name}-ca-${authority}`;
      const key = new tls.PrivateKey(
        `${child}-key`,
        { algorithm: 'ECDSA', ecdsaCurve: 'P256' },
        dataOptions(this, args),
      );
      const certificate = new tls.SelfSignedCert(
        child,
        {
          privateKeyPem: key.privateKeyPem,
          subject: { commonName: pulumi.interpolate`Meridian ${args.stack} CA ${authority}` },
          isCaCertificate: true,
          setSubjectKeyId: true,
          allowedUses: ['cert_signing', 'crl_signing'],
          validityPeriodHours: pulumi.output(args.authorityValidityDays ?? 3650).apply((days) => days * hoursPerDay),
        },
        dataOptions(this, args),
      );
      return { certPem: certificate.certPem, keyPem: key.privateKeyPem };
    });
    const [signer] = made;
    if (signer === undefined) throw new RangeError('namesList has found an authority');
    this.caBundlePem = pulumi.all(made.map(({ certPem }) => certPem)).apply((all) => all.join(''));
    this.caCertPem = signer.certPem;
    this.caPrivateKeyPem = pulumi.secret(signer.keyPem);

    const everybody = [...Object.values(SystemUser), ...users];
    this.userPasswords = pulumi.secret(
      pulumi.all(
        Object.fromEntries(
          everybody.map((user) => [
            user,
            pulumi.all(
              passwords.map(
                (generation) =>
                  new random.RandomPassword(
                    `${name}-${user}-${generation}`,
                    { length: passwordLength, special: false },
                    dataOptions(this, args),
                  ).result,
              ),
            ),
          ]),
        ),
      ),
    );

    this.registerOutputs({
      caBundlePem: this.caBundlePem,
      caCertPem: this.caCertPem,
      caPrivateKeyPem: this.caPrivateKeyPem,
      userPasswords: this.userPasswords,
    });
  }
}

/** Everything that is wrong with the plain arguments. */
export function securityIssues(args: Pick<RedisSecurityArgs, 'authorities' | 'passwords' | 'users'>): ConfigIssue[] {
  const { authorities = ['a'], passwords = ['a', 'b'], users = Object.keys(usersDefault) } = args;
  return [
    ...namesList('authorities', authorities),
    ...namesList('passwords', passwords, 2),
    ...namesList('users', users, 0),
    ...users.flatMap((user) =>
      rule(
        user !== 'default' && !user.startsWith('meridian'),
        'users',
        user,
        'none of `default` and `meridian…`, which are taken',
      ),
    ),
  ];
}
