/** The containers of a Fargate task: one writes the files that the other, the agent, reads. */
import { adminPort, paths, peerPort } from './conf';
import { nodeOptions } from './agent';

/** The agent's user in the image, and the owner of its journal. */
export const userId = 999;
/** Above all of `paths` but the journal's. */
const filesDir = '/etc/meridian';
const scratchDir = '/tmp';
export const volumes = { files: 'files', scratch: 'scratch', state: 'state' } as const;

/** A config's place among the files. */
export const configName = paths.config.slice(filesDir.length + 1).concat('/agent.json');

/** What is secret among the files, by their places. */
export function secretFiles(password: string, caBundlePem: string, certPem: string, keyPem: string) {
  const at = (dir: string, file: string): string => `${dir.slice(filesDir.length + 1)}/${file}`;
  return {
    [at(paths.user, 'password')]: password,
    [at(paths.tls, 'ca.crt')]: caBundlePem,
    [at(paths.tls, 'tls.crt')]: certPem,
    [at(paths.tls, 'tls.key')]: keyPem,
  };
}

/**
 * Writes what its environment holds to files below its first argument, for its own group to read, and opens its second to all users. ECS hands out secrets as environment variables
 * only, while the agent reads files: so the variables are those of a container that ends before the agent starts, and the agent's own environment, which
 * its children and its crash reports would see, holds none.
 */
export const writeFiles = `
const fs = require('node:fs');
const path = require('node:path');
const [, root, scratch] = process.argv;
const { MERIDIAN_FILES, MERIDIAN_SECRETS } = process.env;
for (const [name, text] of Object.entries({ ...JSON.parse(MERIDIAN_FILES), ...JSON.parse(MERIDIAN_SECRETS) })) {
  const file = path.join(root, name);
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o750 });
  fs.writeFileSync(file, text, { mode: 0o440 });
}
fs.chmodSync(scratch, 0o1777);
`;

export interface Task {
  readonly image: string;
  readonly region: string;
  readonly logGroup: string;
  /** The config, without a secret. */
  readonly config: string;
  readonly secretArn: string;
  /** Changes when the agent has to read its secrets again. */
  readonly checksum: string;
}

/** https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html */
export function containersOf({ image, region, logGroup, config, secretArn, checksum }: Task) {
  const common = (name: string) => ({
    name,
    image,
    readonlyRootFilesystem: true,
    linuxParameters: { capabilities: { drop: ['ALL'] } },
    logConfiguration: {
      logDriver: 'awslogs',
      options: { 'awslogs-group': logGroup, 'awslogs-region': region, 'awslogs-stream-prefix': name },
    },
  });
  const mount = (sourceVolume: string, containerPath: string, readOnly = false) => ({
    sourceVolume,
    containerPath,
    readOnly,
  });
  const port = (containerPort: number) => ({ containerPort, hostPort: containerPort, protocol: 'tcp' });
  return [
    {
      ...common('files'),
      essential: false,
      // Fargate's volumes are root's, and nobody else may write to them; without capabilities this root can do no more than that. Its group is the agent's.
      user: `0:${userId}`,
      entryPoint: ['node'],
      command: ['-e', writeFiles, filesDir, scratchDir],
      environment: [
        { name: 'MERIDIAN_CHECKSUM', value: checksum },
        { name: 'MERIDIAN_FILES', value: JSON.stringify({ [configName]: config }) },
      ],
      secrets: [{ name: 'MERIDIAN_SECRETS', valueFrom: secretArn }],
      mountPoints: [mount(volumes.files, filesDir), mount(volumes.scratch, scratchDir)],
    },
    {
      ...common('agent'),
      essential: true,
      dependsOn: [{ containerName: 'files', condition: 'SUCCESS' }],
      user: `${userId}:${userId}`,
      entryPoint: ['node'],
      command: [...nodeOptions, '/app/dist/agent/main.js', '--config', `${filesDir}/${configName}`],
      portMappings: [port(peerPort), port(adminPort)],
      mountPoints: [
        mount(volumes.files, filesDir, true),
        mount(volumes.scratch, scratchDir),
        mount(volumes.state, paths.state),
      ],
      // It sends what peers have not got yet before it ends, in seconds.
      stopTimeout: 30,
    },
  ];
}
