'use strict';

// Preloaded into every program of Node.js that tests start. Keeps what V8 has made of its larger modules for the next one, which need not compile them again: a
// run of the tests starts a thousand programs, and an agent takes a quarter less to be ready. What Node.js 22 has for this writes only when a program ends by
// itself, and Node.js 20 has nothing.

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const vm = require('node:vm');

const root = path.join(__dirname, '../..') + path.sep;
const cache = path.join(root, 'node_modules/.cache/code');
/** Finding what has been kept of a smaller one takes as long as to compile it. */
const bytesMin = 32 * 1024;
/** Until most of what a program calls has been called, and so compiled. */
const keepAfterMs = 5000;

const compiled = [];

/** It has the time of its source, to the millisecond. */
function kept(file, { mtimeMs }) {
  try {
    return Math.abs(fs.statSync(file).mtimeMs - mtimeMs) < 1 ? fs.readFileSync(file) : undefined;
  } catch {
    return undefined;
  }
}

const compile = Module.prototype._compile;
Module.prototype._compile = function (content, filename, ...rest) {
  if (content.length < bytesMin || !filename.startsWith(root)) return compile.call(this, content, filename, ...rest);
  const file = path.join(cache, path.relative(root, filename).replaceAll(path.sep, '+'));
  const stat = fs.statSync(filename);
  const cachedData = kept(file, stat);
  let script;
  try {
    script = new vm.Script(Module.wrap(content.replace(/^#!.*/, '')), {
      filename,
      cachedData,
      importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
  } catch {
    // An ES module, or none at all.
    return compile.call(this, content, filename, ...rest);
  }
  if (cachedData === undefined || script.cachedDataRejected) compiled.push({ file, script, stat });
  const require = Module.createRequire(filename);
  require.main = process.mainModule;
  const local = Object.assign((id) => this.require(id), require);
  return script.runInThisContext().call(this.exports, this.exports, local, this, filename, path.dirname(filename));
};

function keep() {
  for (const { file, script, stat } of compiled.splice(0)) {
    const temporary = `${file}.${process.pid}`;
    try {
      fs.mkdirSync(cache, { recursive: true });
      fs.writeFileSync(temporary, script.createCachedData());
      fs.utimesSync(temporary, stat.atime, stat.mtime);
      fs.renameSync(temporary, file);
    } catch {
      // Without it, too.
    }
  }
}

process.once('exit', keep);
setTimeout(keep, keepAfterMs).unref();
