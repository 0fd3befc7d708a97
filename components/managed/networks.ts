import * as pulumi from '@pulumi/pulumi';
import { isIPv4 } from 'node:net';

import { type ConfigIssue } from '../../model';
import { namesList, rule } from '../common';

/** The widest private network there is (10.0.0.0/8). */
const prefixLengthMin = 8;
const allowed = `an IPv4 network of /${prefixLengthMin} or narrower, such as 10.0.0.0/16; never 0.0.0.0/0`;

/** Whether clients may be let in from there: from a network, and not from everywhere, in one piece or in a few. */
export function isNetwork(text: string): boolean {
  const [address = '', length = '', ...rest] = text.split('/');
  const isLength = /^\d{1,2}$/.test(length) && Number(length) >= prefixLengthMin && Number(length) <= 32;
  return isIPv4(address) && isLength && rest.length === 0 && !address.startsWith('0.');
}

/** Those of an allow list that are known before deploying. */
export function networkIssues(path: string, networks: Readonly<Record<string, unknown>> = {}): ConfigIssue[] {
  return Object.entries(networks).flatMap(([name, value]) =>
    typeof value !== 'string' || isNetwork(value)
      ? []
      : [{ path: `${path}.${name}`, found: JSON.stringify(value), allowed }],
  );
}

/** An allow list that is all that lets clients in: it may not be empty. */
export function allowListIssues(path: string, networks: Readonly<Record<string, unknown>>): ConfigIssue[] {
  const names = Object.keys(networks);
  return [
    ...rule(names.length > 0, path, 'nothing', 'one network or more'),
    ...networkIssues(path, networks),
    ...namesList(path, names, 0),
  ];
}

/** @throws RunError, naming the place in the arguments */
export function requireNetwork(path: string, text: string): string {
  if (isNetwork(text)) return text;
  throw new pulumi.RunError(`${path}: found "${text}"; allowed: ${allowed}`);
}

/** The others of an allow list, when they are known. */
export function checkedNetwork(path: string, network: pulumi.Input<string>): pulumi.Output<string> {
  return pulumi.output(network).apply((text) => requireNetwork(path, text));
}
