'use strict';

const path = require('node:path');
const { default: Sequencer } = require('@jest/test-sequencer');

/**
 * What takes longest, longest first: one that begins last would keep one worker, and the others wait. jest itself knows how long a file takes only
 * after a first run, and goes by the size of the file until then.
 */
const longest = [
  'test/integration/join',
  'test/integration/notifications-faults',
  'components/local/local',
  'test/sim/sim',
  'test/integration/functions',
  'test/integration/restart',
  'test/integration/crash',
  'test/integration/partition',
  'local/stack',
  'local/conflicts',
  'test/integration/deletes',
  'test/package',
  'test/integration/writes',
  'test/stacks',
  'test/integration/must-hold',
  'test/integration/failover',
  'local/dead-letters',
  'plugin/plugin',
  'policies/pack',
  'render/render',
  'components/mesh/mesh',
  'agent/peers/mesh',
  'local/mesh',
  'test/integration/dry-run',
  'test/integration/streams',
  'test/integration/semi-sync',
  'test/integration/conflicts',
  'test/integration/notifications',
  'test/integration/queues',
  'test/integration/away',
  'agent/journal/journal',
  'components/kubernetes/failover',
  'test/integration/modules',
  'bench/bench',
  'test/torture/torture',
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
