/** Who is trusted and who may log in: certificate authorities, certificates, users and their Secrets. */
export { type CertificateArgs, CertificateIssuer, RedisCredentials, type RedisCredentialsArgs } from './credentials';
export { RedisSecurity, type RedisSecurityArgs } from './security';
