// Two Action Cable consumers that hear each other: subscriptions taken and refused, messages, the server's pings,
// coming back after a lost connection, and being sent away.
//
// usage: action-cable-client.js BASE   prints "ok …" with what it saw, or fails
'use strict';

const assert = require('assert/strict');
const WebSocket = require('ws');
const { promised, run, step } = require('./steps');

// What the library takes for granted, being made for browsers.
Object.assign(globalThis, { addEventListener: () => {}, removeEventListener: () => {} });
const { adapters, createConsumer } = require('@rails/actioncable');

const ping = promised();

// Node's part of a browser: a socket that tells of the server's pings, which the library keeps to itself.
adapters.WebSocket = class extends WebSocket {
  constructor(...options) {
    super(...options);
    this.addEventListener('message', ({ data }) => JSON.parse(data).type === 'ping' && ping.resolve());
  }
};

// A subscription whose callbacks are waited for in turn.
function subscribe(consumer, identifier) {
  const came = { connected: [], disconnected: [], received: [], rejected: [] };
  const waiting = {};
  const settle = (callback) => {
    if (came[callback].length > 0 && waiting[callback]) {
      waiting[callback].resolve(came[callback].shift());
      delete waiting[callback];
    }
  };
  const callbacks = Object.keys(came).map((callback) => [
    callback,
    (value) => {
      came[callback].push(value);
      settle(callback);
    },
  ]);
  const next = (callback) => {
    step(`${callback} ${JSON.stringify(identifier)}`);
    waiting[callback] = promised();
    const { value } = waiting[callback];
    settle(callback);
    return value;
  };
  const subscription = consumer.subscriptions.create(identifier, Object.fromEntries(callbacks));
  return { subscription, next };
}

run(async (base) => {
  const url = `${base.replace('http', 'ws')}/cable`;
  const room = { channel: 'RoomChannel', room: `room ${process.pid}` };
  const [first, second] = [createConsumer(url), createConsumer(url)];
  const [ours, theirs] = [subscribe(first, room), subscribe(second, room)];
  assert.deepEqual(await ours.next('connected'), { reconnected: false });
  await theirs.next('connected');
  await subscribe(first, { channel: 'NoChannel' }).next('rejected');
  const protocol = first.connection.getProtocol();

  for (const text of ['hello', 'grüße, 世界, 🚂', 'x'.repeat(200000)]) {
    ours.subscription.perform('speak', { text });
    for (const subscription of [ours, theirs]) assert.deepEqual(await subscription.next('received'), { text });
  }
  step('a ping of the server');
  await ping.value;

  first.connection.reopen();
  assert.deepEqual(await ours.next('disconnected'), { willAttemptReconnect: true });
  await ours.next('connected');
  theirs.subscription.perform('speak', { text: 'welcome back' });
  assert.deepEqual(await ours.next('received'), { text: 'welcome back' });

  theirs.subscription.perform('disconnect', { reconnect: false });
  assert.deepEqual(await theirs.next('disconnected'), { willAttemptReconnect: false });
  first.disconnect();
  assert.deepEqual(await ours.next('disconnected'), { willAttemptReconnect: false });
  return `${protocol}, 3 messages, a ping, back again, sent away`;
});
