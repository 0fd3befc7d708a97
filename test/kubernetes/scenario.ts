import { setTimeout as sleep } from 'node:timers/promises';

import { type Clients, type Content, type Region, type Written } from './clients';
import { kubectlAside } from './kubectl';
import { type DeployedMesh } from './mesh';
import { verdict } from './verdict';

export type Say = (line: string) => void;

/** What happened to writes of a region around an event. */
async function observe(what: string, say: Say, clients: Clients, event: () => Promise<string>): Promise<void> {
  const started = Date.now();
  const said = await event();
  await clients.progress(what, 120);
  say(`${what}: ${said}; every region takes writes ${((Date.now() - started) / 1000).toFixed(0)} s after it began`);
}

/** Breaks a mesh in ever larger parts, while clients write in all regions; each time all of them go on. */
export async function breakMesh(mesh: DeployedMesh, clients: Clients, say: Say): Promise<void> {
  const [first, second, third] = mesh.regions as [Region, Region, Region];

  await observe('a primary is stopped, as in a rolling update', say, clients, async () => {
    const pod = await mesh.primary(first);
    await mesh.deletePods(first, [pod]);
    return `${pod} handed over to ${await mesh.primaryOtherThan(first, pod)}`;
  });

  await observe('a primary crashes', say, clients, async () => {
    const pod = await mesh.primary(second);
    await mesh.crash(second, pod, 'redis');
    return `${pod} lost its processes`;
  });

  await observe('a primary loses its disk', say, clients, async () => {
    const pod = await mesh.primary(third);
    await kubectlAside(['delete', 'pvc', '-n', third.namespace, `data-${pod}`, '--wait=false']);
    await mesh.deletePods(third, [pod], 1);
    return `${pod} was replaced by ${await mesh.primaryOtherThan(third, pod)}`;
  });

  await observe('an agent and a Sentinel are killed', say, clients, async () => {
    await mesh.deletePods(third, [`${third.redis}-agent-0`, `${third.redis}-sentinel-0`], 1);
    return `both of ${third.name}`;
  });
  await mesh.ready(180);

  await observe('all pods of a region are killed', say, clients, async () => {
    await mesh.deletePods(second, ['--all'], 1);
    await sleep(2000);
    return `${second.name} was gone`;
  });
  await mesh.ready(180);
}

/** Ends the writing, and waits until all regions hold the same. @throws Error with what is wrong */
export async function settle(mesh: DeployedMesh, clients: Clients, say: Say): Promise<void> {
  const written = await clients.stop();
  for (const [region, { attempts, acknowledged, unconfirmed, errors, gapsMs }] of written) {
    const failed = Object.values(errors).reduce((sum, n) => sum + n, 0);
    const gaps = gapsMs.map((ms) => (ms / 1000).toFixed(1)).join(', ');
    say(
      `${region}: ${attempts} rounds of writes, ${acknowledged.length} acknowledged, ${unconfirmed} unconfirmed, ${failed} failed; ` +
        `without any for ${gaps || '0'} s`,
    );
  }
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { wrong, keys } = await compare(mesh, clients, written);
    if (wrong.length === 0) return say(`all regions are equal: ${keys} keys, nothing acknowledged is lost`);
    if (Date.now() > deadline) throw new Error(`not within 60 s after the last write:\n${wrong.join('\n')}`);
    await sleep(1000);
  }
}

async function compare(mesh: DeployedMesh, clients: Clients, written: ReadonlyMap<string, Written>) {
  const read = async (region: Region): Promise<[string, Content]> => [region.name, await clients.content(region)];
  const contents = new Map(await Promise.all(mesh.regions.map(read)));
  return { wrong: verdict(contents, written), keys: Object.keys([...contents.values()][0] ?? {}).length };
}

/** Probes have run for minutes by now. @throws Error where what they left behind was not taken in */
export async function checkProcesses(mesh: DeployedMesh, say: Say): Promise<void> {
  const counts = await Promise.all(
    mesh.regions.flatMap((region) => [
      mesh.zombies(region, `${region.redis}-1`, 'redis'),
      mesh.zombies(region, `${region.redis}-sentinel-1`, 'sentinel'),
    ]),
  );
  // One may have ended at this very moment.
  if (Math.max(...counts) > 2) throw new Error(`processes that nobody took in, by container: ${counts.join(', ')}`);
  say('nothing is left of the processes of probes');
}

/** Applies the same manifests once more. @throws Error where that changed an object, or moved a pod */
export function applyAgain(mesh: DeployedMesh, say: Say): void {
  const [versions, pods] = [mesh.versions(), mesh.podVersions()];
  mesh.apply();
  const changed = [...changes(versions, mesh.versions()), ...changes(pods, mesh.podVersions())];
  if (changed.length > 0) throw new Error(`a second apply changed ${changed.length} objects:\n${changed.join('\n')}`);
  say(`a second apply changes none of ${versions.size} objects, and no pod`);
}

function changes(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names]
    .filter((name) => before.get(name) !== after.get(name))
    .map((name) => `${name}: ${before.get(name) ?? 'nothing'} → ${after.get(name) ?? 'nothing'}`);
}
