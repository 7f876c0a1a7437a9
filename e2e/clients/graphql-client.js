// A client with graphql-ws: a query, a subscription of several events, and every code with which the protocol ends a
// connection (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md).
//
// usage: graphql-client.js BASE   prints "ok …" with what it saw, or fails
'use strict';

const assert = require('assert/strict');
const WebSocket = require('ws');
const { createClient } = require('graphql-ws');
const { promised, run, step } = require('./steps');

const EVENTS = 5;

const client = (url, options) =>
  createClient({ url, webSocketImpl: WebSocket, lazy: false, retryAttempts: 0, onNonLazyError: () => {}, ...options });

async function ask(graphql, query, variables) {
  const answers = [];
  for await (const answer of graphql.iterate({ query, variables })) answers.push(answer);
  assert.equal(answers.length, 1);
  return answers[0];
}

// Several events, each provoked only when the one before it has come.
async function subscribe(graphql) {
  const room = `room ${process.pid}`;
  const events = graphql.iterate({
    query: 'subscription Said($room: String!) { said(room: $room) }',
    variables: { room },
  });
  const say = (text) =>
    ask(graphql, 'mutation Say($room: String!, $text: String!) { say(room: $room, text: $text) }', { room, text });
  const texts = ['one', 'grüße, 世界, 🚂', 'x'.repeat(200000), '', 'five'];
  assert.equal(texts.length, EVENTS);
  let event = events.next();
  for (const text of texts) {
    step(`event ${text.slice(0, 20)}`);
    assert.deepEqual(await say(text), { data: { say: 1 } });
    assert.deepEqual((await event).value, { data: { said: text } });
    event = events.next();
  }
  step('the end of the subscription');
  await say('the end');
  assert.equal((await event).done, true);
}

async function converse(url) {
  const [connected, pong, closed] = [promised(), promised(), promised()];
  closed.value.then(({ code, reason }) => connected.reject(`closed with ${code} ${reason}`));
  const graphql = client(url, {
    keepAlive: 100,
    on: { connected: connected.resolve, pong: pong.resolve, closed: closed.resolve },
  });
  step('the connection');
  const socket = await connected.value;
  step('a query');
  const reversed = await ask(graphql, 'query Reversed($text: String!) { reversed(text: $text) }', { text: 'abc' });
  assert.deepEqual(reversed, { data: { reversed: 'cba' } });
  assert.match((await ask(graphql, '{ broken }')).errors[0].message, /as it was asked to/);
  await subscribe(graphql);
  step('a pong of the protocol');
  await pong.value;
  step('the end');
  await graphql.dispose();
  const end = await closed.value;
  return { protocol: socket.protocol, code: end.code };
}

// How the server ends a client whose token it refuses.
async function refused(url) {
  step('a refused client');
  const closed = promised();
  client(url, { connectionParams: { token: 'wrong' }, on: { closed: closed.resolve } });
  const { code, reason } = await closed.value;
  return [code, reason];
}

// How the server ends a connection on which these messages come: one at once, the others when it was answered.
async function ending(url, [first, ...others]) {
  step(`the end after ${[first, ...others]}`);
  const socket = new WebSocket(url, 'graphql-transport-ws');
  const closed = promised();
  socket.on('error', closed.reject);
  socket.on('close', (code, reason) => closed.resolve([code, reason.toString()]));
  socket.on('open', () => first && socket.send(first));
  socket.once('message', () => others.forEach((message) => socket.send(message)));
  return closed.value;
}

run(async (base) => {
  const url = `${base.replace('http', 'ws')}/graphql`;
  const { protocol, code } = await converse(url);
  const init = '{"type":"connection_init"}';
  const said = '{"id":"1","type":"subscribe","payload":{"query":"subscription { said(room: \\"any\\") }"}}';
  const endings = [
    [await ending(url, ['no JSON']), [4400, 'Invalid message received']],
    [await ending(url, [said]), [4401, 'Unauthorized']],
    [await refused(url), [4403, 'Forbidden']],
    [await ending(url, []), [4408, 'Connection initialisation timeout']],
    [await ending(url, [init, said, said]), [4409, 'Subscriber for 1 already exists']],
    [await ending(url, [init, init]), [4429, 'Too many initialisation requests']],
  ];
  for (const [got, wanted] of endings) assert.deepEqual(got, wanted);
  const codes = endings.map(([[got]]) => got).join(' ');
  return `${protocol}, ${EVENTS} events, closed with ${codes} and ${code}`;
});
