'use strict';

// Pulumi's SDK loads the compiler (9 MB) when it is loaded itself, and uses it where it serializes functions: half a second for each test file.
module.exports = new Proxy({}, { get: (_, name) => require('typescript')[name] });
