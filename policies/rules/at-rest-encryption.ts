import { isKind } from '../kubernetes';
import { isCopy, replicationGroup } from '../managed';
import { at, shown, textAt } from '../props';
import { type Checked, type Issue, Level, resourceRule } from '../rule';
import { fileSystem } from '../tasks';

const ebsVolume = 'aws:ebs/volume:Volume';
const isStorageClass = isKind('StorageClass');

/** Mandatory: it leaks. A snapshot that is shared by mistake, or a disk that is passed on, is readable. */
export const atRestEncryption = resourceRule({
  name: 'at-rest-encryption',
  level: Level.Mandatory,
  what: 'Data is encrypted at rest: ElastiCache, and the volumes and file systems of AWS.',
  why: 'Otherwise a snapshot that is shared by mistake, or a disk that is passed on, is readable.',
  fix: 'Set atRestEncryptionEnabled; `encrypted: "true"` among the parameters of a StorageClass, as `createStorageClass` does.',
  settings: {},
  concerns: (type) => [replicationGroup, ebsVolume, fileSystem].includes(type) || isStorageClass(type),
  check: (resource) => {
    const { type, props } = resource;
    if (type === ebsVolume || type === fileSystem) return need('encrypted', at(props, 'encrypted'), true);
    if (type === replicationGroup)
      return isCopy(resource) ? [] : need('atRestEncryptionEnabled', at(props, 'atRestEncryptionEnabled'), true);
    return storageClassIssues(resource);
  },
});

const need = (where: string, value: unknown, allowed: boolean | string): Issue[] =>
  value === allowed ? [] : [{ where, found: shown(value), allowed: String(allowed) }];

function storageClassIssues({ props }: Checked): Issue[] {
  const isEbs = ['ebs.csi.aws.com', 'kubernetes.io/aws-ebs', 'ebs.csi.eks.amazonaws.com'].includes(
    textAt(props, 'provisioner') ?? '',
  );
  return isEbs ? need('parameters.encrypted', at(props, 'parameters', 'encrypted'), 'true') : [];
}
