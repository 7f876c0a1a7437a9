// A Phoenix socket with a token in its subprotocols, and a channel on it: replies, broadcasts, binary payloads,
// a heartbeat, a channel that comes back after a crash and with its socket after a cut.
//
// usage: phoenix-client.js BASE   prints "ok …" with what it saw, or fails
'use strict';

const assert = require('assert/strict');
const WebSocket = require('ws');
const { Socket } = require('phoenix');
const { promised, run, step } = require('./steps');

// A push and the answer to it.
async function push(channel, event, payload) {
  const answer = promised();
  const pushed = channel.push(event, payload);
  for (const status of ['ok', 'error', 'timeout']) {
    pushed.receive(status, (response) => answer.resolve([status, response]));
  }
  return answer.value;
}

function next(channel, event) {
  const came = promised();
  const ref = channel.on(event, (payload) => {
    channel.off(event, ref);
    came.resolve(payload);
  });
  return came.value;
}

async function joined(joining) {
  const answer = promised();
  joining.receive('ok', answer.resolve).receive('error', answer.reject).receive('timeout', answer.reject);
  return answer.value;
}

async function converse(channel) {
  for (const payload of [{ text: 'hello' }, { text: 'grüße, 世界, 🚂' }, {}, { text: 'x'.repeat(200000) }]) {
    step(`an echo of ${JSON.stringify(payload).slice(0, 30)}`);
    assert.deepEqual(await push(channel, 'echo', payload), ['ok', payload]);
  }
  step('a refusal');
  assert.deepEqual(await push(channel, 'refuse', { reason: 'no' }), ['error', { reason: 'no' }]);
  step('binary');
  const bytes = Uint8Array.from({ length: 100000 }, (_, index) => index % 251).buffer;
  assert.deepEqual(await push(channel, 'echo', bytes), ['ok', bytes]);
  step('a broadcast');
  const said = next(channel, 'said');
  channel.push('say', { text: 'to all' });
  assert.deepEqual(await said, { text: 'to all' });
  step('a binary broadcast');
  const saidInBytes = next(channel, 'said');
  channel.push('say', bytes);
  assert.deepEqual(await saidInBytes, bytes);
}

// Waits until the channel is joined once more after what is done here.
async function rejoined(channel, joining, act) {
  const back = promised();
  joining.receive('ok', back.resolve);
  act();
  await back.value;
  assert.equal(channel.state, 'joined');
}

run(async (base) => {
  const protocols = [];
  const heartbeat = promised();
  class Transport extends WebSocket {
    constructor(...options) {
      super(...options);
      this.addEventListener('open', () => protocols.push(this.protocol));
    }
  }
  const user = `user ${process.pid}`;
  const socket = new Socket(`${base.replace('http', 'ws')}/socket`, {
    transport: Transport,
    params: { user },
    authToken: user,
    // Also how long it waits for the answer before it gives the connection up.
    heartbeatIntervalMs: 2000,
    reconnectAfterMs: () => 20,
    rejoinAfterMs: () => 20,
  });
  const closed = promised();
  socket.onClose(({ code }) => closed.resolve(code));
  socket.onMessage(({ topic, payload }) => {
    if (topic === 'phoenix' && payload.status === 'ok') heartbeat.resolve();
  });
  socket.connect();

  const channel = socket.channel(`room:${process.pid}`, { name: 'we' });
  step('the join');
  const joining = channel.join();
  assert.deepEqual(await joined(joining), { heard: { name: 'we' } });
  const nowhere = socket.channel('nowhere');
  await assert.rejects(joined(nowhere.join()), { reason: 'unmatched topic' });
  nowhere.leave();
  await converse(channel);
  step('a heartbeat');
  await heartbeat.value;
  step('a crash of the channel');
  await rejoined(channel, joining, () => channel.push('crash', {}));
  step('a cut of the socket');
  await rejoined(channel, joining, () => channel.push('cut', {}));
  const cut = await closed.value;
  await converse(channel);
  step('leaving');
  await joined(channel.leave());
  step('the end');
  const done = promised();
  socket.disconnect(done.resolve);
  await done.value;
  return `${protocols.join(' and ')}, cut with ${cut}`;
});
