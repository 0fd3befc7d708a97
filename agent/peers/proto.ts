/** mesh.proto as loaded at run time: the service's definition, and its messages as TypeScript sees them. */
import path from 'path';
import { loadPackageDefinition, type MethodDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { Hello } from './hello';

export interface Subscribe {
  readonly id: number;
  readonly origin: string;
  readonly from: number;
}

export interface Progress {
  readonly origin: string;
  readonly have: number;
  readonly durable: number;
}

export interface Offer {
  readonly holdings: readonly { readonly origin: string; readonly end: number }[];
  readonly routes: readonly { readonly region: string; readonly path: readonly string[] }[];
}

export interface FrameMessage {
  readonly subscription: number;
  readonly payload: Buffer;
  readonly inflated: number;
}

export interface ChunkMessage extends FrameMessage {
  readonly offset: number;
  readonly total: number;
}

export interface BeatMessage {
  readonly subscription: number;
  readonly region: string;
  readonly origin: string;
  readonly position: number;
  readonly after: number;
  readonly timeMs: number;
  readonly stamp: number;
  readonly behind: number;
  readonly seen: readonly { readonly origin: string; readonly position: number }[];
  readonly durable: readonly { readonly origin: string; readonly position: number }[];
  readonly paths: readonly { readonly region: string; readonly path: readonly string[] }[];
}

export interface MissingMessage {
  readonly subscription: number;
  readonly firstStart: number;
}

/** With no field set, a message from a later version or from nobody we know. */
export interface Upward {
  readonly hello?: Hello;
  readonly subscribe?: Subscribe;
  readonly unsubscribe?: { readonly id: number };
  readonly ack?: { readonly progress: readonly Progress[] };
}

export interface Downward {
  readonly hello?: Hello;
  readonly offer?: Offer;
  readonly frame?: FrameMessage;
  readonly chunk?: ChunkMessage;
  readonly beat?: BeatMessage;
  readonly missing?: MissingMessage;
}

export interface Ping {
  readonly id: number;
  readonly rttMs: number;
}

export interface Part {
  readonly name: string;
  readonly data: Buffer;
  readonly last: boolean;
}

/** A type, not an interface: gRPC wants an index signature. */
export type MeshMethods = {
  readonly Follow: MethodDefinition<Upward, Downward>;
  readonly Pulse: MethodDefinition<Ping, Ping>;
  readonly Ask: MethodDefinition<Part, Part>;
};

let methods: MeshMethods | undefined;

/** Tags of what a frame consists of: number << 3 | wire type. */
const FRAME = (3 << 3) | 2;
const SUBSCRIPTION = 1 << 3;
const PAYLOAD = (2 << 3) | 2;
const INFLATED = 3 << 3;

/** What `encodeFrame` writes into: a buffer of its own for each frame would be most of what the garbage collector has to run for. */
let scratch = Buffer.alloc(0);
/** A larger one is not kept. */
const SCRATCH_BYTES_MAX = 1024 * 1024;

/**
 * A Downward with a frame. Nearly all bytes between regions are frames': written here, they are not described field by field
 * before. https://protobuf.dev/programming-guides/encoding
 * @returns valid until the next one: gRPC copies it behind a header of its own at once (grpc-js, `serializeMessage`)
 */
export function encodeFrame({ subscription, payload, inflated }: FrameMessage): Buffer {
  const body =
    (subscription === 0 ? 0 : 1 + varintBytes(subscription)) +
    (1 + varintBytes(payload.length) + payload.length) +
    (inflated === 0 ? 0 : 1 + varintBytes(inflated));
  const bytes = 1 + varintBytes(body) + body;
  if (scratch.length < bytes || scratch.length > SCRATCH_BYTES_MAX) scratch = Buffer.allocUnsafeSlow(bytes);
  const out = scratch.subarray(0, bytes);
  let at = 0;
  const field = (tag: number, value: number): void => {
    out[at++] = tag;
    for (; value > 127; value = Math.floor(value / 128)) out[at++] = (value & 127) | 128;
    out[at++] = value;
  };
  field(FRAME, body);
  if (subscription !== 0) field(SUBSCRIPTION, subscription);
  field(PAYLOAD, payload.length);
  payload.copy(out, at);
  at += payload.length;
  if (inflated !== 0) field(INFLATED, inflated);
  return out;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (; value > 127; value = Math.floor(value / 128)) bytes++;
  return bytes;
}

/** The service's methods. Loaded on first use: a few milliseconds that a process without peers need not pay. */
export function meshMethods(): MeshMethods {
  if (!methods) {
    // Beside this file both in the sources and in dist/, where the build copies it.
    const definition = loadSync(path.join(__dirname, 'mesh.proto'), { longs: Number, defaults: true, arrays: true });
    const loaded = loadPackageDefinition(definition) as unknown as {
      meridian: { mesh: { Mesh: { service: MeshMethods } } };
    };
    const { Follow, ...others } = loaded.meridian.mesh.Mesh.service;
    const responseSerialize = (message: Downward): Buffer =>
      message.frame === undefined ? Follow.responseSerialize(message) : encodeFrame(message.frame);
    methods = { ...others, Follow: { ...Follow, responseSerialize } };
  }
  return methods;
}
