import * as pulumi from '@pulumi/pulumi';

import {
  type AclUser,
  agentRules,
  clusterAgentRules,
  applicationRules,
  clusterNodeRules,
  type ConfigIssue,
  discoveryRules,
  exporterRules,
  nodeRules,
  renderAcl,
  sentinelNodeRules,
  SystemUser,
  usersDefault,
} from '../../model';
import {
  checkArguments,
  checkPackages,
  checksum,
  childOptions,
  componentType,
  dnsLabel,
  labelsOf,
  nameOf,
  namesList,
  oneOf,
  type Passwords,
  pickPasswords,
  Role,
  rule,
} from '../common';
import { kubernetes } from '../common/kubernetes';
import { sha256Hex } from './hash';
import { agentName, issueByCertManager, issueByCa } from './certificates';

/** Who makes the certificates of a region. */
export const CertificateIssuer = {
  /** Pulumi, with the stack's own authority: nothing to install; renewed by `pulumi up`. */
  Pulumi: 'pulumi',
  /** cert-manager in the region's cluster: renewed by itself. Its issuers must have one root in all regions. */
  CertManager: 'cert-manager',
} as const;
export type CertificateIssuer = (typeof CertificateIssuer)[keyof typeof CertificateIssuer];

/** Who makes a region's certificates, and how long they are good. */
export interface CertificateArgs {
  /** Who makes the certificates; a CertificateIssuer. Default: pulumi. */
  issuer?: CertificateIssuer;
  /** Name of cert-manager's issuer. Needed with issuer `cert-manager`. */
  issuerName?: pulumi.Input<string>;
  /** Its kind: Issuer or ClusterIssuer. Default: ClusterIssuer. */
  issuerKind?: pulumi.Input<string>;
  /** Validity of a certificate, in days. Default: 365. It is renewed in the last twelfth of it. */
  certificateValidityDays?: pulumi.Input<number>;
}

export interface RedisCredentialsArgs extends CertificateArgs {
  /** Name of the region, part of its certificates. */
  region: string;
  /** Name of the stack, as at RedisSecurity. */
  stack: pulumi.Input<string>;
  /** Namespace of the Secrets; it must exist. */
  namespace: pulumi.Input<string>;
  /** `userPasswords` of RedisSecurity. */
  userPasswords: pulumi.Input<{ [user: string]: string[] }>;
  /**
   * Users of the applications and their rules on commands, on all keys, such as `{ app: ['+@read', '+@write'] }`. Plain, for each has a
   * Secret. Default: app (`+@read +@write`), read (`+@read`), admin (`+@all`).
   */
  users?: { [user: string]: string[] };
  /**
   * Redis is a provider's: no ACL files, no certificate of it, and no user of its nodes; only what the agent, the exporter and the applications log in with.
   * Default: false.
   */
  managed?: boolean;
  /** What users are called at Redis, where that is another name: `userNames` of a managed Redis. Default: as here. */
  userNames?: pulumi.Input<{ [user: string]: string }>;
  /**
   * What stands between name and password where a service is told both as one: `:` at Alibaba Cloud, `@` at Tencent Cloud. The Secrets of the users then have
   * the whole as their password, and no name. Default: none, the name is told by itself.
   */
  nameSeparator?: string;
  /** Nodes of a Redis Cluster move slots to each other and may do more. Default: false. */
  cluster?: boolean;
  /**
   * Names by which Redis and its Sentinels are reached, for their certificate. Clients that check names need the one they dial.
   * Default: localhost only; KubernetesRedis has a function for the right ones.
   */
  redisHosts?: pulumi.Input<pulumi.Input<string>[]>;
  /** More names by which other agents reach this region's agent. They check its region's name, which is always in. Default: none. */
  agentHosts?: pulumi.Input<pulumi.Input<string>[]>;
  /** `caBundlePem` of RedisSecurity. Needed with issuer `pulumi`. */
  caBundlePem?: pulumi.Input<string>;
  /** `caCertPem` of RedisSecurity. Needed with issuer `pulumi`. */
  caCertPem?: pulumi.Input<string>;
  /** `caPrivateKeyPem` of RedisSecurity. Needed with issuer `pulumi`. */
  caPrivateKeyPem?: pulumi.Input<string>;
}

/**
 * One region's Secrets: ACL files, a password per user, certificates. Native Secrets of Kubernetes, and nothing secret elsewhere. Each user has a
 * Secret of its own, so that an application's pod mounts no other's password.
 */
export class RedisCredentials extends pulumi.ComponentResource {
  /** Secret with `users.acl` (Redis) and `sentinel-users.acl` (Sentinel). It holds hashes only. Empty where Redis is managed. */
  public readonly aclSecretName: pulumi.Output<string>;
  /** Secret with `username` and `password` of each user, by the user's name. */
  public readonly userSecretNames: pulumi.Output<{ [user: string]: string }>;
  /** Secret with `tls.crt`, `tls.key` and `ca.crt` of Redis and its Sentinels. Empty where Redis is managed. */
  public readonly redisTlsSecretName: pulumi.Output<string>;
  /** Secret with `tls.crt`, `tls.key` and `ca.crt` of the region's agent. */
  public readonly agentTlsSecretName: pulumi.Output<string>;
  /** Changes when Redis has to read its users or certificates again. Empty where it is managed. */
  public readonly checksum: pulumi.Output<string>;
  /** Changes when the agent has to start again: with its password, or the trusted authorities. A renewed certificate it takes as it runs. */
  public readonly agentChecksum: pulumi.Output<string>;

