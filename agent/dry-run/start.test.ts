import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { Agent } from '../agent';
import { parseAgentConfig } from '../config';
import { lockDir } from '../journal/lock';

test.each([true, false])(
  'what a dry run that goes on has written is not removed by another start (dry: %s)',
  async (dryRun) => {
    const stateDir = mkdtempSync(path.join(tmpdir(), 'meridian-dry-run-'));
    const journal = path.join(stateDir, 'dry-run', 'journal');
    mkdirSync(journal, { recursive: true });
    const release = lockDir(journal);
    const config = parseAgentConfig({
      ...{ stack: 'test', region: 'paris', members: [{ name: 'paris', primary: true }, { name: 'tokyo' }] },
      redis: { host: '127.0.0.1', port: 1 },
      listen: { peer: { host: '127.0.0.1', port: 1 }, admin: { host: '127.0.0.1', port: 2 } },
      peers: [{ region: 'tokyo', host: '127.0.0.1', port: 1 }],
      tls: { caFile: 'ca.crt', certFile: 'paris.crt', keyFile: 'paris.key' },
      replication: { dryRun },
      stateDir,
    });
    try {
      await expect(Agent.start(config)).rejects.toMatchObject({ code: 'locked' });
      expect(existsSync(journal)).toBe(true);
    } finally {
      release();
      rmSync(stateDir, { recursive: true });
    }
  },
);
