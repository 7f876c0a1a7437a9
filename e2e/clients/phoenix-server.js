// A small Phoenix socket: the V2 serializer, text and binary, and channels `room:*` in which what one says all hear.
// After https://hexdocs.pm/phoenix/writing_a_channels_client.html and the server's own
// https://github.com/phoenixframework/phoenix/blob/main/lib/phoenix/socket/serializers/v2_json_serializer.ex.
//
// usage: phoenix-server.js   prints the port it listens on, ends with its input
'use strict';

const http = require('http');
const { WebSocketServer } = require('ws');
const { serve } = require('./steps');

const PUSH = 0;
const REPLY = 1;
const BROADCAST = 2;

const server = http.createServer();
const sockets = new WebSocketServer({
  noServer: true,
  handleProtocols: (offered) => offered.has('phoenix') && 'phoenix',
});

// By topic: the sockets that have joined, each with the reference of its join.
const topics = new Map();

function decode(data, isBinary) {
  if (!isBinary) {
    const [join, ref, topic, event, payload] = JSON.parse(data);
    return { join, ref, topic, event, payload };
  }
  if (data[0] !== PUSH) throw new Error(`a client that sends kind ${data[0]}`);
  const sizes = data.subarray(1, 5);
  let at = 5;
  const fields = [...sizes].map((size) => data.toString('utf8', at, (at += size)));
  const [join, ref, topic, event] = fields;
  return { join, ref, topic, event, payload: data.subarray(at) };
}

function encodeBinary(kind, fields, payload) {
  const bytes = fields.map((field) => Buffer.from(field));
  return Buffer.concat([Buffer.from([kind, ...bytes.map((field) => field.length)]), ...bytes, payload]);
}

function reply(socket, { join, ref, topic }, status, response) {
  socket.send(
    Buffer.isBuffer(response)
      ? encodeBinary(REPLY, [join, ref, topic, status], response)
      : JSON.stringify([join, ref, topic, 'phx_reply', { status, response }]),
  );
}

function broadcast({ topic, event, payload }) {
  const message = Buffer.isBuffer(payload)
    ? encodeBinary(BROADCAST, [topic, event], payload)
    : JSON.stringify([null, null, topic, event, payload]);
  topics.get(topic).forEach((_join, socket) => socket.send(message));
}

function take(socket, message) {
  const { join, ref, topic, event, payload } = message;
  const answer = (status, response) => reply(socket, message, status, response);
  if (topic === 'phoenix' && event === 'heartbeat') return answer('ok', {});
  if (event === 'phx_join') {
    if (!topic.startsWith('room:')) return answer('error', { reason: 'unmatched topic' });
    if (!topics.has(topic)) topics.set(topic, new Map());
    topics.get(topic).set(socket, join);
    return answer('ok', { heard: payload });
  }
  if (!topics.get(topic)?.has(socket)) return answer('error', { reason: 'unmatched topic' });
  const events = {
    phx_leave: () => {
      topics.get(topic).delete(socket);
      answer('ok', {});
      socket.send(JSON.stringify([join, ref, topic, 'phx_close', {}]));
    },
    echo: () => answer('ok', payload),
    refuse: () => answer('error', payload),
    say: () => broadcast({ topic, event: 'said', payload }),
    // As a channel process that has died.
    crash: () => socket.send(JSON.stringify([join, join, topic, 'phx_error', {}])),
    // As a node that goes away.
    cut: () => socket.close(1012, 'restart'),
  };
  return events[event]();
}

const BEARER = 'base64url.bearer.phx.';

server.on('upgrade', (request, socket, head) => {
  const asked = new URL(request.url, 'http://any');
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(/, */);
  const bearer = offered.find((protocol) => protocol.startsWith(BEARER));
  const token = bearer && Buffer.from(bearer.slice(BEARER.length), 'base64url').toString();
  const known = asked.pathname === '/socket/websocket' && asked.searchParams.get('vsn') === '2.0.0';
  if (!known || token !== asked.searchParams.get('user')) {
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    return;
  }
  sockets.handleUpgrade(request, socket, head, (websocket) => {
    websocket.on('message', (data, isBinary) => take(websocket, decode(data, isBinary)));
    websocket.on('close', () => topics.forEach((joined) => joined.delete(websocket)));
  });
});

serve(server);
