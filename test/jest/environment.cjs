'use strict';

const asyncHooks = require('node:async_hooks');
const path = require('node:path');
const vm = require('node:vm');
const { TestEnvironment } = require('jest-environment-node');

const { AsyncLocalStorage } = asyncHooks;

// Of all programs that tests start.
const codeCache = `--require ${JSON.stringify(path.join(__dirname, 'code-cache.cjs'))}`;
process.env.NODE_OPTIONS = [process.env.NODE_OPTIONS, codeCache].filter(Boolean).join(' ');

/**
 * What jest keeps the running test in, to know to which one an error belongs that nobody catches. Its own storage has a hook for each promise that is made, by
 * whomever, up to the end of the process. Tests here run one after the other: a variable will do.
 */
class RunningTest {
  #store;
  #depth = 0;

  getStore() {
    return this.#store;
  }

  run(store, task) {
    // Behind a test its own stays, until the next one begins: what comes late is its doing.
    const after = this.#depth++ > 0 ? this.#store : store;
    this.#store = store;
    return task().finally(() => {
      this.#depth--;
      this.#store = after;
    });
  }
}

/**
 * jest's own environment, in a plain context where Node.js has them (20.18). In jest's each look at a global (`Buffer`, `Map`, `Math`) goes through
 * an interceptor and a Proxy; code that computes takes a sixth less time without.
 */
module.exports = class extends TestEnvironment {
  constructor(config, context) {
    const { createContext } = vm;
    const plain = vm.constants?.DONT_CONTEXTIFY;
    if (plain !== undefined) vm.createContext = () => createContext(plain);
    try {
      super(config, context);
    } finally {
      vm.createContext = createContext;
    }
  }

  async setup() {
    await super.setup();
    // What is loaded between this and the first event is jest's runner, and nothing else.
    asyncHooks.AsyncLocalStorage = RunningTest;
  }

  handleTestEvent({ name }) {
    if (name === 'setup') asyncHooks.AsyncLocalStorage = AsyncLocalStorage;
  }

  async teardown() {
    asyncHooks.AsyncLocalStorage = AsyncLocalStorage;
    await super.teardown();
  }
};
