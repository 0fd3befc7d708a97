import type * as pulumi from '@pulumi/pulumi';

import { childOptions } from '../common';
import { kubernetes } from '../common/kubernetes';

/** The right to label these pods and nothing else, by name: a side-car that is taken over reaches no other pod. */
export function createRoleAccount(
  parent: pulumi.Resource,
  name: string,
  namespace: pulumi.Input<string>,
  labels: Record<string, string>,
  podsMax: number,
): pulumi.Output<string> {
  const options = childOptions(parent);
  const metadata = { name, namespace, labels };
  const account = new kubernetes.core.v1.ServiceAccount(
    name,
    { metadata, automountServiceAccountToken: false },
    options,
  );
  const pods = Array.from({ length: podsMax }, (_, i) => `${name}-${i}`);
  const role = new kubernetes.rbac.v1.Role(
    name,
    { metadata, rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['patch'], resourceNames: pods }] },
    options,
  );
  new kubernetes.rbac.v1.RoleBinding(
    name,
    {
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: role.metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: account.metadata.name, namespace }],
    },
    options,
  );
  return account.metadata.name;
}
