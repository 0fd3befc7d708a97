import type * as k8s from '@pulumi/kubernetes';
import type * as pulumi from '@pulumi/pulumi';

import { childOptions } from '../common';
import { kubernetes } from '../common/kubernetes';

interface ServiceOptions {
  readonly name: string;
  readonly namespace: pulumi.Input<string>;
  readonly labels: Record<string, string>;
  readonly selector: Record<string, string>;
  /** Names say the protocol, as a mesh wants it: `tcp-…`, for HTTP rules never match Redis. */
  readonly ports: readonly { readonly name: string; readonly port: number }[];
}

/** One address that stands for the pods selected. */
export function createService(parent: pulumi.Resource, o: ServiceOptions): k8s.core.v1.Service {
  return new kubernetes.core.v1.Service(
    o.name,
    { metadata: metadata(o), spec: { selector: o.selector, ports: portsOf(o) } },
    childOptions(parent),
  );
}

/** A name for each pod, also before it is ready: nodes have to find each other in order to become so. */
export function createHeadlessService(parent: pulumi.Resource, o: ServiceOptions): k8s.core.v1.Service {
  return new kubernetes.core.v1.Service(
    o.name,
    {
      metadata: metadata(o),
      spec: { clusterIP: 'None', publishNotReadyAddresses: true, selector: o.selector, ports: portsOf(o) },
    },
    childOptions(parent),
  );
}

const metadata = ({ name, namespace, labels }: ServiceOptions) => ({ name, namespace, labels });

const portsOf = ({ ports }: ServiceOptions) =>
  ports.map(({ name, port }) => ({ name, port, targetPort: port, protocol: 'TCP', appProtocol: 'tcp' }));
