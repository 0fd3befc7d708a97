'use strict';

const vm = require('node:vm');
const { TestEnvironment } = require('jest-environment-node');

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
};
