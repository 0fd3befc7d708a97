import { X509Certificate } from 'node:crypto';
import { readFileSync, rmSync, statSync } from 'node:fs';

import { parseStackConfig } from '../model';
import { certificateFiles, provideCertificates } from './certificates';
import { type StackLayout, layoutOf, stateDirOf } from './layout';
import { Cleanup } from './testing';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

function layout(root: string, names: string[]): StackLayout {
  const result = parseStackConfig({ regions: names.map((name, i) => ({ name, primary: i === 0, backend: 'local' })) });
  if (!result.ok) throw new Error('bad config');
  return layoutOf('test', result.config, 7500, stateDirOf(root));
}

function certOf(stack: StackLayout, region: string): string {
  return readFileSync(certificateFiles(stack, region).cert, 'utf8');
}

test('one CA, one certificate for each region, made once', async () => {
  const root = cleanup.dir();
  const two = layout(root, ['a', 'b']);
  await provideCertificates(two);
  const ca = readFileSync(certificateFiles(two, 'a').ca, 'utf8');
  const a = certOf(two, 'a');
  expect(new X509Certificate(a).verify(new X509Certificate(ca).publicKey)).toBe(true);
  expect(new X509Certificate(a).subjectAltName).toContain('DNS:a.test.meridian');
  expect(statSync(certificateFiles(two, 'a').key).mode & 0o777).toBe(0o600);

  // A region that comes later gets one of the same CA; the others keep theirs.
  const three = layout(root, ['a', 'b', 'c']);
  await provideCertificates(three);
  expect(certOf(three, 'a')).toBe(a);
  expect(new X509Certificate(certOf(three, 'c')).verify(new X509Certificate(ca).publicKey)).toBe(true);
});

test('another CA makes all certificates anew', async () => {
  const stack = layout(cleanup.dir(), ['a', 'b']);
  await provideCertificates(stack);
  const before = certOf(stack, 'a');
  rmSync(certificateFiles(stack, 'a').ca);
  await provideCertificates(stack);
  expect(certOf(stack, 'a')).not.toBe(before);
  const ca = new X509Certificate(readFileSync(certificateFiles(stack, 'a').ca, 'utf8'));
  for (const region of ['a', 'b']) expect(new X509Certificate(certOf(stack, region)).verify(ca.publicKey)).toBe(true);
});
