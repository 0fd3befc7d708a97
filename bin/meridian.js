#!/usr/bin/env node
'use strict';

// Runs dist/local/cli.js as if it had been started itself: same process, so signals and exit codes need no forwarding.
const fs = require('node:fs');
const path = require('node:path');

const cli = path.join(__dirname, '..', 'dist', 'local', 'cli.js');
if (!fs.existsSync(cli)) {
  console.error('meridian: not built yet. Run `npm start` (or `npm run build`) in the checkout first.');
  process.exit(1);
}
process.argv[1] = cli;
require('node:module').runMain();
