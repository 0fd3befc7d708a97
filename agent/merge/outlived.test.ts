import { CoreRegion } from '../../test/sim/core-region';

/** Region b has given a key more time, and region c has seen it expire; region a sends its state. */
function outlived(): CoreRegion {
  const b = new CoreRegion();
  b.comes('a:1', 1, b.at(), 'HSET h f 1', 'HSET h g 2');
  b.clientAt(2, b.at('a:1'), 'PEXPIREAT h 9000000000000');
  expect(b.unsettled).toEqual([]);
  b.comes('c:1', 3, b.at('a:1'), 'UNLINK h');
  expect(b.unsettled).toEqual(['h']);
  return b;
}

const state = ['DEL h', 'HSET h f 1 g 2', 'PEXPIREAT h 9000000000000'];

test('a state that had not seen an expiry does not settle a key that this region’s renewal has kept from it: elsewhere it went', () => {
  const b = outlived();
  b.state('a:1', 4, b.at('a:1', 'b:1'), ...state);
  expect(b.unsettled).toEqual(['h']);
  b.tells(5, b.at('a:1', 'b:1', 'c:1'), ...state);
  expect(b.unsettled).toEqual([]);
});

test('one that had seen it does', () => {
  const b = outlived();
  b.state('a:1', 4, b.at('a:1', 'b:1', 'c:1'), ...state);
  expect(b.unsettled).toEqual([]);
});
