// What `npm start`, `npm test` and the like run. Node built-ins only, up to the point where the dependencies are installed: on a
// fresh clone there is nothing else. Each step is skipped when its result is there already.
//
//   node scripts/run.mjs start [arguments of `meridian up`]
//   node scripts/run.mjs test  [arguments of jest]
//   node scripts/run.mjs bench [arguments of the benchmark]
//   node scripts/run.mjs render [arguments of the render]
//   node scripts/run.mjs e2e:kubernetes [its arguments]
//   node scripts/run.mjs torture [arguments of the driver]
//   node scripts/run.mjs sim [arguments of the simulator]
//   node scripts/run.mjs build | docs
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import Module, { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { providePromtool } from './promtool.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);
const nodeMin = [20, 15];

/** To stderr, so that `--json` on stdout stays clean. */
const say = (line) => console.error(`meridian: ${line}`);

function fail(message, status = 1) {
  say(message);
  process.exit(status);
}

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Runs a program in the checkout, passing on the signals that would stop us; resolves to its exit status. */
function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit', ...options });
    // Ctrl-C reaches the whole process group by itself; what comes from `kill` reaches only us.
    const forward = { SIGTERM: () => child.kill('SIGTERM'), SIGHUP: () => child.kill('SIGHUP'), SIGINT: () => {} };
    for (const [signal, handler] of Object.entries(forward)) process.on(signal, handler);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      for (const [name, handler] of Object.entries(forward)) process.off(name, handler);
      resolve(code ?? 128 + (signal === 'SIGINT' ? 2 : 15));
    });
  });
}

const readJson = (file) => JSON.parse(fs.readFileSync(path.join(root, file), 'utf8'));

const lockFile = 'package-lock.json';
/** What `npm start` needs of the packages for development: it builds dist/. */
const builder = 'node_modules/esbuild';
/** Of the others one that a full installation has for sure. */
const forDevelopment = 'node_modules/typescript';

/**
 * npm writes node_modules/.package-lock.json as the last step of an installation, so an interrupted one counts as nothing.
 */
function installedPackages() {
  try {
    return readJson('node_modules/.package-lock.json').packages;
  } catch {
    return {}; // Nothing installed yet.
  }
}

/**
 * Installs the packages of package-lock.json that node_modules lacks, or has in another version: all, or without those that only development and
 * deployments need, the providers of Pulumi among them, which are most of it.
 */
async function installDependencies(isMinimal) {
  const installed = installedPackages();
  const wanted = Object.entries(readJson(lockFile).packages)
    // Optional packages are those for other platforms.
    .filter(([place, p]) => place !== '' && !p.optional && !p.devOptional)
    .filter(([place, p]) => !isMinimal || !p.dev || place === builder);
  const missing = wanted.filter(([place, { version }]) => installed[place]?.version !== version);
  if (missing.length === 0) return;
  const started = performance.now();
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  // By `npm ci` there is no way to have one package for development; this one leaves package.json and the lock file as they are, too.
  const { version } = readJson(lockFile).packages[builder];
  const args =
    isMinimal && installed[forDevelopment] === undefined
      ? ['install', '--no-save', '--omit=dev', '--save-prod', ...quiet, `esbuild@${version}`]
      : ['ci', '--include=dev', ...quiet];
  say(`installing dependencies, missing or stale: ${missing.length} (npm ${args[0]}) …`);
  const progress = setInterval(() => {
    const there = wanted.filter(([place]) => fs.existsSync(path.join(root, place, 'package.json'))).length;
    say(`  ${there} of ${wanted.length} packages, ${seconds(started)}`);
  }, 3000);
  const npm = process.env.npm_execpath; // npm's own path, when npm runs us
  const status = await (npm?.endsWith('.js') ? run(process.execPath, [npm, ...args]) : run('npm', args)).catch(
    () => 127,
  );
  clearInterval(progress);
  if (status !== 0) {
    fail(
      `installing dependencies failed (npm ${args[0]}, status ${status}). Is the npm registry reachable from here?`,
      status,
    );
  }
  say(`dependencies installed in ${seconds(started)}`);
}

async function buildDist() {
  const started = performance.now();
  const { build } = await import('./build.mjs');
  if (await build()) say(`built dist/ in ${seconds(started)}`);
}

/** Makes sure there is a Redis server, and lets everything we start use the same one. */
function provideRedis() {
  const { ensureRedisBinary } = require('../dist/local/redis-binary.js');
  try {
    const binary = ensureRedisBinary({ log: say });
    process.env.MERIDIAN_REDIS_SERVER = binary.path;
  } catch (error) {
    if (error.name !== 'RedisBinaryError') throw error;
    fail(error.message);
  }
}

/** Loads a CommonJS program of dist/ as the main module of this very process: nothing to forward, no time lost. */
function become(program, args) {
  process.argv = [process.execPath, path.join(root, program), ...args];
  Module.runMain();
}

const bin = (file) => path.join(root, 'node_modules', file);

/** Its workers have them from it. Programs of Pulumi make much that lives for a moment: in a larger young generation they take a tenth less. */
const jestOptions = ['--max-semi-space-size=32'];

/** Lint, formatting and types, together (each is one process, most of its time cached from the last run). */
async function check() {
  const started = performance.now();
  say('checking types, lint and formatting …');
  const cache = 'node_modules/.cache';
  const checks = [
    ['types', [bin('typescript/bin/tsc'), '--noEmit']],
    ['lint', [bin('eslint/bin/eslint.js'), '--cache', '--cache-location', `${cache}/eslint/`, '.']],
    ['formatting', [bin('prettier/bin/prettier.cjs'), '--check', '--log-level', 'warn', '--cache', '.']],
  ];
  const results = await Promise.all(checks.map(([, args]) => run(process.execPath, args)));
  const failed = checks.filter((_, i) => results[i] !== 0).map(([name]) => name);
  if (failed.length > 0)
    fail(`${failed.join(' and ')} failed (above); the tests were not run. \`npm run format\` may help.`);
  say(`checked in ${seconds(started)}`);
}

const tasks = ['start', 'test', 'bench', 'render', 'e2e:kubernetes', 'torture', 'sim', 'build', 'docs'];

async function main([task, ...args]) {
  if (!tasks.includes(task)) fail(`unknown task '${task}': ${tasks.join(', ')}`, 2);
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < nodeMin[0] || (major === nodeMin[0] && minor < nodeMin[1]))
    fail(`Node.js ${nodeMin.join('.')} or newer is needed; this is ${process.version}.`);
  process.chdir(root);
  await installDependencies(['start', 'build', 'sim'].includes(task));
  if (task === 'sim' || task === 'docs') {
    process.exitCode = await run(process.execPath, [path.join(root, 'scripts', `${task}.mjs`), ...args]);
    return;
  }
  await buildDist();
  switch (task) {
    case 'build':
      return;
    case 'start':
      if (!args.some((arg) => arg === '--redis-server' || arg.startsWith('--redis-server='))) provideRedis();
      return become('dist/local/cli.js', ['up', ...args]);
    case 'bench':
      provideRedis();
      return become('dist/bench/index.js', args);
    case 'render':
      return become('dist/render/cli.js', args);
    case 'e2e:kubernetes':
      return become('dist/test/kubernetes/main.js', args);
    case 'torture':
      provideRedis();
      return become('dist/test/torture/cli.js', args);
    case 'test':
      provideRedis(); // first: what a person has to do is said before what takes time
      providePromtool(say);
      await check();
      process.exitCode = await run(process.execPath, [...jestOptions, bin('jest/bin/jest.js'), ...args]);
  }
}

await main(process.argv.slice(2));
