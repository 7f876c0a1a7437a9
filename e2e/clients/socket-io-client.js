// A Socket.IO client: text, binary and acknowledgements both ways, over polling, over WebSocket after an upgrade or
// from the start, and again after the server has cut the connection and after it has dismissed the client.
//
// usage: socket-io-client.js BASE MODE   MODE: upgrade, polling, websocket; prints "ok …" with what it saw, or fails
'use strict';

const assert = require('assert/strict');
const { io } = require('socket.io-client');
const { promised, run, step } = require('./steps');

const TRANSPORTS = { upgrade: ['polling', 'websocket'], polling: ['polling'], websocket: ['websocket'] };

const next = (emitter, event) => {
  const came = promised();
  emitter.once(event, (...values) => came.resolve(values));
  return came.value;
};

// Sends messages of several kinds and expects each back in its acknowledgement, which says how it came.
async function talk(socket, over) {
  const messages = [
    'hello',
    'grüße, 世界, 🚂\u2028\n\\n"',
    Buffer.from([0, 1, 2, 253, 254, 255]),
    Buffer.alloc(300000, 'Socket.IO '),
    { text: 'two attachments', bytes: [Buffer.from('one'), { deeper: Buffer.alloc(70000, 7) }] },
  ];
  for (const [number, message] of messages.entries()) {
    step(`message ${number} over ${over}`);
    const [back, how] = await new Promise((resolve) => {
      socket.emit('echo', message, (...answer) => resolve(answer));
    });
    assert.deepEqual(back, message);
    assert.equal(how, over);
    assert.equal(socket.io.engine.transport.name, over);
  }
  step(`many messages at once over ${over}`);
  const answers = await Promise.all([...Array(50).keys()].map((number) => socket.emitWithAck('echo', number)));
  assert.equal(answers.length, 50);
  step(`a question of the server over ${over}`);
  socket.once('question', (bytes, acknowledge) => acknowledge(Buffer.from(bytes).reverse()));
  assert.deepEqual(await socket.emitWithAck('ask me', Buffer.from([1, 2, 3])), Buffer.from([3, 2, 1]));
}

async function upgrade(socket) {
  step('the upgrade to WebSocket');
  const upgraded = next(socket.io.engine, 'upgrade');
  socket.emit('upgrade');
  const [transport] = await upgraded;
  assert.equal(transport.name, 'websocket');
}

// Everything on one connection. Returns over what it was.
async function visit(socket, mode) {
  const seen = mode === 'websocket' ? ['websocket'] : ['polling'];
  await talk(socket, seen[0]);
  if (mode === 'upgrade') {
    await upgrade(socket);
    await talk(socket, 'websocket');
    seen.push('websocket');
  }
  step('a ping of the server');
  await next(socket.io.engine, 'ping');
  return seen.join(' then ');
}

run(async (base, mode) => {
  const options = { transports: TRANSPORTS[mode], reconnectionDelay: 20, randomizationFactor: 0 };
  // Takes cookies, and brings them back.
  const socket = io(base, { ...options, withCredentials: true });
  socket.on('connect_error', (error) => assert.fail(`${error} ${error.description ?? ''}`));
  step('the connection');
  await next(socket, 'connect');
  const sessions = new Set([socket.id]);
  const seen = await visit(socket, mode);

  step('coming back after a cut');
  const [cut, again] = [next(socket, 'disconnect'), next(socket, 'connect')];
  socket.emit('cut');
  assert.equal((await cut)[0], 'transport close');
  await again;
  sessions.add(socket.id);
  assert.equal(await visit(socket, mode), seen);

  step('being dismissed');
  const dismissed = next(socket, 'disconnect');
  socket.emit('dismiss');
  assert.equal((await dismissed)[0], 'io server disconnect');
  step('coming back after that');
  const third = next(socket, 'connect');
  socket.connect();
  await third;
  sessions.add(socket.id);
  await talk(socket, seen.split(' ')[0]);

  step('leaving');
  const left = next(socket, 'disconnect');
  socket.disconnect();
  assert.equal((await left)[0], 'io client disconnect');
  return `${sessions.size} sessions, ${seen}`;
});
