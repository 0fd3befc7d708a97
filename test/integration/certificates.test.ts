import { X509Certificate } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { createCa, issueCertificate } from '../../agent/peers/certificates';
import { certificateFiles } from '../../local/certificates';
import { loopback } from '../../local/ports';
import { expectKept, underLoad } from './load';
import { Mesh, type Region, until } from './mesh';

// Certificates that are renewed in place, as in a volume of Kubernetes, under agents that nobody restarts.

let mesh: Mesh;
afterEach(() => mesh?.stop());

const filesOf = ({ name }: Region) => certificateFiles(mesh.layout, name);
const read = (file: string): Buffer => readFileSync(file);

function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** The serial number that the agent's port for its peers shows to who has this certificate. @throws where it refuses that */
function shownBy(region: Region, as: { ca: Buffer; cert: Buffer; key: Buffer }): Promise<string> {
  return new Promise((resolve, reject) => {
    const where = { host: loopback, port: region.layout.agent.peerPort, servername: 'localhost' };
    const socket = connect({ ...where, ...as, ALPNProtocols: ['h2'] });
    // In TLS 1.3 a client is connected before the server has looked at its certificate: what is accepted gets an answer.
    socket.once('data', () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber ?? 'none');
      socket.destroy();
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed')));
  });
}

const linksAre = async (state: 'up' | 'down'): Promise<boolean> => {
  const all = await Promise.all(mesh.regions.map((region) => region.status()));
  return all.every(({ links }) => links.every((link) => (link.state === 'up') === (state === 'up')));
};

async function metric(region: Region, certificate: string): Promise<number> {
  const { text } = await region.http('/metrics');
  const [, value] =
    new RegExp(`expiration_timestamp_seconds\\{certificate="${certificate}".*\\} (\\S+)`).exec(text) ?? [];
  return Number(value);
}

test('a new authority and new certificates while everybody writes: links come up by them, and nothing is lost', async () => {
  mesh = await Mesh.start();
  const pids = mesh.regions.map(({ agent }) => agent.pid);
  const [alpha, beta] = [mesh.region('alpha'), mesh.region('beta')];
  const old = { ca: read(filesOf(alpha).ca), cert: read(filesOf(alpha).cert), key: read(filesOf(alpha).key) };
  expect(await shownBy(beta, old)).toBe(new X509Certificate(read(filesOf(beta).cert)).serialNumber);

  const { stack } = mesh.layout;
  const ca = await createCa({ stack, days: 100 });
  const both = Buffer.concat([old.ca, Buffer.from(`\n${ca.cert}`)]);
  const serials = new Map<string, string>();
  const loads = await underLoad(mesh.regions, 46, async () => {
    // All trust both first; then each has a certificate of the new one; then nobody trusts the old one any more.
    replace(filesOf(alpha).ca, both.toString());
    for (const region of mesh.regions)
      await until(
        async () => (await metric(region, 'authority')) === Date.parse(new X509Certificate(ca.cert).validTo) / 1000,
        20_000,
        `${region.name} did not take both authorities`,
      );
    await Promise.all(
      mesh.regions.map(async (region) => {
        const issued = await issueCertificate(ca, { stack, region: region.name, days: 50 });
        serials.set(region.name, new X509Certificate(issued.cert).serialNumber);
        // In this order, so that an agent may find a certificate without its key.
        replace(filesOf(region).cert, issued.cert);
        replace(filesOf(region).key, issued.key);
        await until(
          async () => (await shownBy(region, { ...old, ca: both })) === serials.get(region.name),
          20_000,
          `${region.name} did not take its certificate`,
        );
        expect(await metric(region, 'agent')).toBe(Date.parse(new X509Certificate(issued.cert).validTo) / 1000);
      }),
    );
    // Until here no link has been broken: they stand by what they began with.
    expect(await linksAre('up')).toBe(true);
    replace(filesOf(alpha).ca, ca.cert);
    for (const region of mesh.regions)
      await until(
        () =>
          shownBy(region, { ...old, ca: both }).then(
            () => false,
            () => true,
          ),
        20_000,
        `${region.name} still takes whom the old authority knows`,
      );
    for (const name of ['alpha', 'beta', 'gamma']) mesh.partition(name);
    await until(() => linksAre('down'), 20_000, 'the links are not down');
    mesh.heal();
    await until(() => linksAre('up'), 30_000, 'the links do not come up');
  });
  expect(mesh.regions.map(({ agent }) => agent.pid)).toEqual(pids);
  const young = { ca: read(filesOf(alpha).ca), cert: read(filesOf(alpha).cert), key: read(filesOf(alpha).key) };
  expect(await shownBy(beta, young)).toBe(serials.get('beta'));
  await mesh.waitEqual();
  await expectKept(mesh, loads);
});

test('what is no certificate is told in the log, and the old one stays in use', async () => {
  mesh = await Mesh.start({ regions: ['alpha', 'beta'] });
  const [alpha, beta] = [mesh.region('alpha'), mesh.region('beta')];
  const old = { ca: read(filesOf(alpha).ca), cert: read(filesOf(alpha).cert), key: read(filesOf(alpha).key) };
  const { serialNumber } = new X509Certificate(old.cert);
  replace(filesOf(alpha).cert, read(filesOf(beta).cert).toString());
  await until(
    () => /new certificates can't be used: the old ones are/.test(alpha.tail(100)),
    20_000,
    'nothing is said of a key that is not that of the certificate',
  );
  expect(alpha.tail(100)).toContain('the key is not that of the certificate');
  expect(await shownBy(alpha, old)).toBe(serialNumber);
  mesh.partition('alpha');
  await until(() => linksAre('down'), 20_000, 'the links are not down');
  mesh.heal();
  await until(() => linksAre('up'), 30_000, 'the links do not come up');
  await mesh.waitEqual();
});
