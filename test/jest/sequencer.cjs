'use strict';

const path = require('node:path');
const { default: Sequencer } = require('@jest/test-sequencer');

/**
 * What takes longest, longest first: one that begins last would keep one worker, and the others wait. jest itself knows how long a file takes only
 * after a first run, and goes by the size of the file until then.
 */
const longest = [
  'test/sim/sim',
  'test/integration/join',
  'test/integration/notifications-faults',
  'test/integration/restart',
  'test/integration/partition',
  'test/integration/crash',
  'test/integration/writes',
  'test/stacks',
  'components/local/local',
  'test/integration/deletes',
  'test/integration/must-hold',
  'test/integration/notifications',
  'test/integration/failover',
  'test/integration/semi-sync',
  'test/package',
  'test/integration/away',
  'test/torture/torture',
  'render/render',
  'agent/peers/mesh',
  'policies/pack',
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
