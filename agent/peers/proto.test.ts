import { randomBytes } from 'crypto';
import fc from 'fast-check';
import { encodeFrame, type FrameMessage, meshMethods } from './proto';

test('a frame written by hand is what the schema says', () => {
  const { responseSerialize, responseDeserialize } = meshMethods().Follow;
  const number = fc.oneof(fc.constant(0), fc.nat(300), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
  const payload = fc.oneof(fc.nat(300), fc.constantFrom(127, 128, 16_383, 16_384, 262_144)).map((n) => randomBytes(n));
  fc.assert(
    fc.property(fc.record({ subscription: number, payload, inflated: number }), (frame: FrameMessage) => {
      expect(responseDeserialize(encodeFrame(frame)).frame).toEqual(frame);
      expect(responseSerialize({ frame })).toEqual(encodeFrame(frame));
    }),
  );
});

test('other messages are as before', () => {
  const { responseSerialize, responseDeserialize } = meshMethods().Follow;
  const missing = { subscription: 7, firstStart: 12 };
  expect(responseDeserialize(responseSerialize({ missing })).missing).toEqual(missing);
});
