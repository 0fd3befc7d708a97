import { z } from 'zod';

import { type Container, isKind, podKinds, type Workload, workloadOf } from '../kubernetes';
import { at, shown, textsAt } from '../props';
import { type Issue, Level, resourceRule } from '../rule';

/** Advisory: a second wall. Nothing is lost or leaks by it alone, only where Redis itself has been taken over. */
export const podSecurity = resourceRule({
  name: 'pod-security',
  level: Level.Advisory,
  what: "Pods run with no right that they don't need: no root, no privileges, no capabilities, a root file system that is read-only, seccomp.",
  why: 'It is a second wall: nothing leaks by it alone, but a Redis that is taken over would take its machine too.',
  fix: 'Set the securityContext of pod and container as the "restricted" Pod Security Standard asks; with `kernelTuning` allow the container `sysctls`.',
  settings: {
    allowedContainers: z.array(z.string()).default([]).describe('Containers that may do more, by name.'),
  },
  concerns: isKind(...podKinds),
  check: (resource, { allowedContainers }) => {
    const workload = workloadOf(resource);
    if (workload === undefined) return [];
    return workload.containers
      .filter(({ name }) => !allowedContainers.includes(name))
      .flatMap((container) => issuesOf(container, workload));
  },
});

function issuesOf({ container, at: where }: Container, { spec }: Workload): Issue[] {
  const own = (...path: string[]): unknown => at(container, 'securityContext', ...path);
  // What the container doesn't say, the pod does.
  const either = (...path: string[]): unknown => own(...path) ?? at(spec, 'securityContext', ...path);
  const need = (key: string, value: unknown, allowed: readonly unknown[]): Issue[] =>
    allowed.includes(value)
      ? []
      : [{ where: `${where}.securityContext.${key}`, found: shown(value), allowed: allowed.map(String).join(', ') }];
  return [
    ...need('privileged', own('privileged') ?? false, [false]),
    ...need('runAsNonRoot', either('runAsNonRoot'), [true]),
    ...need('allowPrivilegeEscalation', own('allowPrivilegeEscalation'), [false]),
    ...need('readOnlyRootFilesystem', own('readOnlyRootFilesystem'), [true]),
    ...need('seccompProfile.type', either('seccompProfile', 'type'), ['RuntimeDefault', 'Localhost']),
    ...need(
      'capabilities.drop',
      textsAt(own('capabilities'), 'drop').find((one) => one === 'ALL'),
      ['ALL'],
    ),
  ];
}
