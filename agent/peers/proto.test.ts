import { randomBytes } from 'crypto';
import fc from 'fast-check';
import { encodeFrame, type FrameMessage, meshMethods } from './proto';

test('a frame written by hand is what the schema says', () => {
  const { responseSerialize, responseDeserialize } = meshMethods().Follow;
  const number = fc.oneof(fc.constant(0), fc.nat(300), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
  const payloadBytesMax = 300_000;
  const payload = fc.oneof(fc.nat(300), fc.constantFrom(127, 128, 16_383, 16_384, 262_144)).map((n) => randomBytes(n));
  fc.assert(
    fc.property(fc.record({ subscription: number, payload, inflated: number }), (frame: FrameMessage) => {
      const encoded = Buffer.from(encodeFrame(frame));
      const { payload: bytes, ...rest } = frame;
      const { payload: read, ...others } = responseDeserialize(encoded).frame!;
      expect(others).toEqual(rest);
      // Not by toEqual, which looks at each byte as a property.
      expect(bytes.equals(read)).toBe(true);
      encodeFrame({ subscription: 1, payload: Buffer.alloc(payloadBytesMax), inflated: 0 });
      expect(encoded.equals(responseSerialize({ frame }))).toBe(true);
    }),
  );
});

test('other messages are as before', () => {
  const { responseSerialize, responseDeserialize } = meshMethods().Follow;
  const missing = { subscription: 7, firstStart: 12 };
  expect(responseDeserialize(responseSerialize({ missing })).missing).toEqual(missing);
});
