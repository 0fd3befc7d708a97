'use strict';
// Keeps a label of this pod at what its Redis is: primary, replica, or none when it does not answer. Services select by it, so that clients reach
// the primary without knowing of Sentinel. Node.js without packages: the image of the agent has all it needs.
const fs = require('node:fs');
const https = require('node:https');
const net = require('node:net');
const tls = require('node:tls');

const env = process.env;
const intervalMs = Number(env.MERIDIAN_INTERVAL_MS ?? 500);
/** A label that somebody else changed is put right after this time. */
const repeatMs = 15_000;
const answerMs = 2_000;
/** So many times without an answer: one slow command is no reason to send clients away. */
const failuresMax = 3;
const account = env.MERIDIAN_ACCOUNT ?? '/var/run/secrets/kubernetes.io/serviceaccount';

const say = (text) => console.error(`meridian: ${text}`);
const read = (file) => fs.readFileSync(file, 'utf8').trim();
const bulk = (text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
const command = (...words) => `*${words.length}\r\n${words.map(bulk).join('')}`;

/** Asks Redis for its role, on a connection of its own: one that stays open could hang unseen. */
function askRole() {
  return new Promise((resolve, reject) => {
    const at = { host: env.MERIDIAN_OWN ?? '127.0.0.1', port: Number(env.MERIDIAN_PORT) };
    const socket =
      env.MERIDIAN_TLS === 'yes'
        ? tls.connect({ ...at, servername: 'localhost', ca: fs.readFileSync(`${env.MERIDIAN_TLS_DIR}/ca.crt`) })
        : net.connect(at);
    let text = '';
    socket.setTimeout(answerMs, () => socket.destroy(new Error('no answer')));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed')));
    socket.on('data', (chunk) => {
      text += chunk;
      const role = /\r\n\$\d+\r\n(master|slave)\r\n/.exec(text)?.[1];
      if (role !== undefined) resolve(role === 'master' ? 'primary' : 'replica');
      else if (/(^|\n)-.*\r\n/.test(text)) reject(new Error(/-.*/.exec(text)[0].trim()));
      else return;
      socket.destroy();
    });
    socket.write(
      command('AUTH', read(`${env.MERIDIAN_NODE}/username`), read(`${env.MERIDIAN_NODE}/password`)) + command('ROLE'),
    );
  });
}

/** https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#patch-partially-update-the-specified-pod */
function patch(role) {
  const body = JSON.stringify({ metadata: { labels: { [env.MERIDIAN_ROLE_LABEL]: role } } });
  return new Promise((resolve, reject) => {
    const request = https.request({
      host: env.KUBERNETES_SERVICE_HOST,
      port: env.KUBERNETES_SERVICE_PORT,
      path: `/api/v1/namespaces/${env.POD_NAMESPACE}/pods/${env.POD_NAME}`,
      method: 'PATCH',
      // Read each time: both are renewed while we run.
      ca: fs.readFileSync(`${account}/ca.crt`),
      timeout: answerMs,
      headers: {
        authorization: `Bearer ${read(`${account}/token`)}`,
        'content-type': 'application/merge-patch+json',
        'content-length': Buffer.byteLength(body),
      },
    });
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', reject);
    request.on('response', (response) => {
      response.resume();
      if (response.statusCode === 200) resolve();
      else reject(new Error(`the API server answered ${response.statusCode}`));
    });
    request.end(body);
  });
}

let labelled = '';
let labelledAt = 0;
let failures = 0;

async function look() {
  let role;
  try {
    role = await askRole();
    failures = 0;
  } catch (error) {
    failures++;
    if (failures < failuresMax) return;
    if (failures === failuresMax) say(`Redis: ${error.message}`);
    role = 'none';
  }
  if (role === labelled && Date.now() - labelledAt < repeatMs) return;
  await patch(role);
  if (role !== labelled) say(`this pod is ${role}`);
  labelled = role;
  labelledAt = Date.now();
}

let lastError = '';
async function run() {
  try {
    await look();
    lastError = '';
  } catch (error) {
    if (error.message !== lastError) say(error.message);
    lastError = error.message;
  }
  setTimeout(run, intervalMs);
}

// The pod ends: no new connections. Redis itself goes on until its hand-over is done.
process.on(
  'SIGTERM',
  () =>
    void patch('none')
      .catch(() => {})
      .finally(() => process.exit(0)),
);
void run();
