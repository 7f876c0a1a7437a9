// A SignalR client on its transports: calls both ways, a stream each way, errors, and coming back after the server
// has closed the connection.
//
// usage: signalr-client.js BASE   prints "ok …" with what it saw, or fails
'use strict';

const assert = require('assert/strict');
const { HttpTransportType, HubConnectionBuilder, LogLevel, Subject } = require('@microsoft/signalr');
const { promised, run, step } = require('./steps');

const EVENTS = 5;
const SERVER_TIMEOUT = 3000;
const PING_EVERY = 100;

// The items of a stream, each of which is sent only when the one before it has come.
async function countDown(hub) {
  const name = `count ${process.pid}`;
  const [items, done] = [[], promised()];
  const next = () => hub.send('next', name);
  hub.stream('countDown', name, EVENTS).subscribe({
    next: (item) => {
      items.push(item);
      step(`item ${items.length + 1} of a stream`);
      if (items.length < EVENTS) next();
    },
    complete: done.resolve,
    error: done.reject,
  });
  step('item 1 of a stream');
  await next();
  await done.value;
  assert.deepEqual(items, [5, 4, 3, 2, 1]);
}

async function converse(hub) {
  step('the transport');
  const transport = await hub.invoke('transport');
  for (const message of ['hello', 'grüße, 世界, 🚂', '', 'x'.repeat(100000), { deep: [null, 1.5, 'y'] }]) {
    step(`an echo over ${transport}`);
    assert.deepEqual(await hub.invoke('echo', message), message);
  }
  step('many calls at once');
  const numbers = [...Array(20).keys()];
  assert.deepEqual(await Promise.all(numbers.map((number) => hub.invoke('echo', number))), numbers);
  step('an error');
  await assert.rejects(hub.invoke('fail', 'thanks'), /no: thanks/);
  step('a call by the server');
  const told = promised();
  hub.on('told', told.resolve);
  await hub.invoke('tellMe', 'a secret');
  assert.equal(await told.value, 'a secret');
  hub.off('told');
  await countDown(hub);
  step('a stream to the server');
  const subject = new Subject();
  const sum = hub.invoke('sum', subject);
  for (let number = 1; number <= 10; number++) subject.next(number);
  subject.complete();
  assert.equal(await sum, 55);
  return transport;
}

// One visit, on this transport or, without one, on that which the client chooses.
async function visit(base, transport) {
  const options = transport ? { transport: HttpTransportType[transport] } : {};
  const hub = new HubConnectionBuilder()
    .withUrl(`${base}/hub`, options)
    .withAutomaticReconnect([0, 50, 50])
    .configureLogging(LogLevel.Critical)
    .build();
  // Above what lies between the server's pings: a connection that brings none of them is given up as dead.
  hub.serverTimeoutInMilliseconds = SERVER_TIMEOUT;
  hub.keepAliveIntervalInMilliseconds = PING_EVERY;
  const [back, closed] = [promised(), promised()];
  hub.onreconnected(back.resolve);
  hub.onclose(closed.resolve);
  step('the connection');
  await hub.start();
  const first = hub.connectionId;
  const over = await converse(hub);
  if (transport) assert.equal(over, transport);
  if (over === 'WebSockets') {
    step('nothing but pings for longer than the server may be silent');
    const pings = await hub.invoke('pause', 1.2 * SERVER_TIMEOUT);
    assert.ok(pings > 0, 'the server saw pings');
    assert.equal(hub.connectionId, first);
  }

  step('coming back');
  await hub.send('cut');
  const second = await back.value;
  assert.notEqual(second, first);
  assert.equal(await converse(hub), over);

  step('leaving');
  await hub.stop();
  assert.equal(await closed.value, undefined);
  return over;
}

run(async (base) => {
  const chosen = await visit(base);
  const others = [await visit(base, 'ServerSentEvents'), await visit(base, 'LongPolling')];
  return `${chosen} by choice, then ${others.join(' and ')}`;
});
