import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { buffer as readAll } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

import { LinkProxy } from './proxy';
import { Cleanup, until } from './testing';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** Sends back what it gets. */
async function echo(): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanup.add(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as net.AddressInfo).port;
}

async function proxied(): Promise<{ proxy: LinkProxy; port: number }> {
  const proxy = new LinkProxy('a', 'b', await echo());
  const port = await proxy.listen();
  cleanup.add(() => proxy.close());
  return { proxy, port };
}

function connect(port: number): net.Socket {
  const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  socket.on('error', () => undefined);
  cleanup.add(() => socket.destroy());
  return socket;
}

async function roundTrip(socket: net.Socket, text: string): Promise<number> {
  const sentAt = performance.now();
  socket.write(text);
  let got = '';
  await new Promise<void>((resolve, reject) => {
    const take = (chunk: Buffer): void => {
      got += chunk.toString();
      if (got.length < text.length) return;
      socket.off('data', take);
      resolve();
    };
    socket.on('data', take);
    socket.once('close', () => reject(new Error('closed')));
    socket.once('end', () => socket.destroy());
  });
  expect(got).toBe(text);
  return performance.now() - sentAt;
}

function closed(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    socket.once('end', () => socket.end());
    socket.resume();
  });
}

test('passes every byte on, both ways, and the end of a stream', async () => {
  const { port } = await proxied();
  const socket = connect(port);
  const bytes = randomBytes(20 * 1024 * 1024);
  const answer = readAll(socket);
  socket.end(bytes);
  expect((await answer).equals(bytes)).toBe(true);
});

test('a cut closes what is open and what is new; healed it lets through again', async () => {
  const { proxy, port } = await proxied();
  const socket = connect(port);
  await roundTrip(socket, 'hello');
  const end = closed(socket);
  proxy.set({ cut: true });
  await end;
  await closed(connect(port));
  await expect(roundTrip(connect(port), 'nobody hears')).rejects.toThrow('closed');
  proxy.set({ cut: false });
  await roundTrip(connect(port), 'again');
});

test('a cut also ends what is half closed', async () => {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.resume();
    socket.on('error', () => undefined);
    const timer = setInterval(() => socket.write('.'), 20); // never says its own end
    cleanup.add(() => socket.destroy());
    socket.on('close', () => {
      clearInterval(timer);
      ended += 1;
    });
  });
  let ended = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanup.add(() => new Promise((resolve) => server.close(resolve)));
  const proxy = new LinkProxy('a', 'b', (server.address() as net.AddressInfo).port);
  cleanup.add(() => proxy.close());
  const socket = connect(await proxy.listen());
  const end = closed(socket);
  socket.end('bye');
  await sleep(100);
  proxy.set({ cut: true });
  await end;
  await until('the other side ended', () => ended === 1);
});

test('a delay counts each way, keeps the order, and ends at once', async () => {
  const { proxy, port } = await proxied();
  const socket = connect(port);
  await roundTrip(socket, 'warm');
  proxy.set({ delayMs: 150 });
  expect(await roundTrip(socket, 'x'.repeat(100_000))).toBeGreaterThanOrEqual(300);

  const text = Array.from({ length: 50 }, (_, i) => `${i},`);
  let got = '';
  socket.on('data', (chunk: Buffer) => (got += chunk.toString()));
  for (const [i, part] of text.entries()) {
    socket.write(part);
    if (i === 25) proxy.set({ delayMs: 0 });
    await sleep(2);
  }
  await until('all came back', () => got.length === text.join('').length);
  expect(got).toBe(text.join(''));
  expect(await roundTrip(socket, 'quick')).toBeLessThan(150);
});

test('a delayed end of a stream comes after the bytes before it', async () => {
  const { proxy, port } = await proxied();
  proxy.set({ delayMs: 50 });
  const socket = connect(port);
  const answer = readAll(socket);
  socket.end('last words');
  expect((await answer).toString()).toBe('last words');
});

test('where nobody listens behind it, a connection ends', async () => {
  const port = await echo();
  await cleanup.run();
  const proxy = new LinkProxy('a', 'b', port);
  cleanup.add(() => proxy.close());
  await closed(connect(await proxy.listen()));
});

test('a sender has to wait when the receiver does not read', async () => {
  const { port } = await proxied();
  const socket = connect(port);
  socket.pause();
  let sent = 0;
  const chunk = Buffer.alloc(1024 * 1024);
  for (let i = 0; i < 200; i++) {
    if (!socket.write(chunk)) await sleep(20);
    sent = socket.bytesWritten;
    if (socket.writableLength > 20 * chunk.length) break;
  }
  expect(sent).toBeLessThan(180 * chunk.length);
});