  constructor(name: string, args: RedisCredentialsArgs, opts?: pulumi.ComponentResourceOptions) {
    checkArguments('RedisCredentials', name, args, ['namespace', 'region', 'stack', 'userPasswords'], () =>
      credentialIssues(args),
    );
    checkPackages('RedisCredentials', name, ['@pulumi/kubernetes']);
    super(componentType('RedisCredentials'), name, args, opts);

    const { region, namespace, users = usersDefault } = args;
    const byPulumi = (args.issuer ?? CertificateIssuer.Pulumi) === CertificateIssuer.Pulumi;
    const labels = labelsOf(Role.Redis, region);
    const metadata = (suffix: string) => ({ name: `${name}-${suffix}`, namespace, labels });
    const passwords = pulumi.secret(args.userPasswords);

    // --- Users of whoever logs in
    const isManaged = args.managed === true;
    const ours = isManaged ? [SystemUser.Agent, SystemUser.Exporter] : Object.values(SystemUser);
    const names = pulumi.output(args.userNames ?? {});
    const secrets = [...ours, ...Object.keys(users)].map((user) => {
      const username = names.apply((known) => known[user] ?? user);
      const password = passwords.apply((all) => pickPasswords(all, user)[0]);
      const { nameSeparator } = args;
      const secret = new kubernetes.core.v1.Secret(
        `${name}-${user}`,
        {
          metadata: metadata(user),
          type: 'kubernetes.io/basic-auth',
          stringData:
            nameSeparator === undefined
              ? { username, password }
              : { password: pulumi.interpolate`${username}${nameSeparator}${password}` },
        },
        childOptions(this),
      );
      return [user, nameOf(secret, `${name}-${user}`)] as const;
    });

    // --- Certificates, and what Redis nodes know of the users
    const kinds = {
      redis: { hosts: args.redisHosts ?? [], commonName: pulumi.output(`redis.${region}`) },
      agent: { hosts: args.agentHosts ?? [], commonName: agentName(region, args.stack) },
    };
    const issue = byPulumi ? issueByCa : issueByCertManager;
    const agent = issue(this, `${name}-agent-tls`, { ...args, ...kinds.agent, labels });
    const createNodes = () => {
      const acls = passwords.apply((all) => aclFiles(all, users, args.cluster === true));
      const acl = new kubernetes.core.v1.Secret(
        `${name}-acl`,
        { metadata: metadata('acl'), stringData: { 'users.acl': acls.redis, 'sentinel-users.acl': acls.sentinel } },
        childOptions(this),
      );
      const redis = issue(this, `${name}-redis-tls`, { ...args, ...kinds.redis, labels });
      return {
        aclSecretName: nameOf(acl, `${name}-acl`),
        tlsSecretName: redis.secretName,
        checksum: checksum(acls.redis, acls.sentinel, pulumi.interpolate`${redis.certificate}${redis.trusted}`),
      };
    };
    const none = pulumi.output('');
    const nodes = isManaged ? { aclSecretName: none, tlsSecretName: none, checksum: none } : createNodes();

    this.aclSecretName = nodes.aclSecretName;
    this.userSecretNames = pulumi.output(Object.fromEntries(secrets));
    this.redisTlsSecretName = nodes.tlsSecretName;
    this.agentTlsSecretName = agent.secretName;
    this.checksum = nodes.checksum;
    // Not the certificate: the agent takes a renewed one from its files as it runs. Authorities it takes so, too, but one is replaced in steps, and by the
    // end of a deployment every agent has to trust what the next one brings: a pod that is ready says so, a volume that is behind its Secret does not.
    this.agentChecksum = checksum(
      passwords.apply((all) => pickPasswords(all, SystemUser.Agent)[0]),
      agent.trusted,
    );
    this.registerOutputs({
      aclSecretName: this.aclSecretName,
      userSecretNames: this.userSecretNames,
      redisTlsSecretName: this.redisTlsSecretName,
      agentTlsSecretName: this.agentTlsSecretName,
      checksum: this.checksum,
      agentChecksum: this.agentChecksum,
    });
  }
}

/** Everything that is wrong with the plain arguments. */
export function credentialIssues(args: Omit<RedisCredentialsArgs, 'userPasswords'>): ConfigIssue[] {
  const issuer = args.issuer ?? CertificateIssuer.Pulumi;
  const byPulumi = issuer === CertificateIssuer.Pulumi;
  const needed = byPulumi ? (['caBundlePem', 'caCertPem', 'caPrivateKeyPem'] as const) : (['issuerName'] as const);
  return [
    ...dnsLabel('region', args.region),
    ...namesList('users', Object.keys(args.users ?? usersDefault), 0),
    ...oneOf('issuer', issuer, CertificateIssuer),
    ...needed.flatMap((key) => rule(args[key] !== undefined, key, 'nothing', `a value, with issuer ${issuer}`)),
  ];
}

/** The ACL files of one region. */
export function aclFiles(
  all: Passwords,
  users: Readonly<Record<string, readonly string[]>>,
  isCluster: boolean,
): { redis: string; sentinel: string } {
  const user = (name: string, rules: readonly string[]): AclUser => ({
    name,
    passwordHashes: pickPasswords(all, name).map(sha256Hex),
    rules,
  });
  const { Agent, Node, Exporter } = SystemUser;
  return {
    redis: renderAcl([
      user(Node, isCluster ? clusterNodeRules : nodeRules),
      user(Agent, isCluster ? [...agentRules, ...clusterAgentRules] : agentRules),
      user(Exporter, exporterRules),
      ...Object.entries(users).map(([name, rules]) => user(name, applicationRules(rules))),
    ]),
    sentinel: renderAcl([
      user(Node, sentinelNodeRules),
      user(Agent, discoveryRules),
      ...Object.keys(users).map((name) => user(name, discoveryRules)),
    ]),
  };
}
