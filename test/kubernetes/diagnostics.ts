import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { type Region } from './clients';
import { kubectl, type KubeObject, list } from './kubectl';

/** Writes what a person needs after a failure: pods, events and logs of every region. @returns what to look at first */
export function collectDiagnostics(dir: string, namespaces: readonly string[]): string[] {
  mkdirSync(dir, { recursive: true });
  const keep = (file: string, args: readonly string[]): string => {
    const text = attempt(args);
    writeFileSync(path.join(dir, file), text);
    return text;
  };
  return namespaces.flatMap((namespace) => {
    const pods = keep(`${namespace}-pods.txt`, ['get', 'pods', '-n', namespace, '-o', 'wide', '--show-labels']);
    keep(`${namespace}-objects.txt`, ['get', 'statefulsets,services,endpointslices,pvc,hpa,jobs', '-n', namespace]);
    keep(`${namespace}-describe.txt`, ['describe', 'pods', '-n', namespace]);
    const events = ['get', 'events', '-n', namespace, '--sort-by=.lastTimestamp'];
    const warnings = keep(`${namespace}-events.txt`, events)
      .split('\n')
      .filter((line) => line.includes('Warning'));
    for (const pod of podsOf(namespace)) {
      for (const { name, restartCount } of pod.status?.containerStatuses ?? []) {
        const logs = ['logs', '-n', namespace, pod.metadata.name, '-c', name, '--timestamps'];
        keep(`${pod.metadata.name}-${name}.log`, logs);
        if (restartCount > 0) keep(`${pod.metadata.name}-${name}-before.log`, [...logs, '--previous']);
      }
    }
    return [`--- ${namespace}`, pods.replaceAll(/ +\S*app\.kubernetes\.io\S*/g, '').trimEnd(), ...warnings.slice(-8)];
  });
}

function podsOf(namespace: string): readonly KubeObject[] {
  try {
    return list(['pods', '-n', namespace]);
  } catch {
    return [];
  }
}

function attempt(args: readonly string[]): string {
  try {
    return kubectl(args);
  } catch (error) {
    return (error as Error).message;
  }
}

export const namespacesOf = (regions: readonly Region[]): string[] => regions.map(({ namespace }) => namespace);
