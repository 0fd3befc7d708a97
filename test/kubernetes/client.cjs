'use strict';
// A client of each region's Redis, in a pod of the cluster: Node.js without packages, for the agent's image has all it needs.
//
//   node client.cjs write     writes all the time, to the region's client Service; keeps count in /tmp/state.json; stops when /tmp/stop is there
//   node client.cjs dump      everything that the region holds, as JSON
const fs = require('node:fs');
const tls = require('node:tls');

const { REGION, HOST, PORT = '6379' } = process.env;
const password = () => fs.readFileSync('/etc/client/password', 'utf8').trim();
const stateFile = '/tmp/state.json';
const stopFile = '/tmp/stop';
const answerMs = 3000;
const pauseMs = 20;
/** A longer time without an acknowledged write is noted. */
const gapMs = 1000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const encode = (words) =>
  `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`).join('')}`;

/** A reply at the beginning of `text`: [value, rest], or nothing while it is not whole. */
function parse(text) {
  const end = text.indexOf('\r\n');
  if (end < 0) return undefined;
  const [line, rest] = [text.slice(1, end), text.slice(end + 2)];
  switch (text[0]) {
    case '+':
      return [line, rest];
    case '-':
      return [new Error(line), rest];
    case ':':
      return [Number(line), rest];
    case '$': {
      const length = Number(line);
      if (length < 0) return [null, rest];
      return rest.length < length + 2 ? undefined : [rest.slice(0, length), rest.slice(length + 2)];
    }
    default: {
      const items = [];
      let left = rest;
      for (let i = 0; i < Number(line); i++) {
        const item = parse(left);
        if (item === undefined) return undefined;
        items.push(item[0]);
        left = item[1];
      }
      return [items, left];
    }
  }
}

class Connection {
  constructor() {
    this.text = '';
    this.waiting = [];
    this.socket = tls.connect({ host: HOST, port: Number(PORT), ca: fs.readFileSync('/etc/client/ca.crt') });
    this.socket.setEncoding('latin1');
    this.socket.setTimeout(answerMs, () => this.socket.destroy(new Error('no answer')));
    this.socket.on('data', (chunk) => {
      this.text += chunk;
      for (let found = parse(this.text); found !== undefined; found = parse(this.text)) {
        this.text = found[1];
        this.waiting.shift()?.resolve(found[0]);
      }
    });
    this.socket.on('error', (error) => this.fail(error));
    this.socket.on('close', () => this.fail(new Error('closed')));
  }

  fail(error) {
    this.error ??= error;
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }

  /** The replies, in order; one that is an error fails. */
  async run(...commands) {
    if (this.error !== undefined) throw this.error;
    const replies = commands.map(() => new Promise((resolve, reject) => this.waiting.push({ resolve, reject })));
    this.socket.write(commands.map(encode).join(''));
    const found = await Promise.all(replies);
    const error = found.find((reply) => reply instanceof Error);
    if (error !== undefined) throw error;
    return found;
  }

  static async open() {
    const connection = new Connection();
    await connection.run(['AUTH', 'app', password()]);
    return connection;
  }

  close() {
    this.socket.destroy();
  }
}

/** What another region has journalled, and the replica here has: see "What an agent acknowledges" in docs/architecture.md. */
const replicasWanted = Number(process.env.WAIT ?? 2);

async function write() {
  const state = { attempts: 0, acknowledged: [], unconfirmed: 0, errors: {}, gapsMs: [] };
  const errors = state.errors;
  let connection;
  let last = Date.now();
  let saved = 0;
  while (!fs.existsSync(stopFile)) {
    const n = ++state.attempts;
    try {
      connection ??= await Connection.open();
      const id = `${REGION}:${n}`;
      const replies = await connection.run(
        ['SET', `own:${id}`, n],
        ['INCR', 'counter'],
        ['SADD', 'set', id],
        ['HSET', 'hash', id, n],
        ['SET', `shared:${n % 20}`, id],
        ['WAIT', replicasWanted, 1000],
      );
      if (replies.at(-1) >= replicasWanted) {
        if (Date.now() - last > gapMs) state.gapsMs.push(Date.now() - last);
        last = Date.now();
        state.acknowledged.push(n);
      } else state.unconfirmed++;
    } catch (error) {
      const text = error.message.slice(0, 60);
      errors[text] = (errors[text] ?? 0) + 1;
      // In the middle of a transaction or of a failover: nobody knows what was done.
      connection?.close();
      connection = undefined;
      await sleep(100);
    }
    if (Date.now() - saved > 500) {
      save(state);
      saved = Date.now();
    }
    await sleep(pauseMs);
  }
  connection?.close();
  save({ ...state, stopped: true });
  // The container stays, for `dump`.
  setInterval(() => {}, 60_000);
}

function save(state) {
  fs.writeFileSync(`${stateFile}.new`, JSON.stringify(state));
  fs.renameSync(`${stateFile}.new`, stateFile);
}

async function dump() {
  const connection = await Connection.open();
  const all = {};
  let cursor = '0';
  do {
    const [[next, keys]] = await connection.run(['SCAN', cursor, 'COUNT', 1000]);
    cursor = next;
    for (const key of keys.filter((name) => !name.startsWith('meridian:'))) {
      const [type] = await connection.run(['TYPE', key]);
      const read = { string: ['GET', key], set: ['SMEMBERS', key], hash: ['HGETALL', key] }[type];
      const [value] = await connection.run(read);
      if (type === 'hash') {
        const pairs = Array.from({ length: value.length / 2 }, (_, i) => value.slice(2 * i, 2 * i + 2));
        all[key] = Object.fromEntries(pairs.sort());
      } else all[key] = type === 'set' ? value.sort() : value;
    }
  } while (cursor !== '0');
  connection.close();
  const sorted = Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)));
  process.stdout.write(JSON.stringify(sorted));
}

const modes = { write, dump };
modes[process.argv[2]]().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
