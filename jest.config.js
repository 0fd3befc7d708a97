'use strict';

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: '<rootDir>/test/jest/environment.cjs',
  testSequencer: '<rootDir>/test/jest/sequencer.cjs',
  // Pulumi's SDK keeps its state on a global object, beyond the end of a test file.
  testEnvironmentOptions: { globalsCleanup: 'off' },
  testMatch: ['**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/.meridian/'],
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/dist/'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript', decorators: true }, target: 'es2022' },
        module: { type: 'commonjs' },
        sourceMaps: 'inline',
      },
    ],
  },
  moduleNameMapper: {
    '/typescript-shim$': '<rootDir>/test/jest/lazy-typescript.cjs',
    '^@npmcli/arborist$': '<rootDir>/test/jest/lazy-arborist.cjs',
    // As in tsconfig.json.
    '^meridian-redis$': '<rootDir>/components/index.ts',
    '^meridian-redis/model$': '<rootDir>/model/index.ts',
  },
  // Integration tests start real servers; their time is spent waiting for processes, not computing.
  testTimeout: 60_000,
  // Meshes wait for one another more than they compute: a third one takes what two leave of two cores.
  maxWorkers: 3,
  // No forceExit: a test that leaves a socket or a process behind must show.
  watchman: false,
};
