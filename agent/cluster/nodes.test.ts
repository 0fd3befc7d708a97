import { findShard, parseNodes, whyNot } from './nodes';
import { parseSlots } from '../../model/slots';

const A = '07c37dfeb235213a872192d90877d0cd55635b91';
const B = '67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1';
const C = 'e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca';
const nodes = (text: string) => parseNodes(text)!;

test('the text of CLUSTER NODES', () => {
  const text = [
    `${A} 127.0.0.1:30004@31004,redis-0.redis slave ${B} 0 1426238317239 4 connected`,
    `${B} 127.0.0.1:30001@31001,,shard-id=x myself,master - 0 0 7 connected 0-5460 [93->-${C}] [77-<-${A}]`,
    `${C} fe80::1:30002@31002 master,fail? - 0 0 2 connected 5461-10922 16000`,
    `${A} :0@0 master,noaddr - 0 0 1 disconnected`,
    '',
  ].join('\n');
  expect(parseNodes(text)).toEqual([
    expect.objectContaining({ host: 'redis-0.redis', port: 30004, isPrimary: false, slots: [], moving: [] }),
    expect.objectContaining({
      host: '127.0.0.1',
      port: 30001,
      isMyself: true,
      moving: [93, 77],
      slots: [[0, 5460]],
      epoch: 7,
    }),
    expect.objectContaining({
      host: 'fe80::1',
      isDoubtful: true,
      slots: [
        [5461, 10922],
        [16000, 16000],
      ],
    }),
    expect.objectContaining({ host: '', isDoubtful: true }),
  ]);
  for (const wrong of ['', 'x', `${A} nowhere master - 0 0 1 connected`, `${A} a:1@2 master - 0 0 1 connected 5-x`])
    expect([wrong, parseNodes(wrong)]).toEqual([wrong, null]);
});

describe('the primary of a shard', () => {
  const slots = parseSlots('0-99')!;
  const line = (id: string, address: string, flags: string, epoch: number, ranges: string): string =>
    `${id} ${address} ${flags} - 0 0 ${epoch} connected ${ranges}`;
  const view = (asked: string, ...lines: string[]) => ({ asked, nodes: nodes(lines.join('\n')) });

  test('has all of its slots, and no other', () => {
    const one = view('seed', line(A, 'a:1@2', 'myself,master', 1, '0-99'), line(B, 'b:1@2', 'master', 2, '100-16383'));
    expect(findShard([one], slots)).toEqual({ host: 'a', port: 1 });
    expect(findShard([one], parseSlots('0-98')!)).toContain(
      'just the slots 0-98 (redis.cluster.slots): a:1 has the slots 0-99',
    );
    expect(findShard([one], parseSlots('0-100')!)).toContain('a:1 has the slots 0-99');
    expect(findShard([], slots)).toContain('of 0 nodes');
  });

  test('is the one of the latest configuration, where nodes differ', () => {
    const old = view('a', line(A, 'a:1@2', 'myself,master', 1, '0-99'), line(B, 'b:1@2', 'slave', 1, ''));
    const fresh = view('b', line(A, 'a:1@2', 'slave', 1, ''), line(B, 'b:1@2', 'myself,master', 5, '0-99'));
    expect(findShard([old, fresh], slots)).toEqual({ host: 'b', port: 1 });
    expect(findShard([fresh, old], slots)).toEqual({ host: 'b', port: 1 });
  });

  test('is at the address by which it was asked, where it does not know its own', () => {
    expect(findShard([view('seed', line(A, ':1@2', 'myself,master', 0, '0-99'))], slots)).toEqual({
      host: 'seed',
      port: 1,
    });
  });

  test('is nobody while slots move', () => {
    const moving = view('a', line(A, 'a:1@2', 'myself,master', 1, `0-99 [7->-${B}]`));
    expect(findShard([moving], slots)).toContain('slots are being moved');
    expect(whyNot(moving.nodes, slots)).toContain('slots are being moved');
    // The one that got them says so, when the one that gave them is gone.
    const promoted = line(B, 'b:1@2', 'myself,master', 5, '0-99');
    const target = line(C, 'c:1@2', 'myself,master', 2, `100-16383 [7-<-${A}]`);
    expect(findShard([view('b', promoted), view('c', target)], slots)).toContain('slots are being moved');
    expect(findShard([view('b', promoted), view('c', target.replace('[7', '[107'))], slots)).toEqual({
      host: 'b',
      port: 1,
    });
  });

  test('says why it is not the place', () => {
    const myself = (flags: string, ranges: string) => nodes(line(A, 'a:1@2', flags, 1, ranges));
    expect(whyNot(myself('myself,master', '0-99'), slots)).toBeNull();
    expect(whyNot(myself('myself,slave', ''), slots)).toBe('this Redis is a replica');
    expect(whyNot(myself('myself,master', ''), slots)).toContain('no slots, and not 0-99');
    expect(whyNot(myself('myself,master', '0-98'), slots)).toContain('the slots 0-98, and not 0-99');
    expect(whyNot(myself('master', '0-99'), slots)).toContain('does not answer CLUSTER NODES');
    expect(whyNot(null, slots)).toContain('does not answer CLUSTER NODES');
  });
});
