/** Who is trusted and who may log in: certificate authorities, certificates, users and their Secrets. */
export { CertificateIssuer, RedisCredentials, type RedisCredentialsArgs } from './credentials';
export { RedisSecurity, type RedisSecurityArgs } from './security';
