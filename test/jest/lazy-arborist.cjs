'use strict';

// Pulumi's SDK loads npm's resolver of packages when it is loaded itself, and uses it where it serializes functions: as long as the compiler.
module.exports = {
  __esModule: true,
  get Arborist() {
    return require('@npmcli/arborist/lib/index.js').Arborist;
  },
};
