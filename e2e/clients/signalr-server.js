// A small SignalR hub: negotiation, the three transports, and of the JSON hub protocol what a chat needs. After
// https://github.com/dotnet/aspnetcore/blob/main/src/SignalR/docs/specs/TransportProtocols.md and HubProtocol.md.
// Real hubs run on .NET, which no package registry that the tests use carries.
//
// usage: signalr-server.js   prints the port it listens on, ends with its input
'use strict';

const http = require('http');
const { randomUUID } = require('crypto');
const { WebSocketServer } = require('ws');
const { serve } = require('./steps');

const END = '\x1e';
const INVOCATION = 1;
const STREAM_ITEM = 2;
const COMPLETION = 3;
const STREAM_INVOCATION = 4;
const PING = 6;
const CLOSE = 7;

const PING_EVERY = 200;

// By connection token.
const connections = new Map();

// One client. A transport gives it `send`, which may come and go, and `end`; until there is one, messages wait.
class Connection {
  constructor() {
    this.id = randomUUID();
    this.token = randomUUID();
    this.waiting = [];
    this.greeted = false;
    // By the id of a client's own stream: what it sent so far.
    this.uploads = new Map();
    this.pinged = 0;
    // By a stream's name: what sends its next item.
    this.streams = new Map();
    connections.set(this.token, this);
  }

  attach(transport, send, end) {
    Object.assign(this, { transport, deliver: send, finish: end });
    this.flush();
  }

  write(message) {
    this.waiting.push(JSON.stringify(message) + END);
    this.flush();
  }

  flush() {
    if (this.waiting.length > 0 && this.deliver?.(this.waiting.join(''))) this.waiting = [];
  }

  // What came in, which is always whole messages.
  receive(text) {
    for (const part of text.split(END).slice(0, -1)) this.take(JSON.parse(part));
  }

  take(message) {
    if (!this.greeted) {
      this.greeted = message.protocol === 'json' && message.version === 1;
      this.write(this.greeted ? {} : { error: 'only the JSON protocol is spoken here' });
      if (this.greeted) this.pings = setInterval(() => this.write({ type: PING }), PING_EVERY);
      return;
    }
    if (message.type === INVOCATION) this.invoke(message);
    else if (message.type === STREAM_INVOCATION) this.stream(message);
    else if (message.type === STREAM_ITEM) this.uploads.get(message.invocationId)?.items.push(message.item);
    else if (message.type === COMPLETION) this.uploads.get(message.invocationId)?.done();
    else if (message.type === PING) this.pinged += 1;
    else if (message.type === CLOSE) this.close();
  }

  invoke({ invocationId, target, arguments: given, streamIds = [] }) {
    const complete = (result) => invocationId && this.write({ type: COMPLETION, invocationId, ...result });
    const hub = {
      echo: () => complete({ result: given[0] }),
      transport: () => complete({ result: this.transport }),
      fail: () => complete({ error: `no: ${given[0]}` }),
      tellMe: () => {
        this.write({ type: INVOCATION, target: 'told', arguments: given });
        complete({ result: null });
      },
      sum: () => {
        const items = [];
        const done = () => complete({ result: items.reduce((sum, item) => sum + item, 0) });
        this.uploads.set(streamIds[0], { items, done });
      },
      // Answered after so many milliseconds with how often the client has pinged meanwhile.
      pause: () => {
        this.pinged = 0;
        setTimeout(() => complete({ result: this.pinged }), given[0]);
      },
      next: () => this.streams.get(given[0])?.(),
      cut: () => this.close({ allowReconnect: true }),
    };
    if (hub[target]) hub[target]();
    else complete({ error: `no method ${target}` });
  }

  // Counts down; each item is sent when the client has called `next` with the stream's name.
  stream({ invocationId, arguments: [name, from] }) {
    let item = from;
    this.streams.set(name, () => {
      this.write({ type: STREAM_ITEM, invocationId, item });
      item -= 1;
      if (item === 0) {
        this.write({ type: COMPLETION, invocationId });
        this.streams.delete(name);
      }
    });
  }

  close(further) {
    clearInterval(this.pings);
    if (further) this.write({ type: CLOSE, ...further });
    connections.delete(this.token);
    this.finish?.();
  }
}

function negotiate(_request, response) {
  const connection = new Connection();
  const transports = { WebSockets: ['Text', 'Binary'], ServerSentEvents: ['Text'], LongPolling: ['Text', 'Binary'] };
  response.setHeader('Content-Type', 'application/json').end(
    JSON.stringify({
      negotiateVersion: 1,
      connectionId: connection.id,
      connectionToken: connection.token,
      availableTransports: Object.entries(transports).map(([transport, transferFormats]) => ({
        transport,
        transferFormats,
      })),
    }),
  );
}

function sendEvents(connection, request, response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  response.write(':\r\n');
  const send = (text) => {
    response.write(`data: ${text}\r\n\r\n`);
    return true;
  };
  connection.attach('ServerSentEvents', send, () => response.end());
  request.on('close', () => connection.close());
}

function poll(connection, request, response) {
  if (connection.transport === undefined) {
    // The first poll only says that this is the transport.
    connection.attach('LongPolling', undefined, () => {});
    response.end();
    return;
  }
  const answered = () => Object.assign(connection, { deliver: undefined, finish: () => {} });
  const end = () => response.writeHead(204).end();
  const send = (text) => {
    answered();
    response.setHeader('Content-Type', 'text/plain').end(text);
    return true;
  };
  response.on('close', () => connection.deliver === send && answered());
  connection.attach('LongPolling', send, end);
}

async function post(connection, request, response) {
  const parts = [];
  for await (const part of request) parts.push(part);
  connection.receive(Buffer.concat(parts).toString());
  response.end();
}

const server = http.createServer((request, response) => {
  const asked = new URL(request.url, 'http://any');
  if (request.method === 'POST' && asked.pathname === '/hub/negotiate') return negotiate(request, response);
  const connection = connections.get(asked.searchParams.get('id'));
  const ended = asked.pathname === '/hub' && request.method === 'GET' ? 204 : 404;
  if (asked.pathname !== '/hub' || !connection) return response.writeHead(ended).end();
  if (request.method === 'POST') return post(connection, request, response);
  if (request.method === 'DELETE') {
    connection.close();
    return response.writeHead(202).end();
  }
  const events = request.headers.accept === 'text/event-stream';
  return events ? sendEvents(connection, request, response) : poll(connection, request, response);
});

const sockets = new WebSocketServer({ noServer: true });
server.on('upgrade', (request, socket, head) => {
  const asked = new URL(request.url, 'http://any');
  const connection = connections.get(asked.searchParams.get('id'));
  if (asked.pathname !== '/hub' || !connection) {
    socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    return;
  }
  sockets.handleUpgrade(request, socket, head, (websocket) => {
    const send = (text) => {
      websocket.send(text);
      return true;
    };
    websocket.on('message', (text) => connection.receive(text.toString()));
    websocket.on('close', () => connection.close());
    connection.attach('WebSockets', send, () => websocket.close(1000));
  });
});

serve(server);
