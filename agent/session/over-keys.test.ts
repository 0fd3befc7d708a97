import type { RdbKey } from '../capture';
import type { Candidate } from '../merge/difference';
import { OverKeys } from './over-keys';

const over = (key: string): Candidate => ({ db: 0, key, parts: [{ key: Buffer.from(key) } as RdbKey] });

async function look(there: string[], unexplained = false): Promise<{ found: Candidate[]; asked: number[] }> {
  const found: Candidate[] = [];
  const asked: number[] = [];
  const areThere = (keys: readonly { key: string }[]): Promise<boolean[]> => {
    asked.push(keys.length);
    return Promise.resolve(keys.map(({ key }) => there.includes(key)));
  };
  const keys = new OverKeys(areThere, unexplained, (candidate) => found.push(candidate));
  for (let i = 0; i < 250; i++) await keys.add(over(`k${i}`), i % 2 === 0);
  await keys.look();
  return { found, asked };
}

test('a key whose time is over is no difference', async () => {
  expect(await look([])).toEqual({ found: [], asked: [100, 100, 50] });
});

test('one that Redis has all the same, as its clock was set back, is', async () => {
  expect((await look(['k7', 'k249'])).found).toEqual([over('k7'), over('k249')]);
});

test('where the donor holds what is in no operation, that what it has is over here has to be told', async () => {
  const { found } = await look(['k2'], true);
  expect(found).toHaveLength(125);
  expect(found.slice(0, 3)).toEqual([{ ...over('k0'), parts: [] }, over('k2'), { ...over('k4'), parts: [] }]);
});
