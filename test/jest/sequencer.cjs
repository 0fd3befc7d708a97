'use strict';

const path = require('node:path');
const { default: Sequencer } = require('@jest/test-sequencer');

/**
 * What takes longest, longest first: one that begins last would keep one worker, and the others wait. jest itself knows how long a file takes only
 * after a first run, and goes by the size of the file until then.
 */
const longest = [
  'test/integration/notifications-faults',
  'test/integration/join',
  'test/integration/restart',
  'components/local/local',
  'test/integration/crash',
  'local/stack',
  'test/sim/sim',
  'test/integration/functions',
  'test/integration/partition',
  'test/package',
  'test/stacks',
  'local/conflicts',
  'test/integration/writes',
  'policies/pack',
  'test/integration/must-hold',
  'test/integration/failover',
  'agent/peers/mesh',
  'plugin/plugin',
  'test/integration/conflicts',
  'test/integration/deletes',
  'test/torture/torture',
  'test/integration/notifications',
  'render/render',
  'test/integration/queues',
  'test/integration/semi-sync',
  'test/integration/dry-run',
  'local/mesh',
  'test/integration/last-writer',
  'test/integration/owners',
  'test/integration/streams',
  'components/kubernetes/cluster',
  'components/kubernetes/failover',
  'local/dead-letters',
  'test/integration/certificates',
  'components/security/acl',
  'components/stack/images',
  'bench/bench',
  'index',
  'components/mesh/mesh',
  'test/integration/away',
  'test/integration/operator',
  'agent/capture/link',
  'agent/journal/journal',
  'test/integration/commands',
  'test/integration/policies',
  'components/stack/alerts',
  'local/verify/verify',
];

module.exports = class extends Sequencer {
  sort(tests) {
    const place = ({ path: file, context }) => {
      const at = longest.indexOf(path.relative(context.config.rootDir, file).replace(/\.test\.ts$/, ''));
      return at < 0 ? longest.length : at;
    };
    return [...super.sort(tests)].sort((a, b) => place(a) - place(b));
  }
};
