// A Socket.IO server. It says over which transport each message came, and lets a session change from polling to
// WebSocket only when that session asks for it, so that there is something to say over each.
//
// usage: socket-io-server.js   prints the port it listens on, ends with its input
'use strict';

const http = require('http');
const { Server } = require('socket.io');
const { promised, serve } = require('./steps');

const server = http.createServer();
// By session: settled once it may change.
const mayUpgrade = new Map();

const io = new Server(server, { pingInterval: 200 });

io.engine.use(async (request, _response, next) => {
  const { transport, sid } = request._query;
  const session = mayUpgrade.get(sid);
  if (transport === 'websocket' && session) await session.value;
  next();
});

io.engine.on('connection', (session) => {
  mayUpgrade.set(session.id, promised());
  session.on('close', () => mayUpgrade.delete(session.id));
});

io.on('connection', (socket) => {
  socket.on('echo', (data, acknowledge) => acknowledge(data, socket.conn.transport.name));
  socket.on('upgrade', () => mayUpgrade.get(socket.conn.id).resolve());
  // An event to the client, which acknowledges it in turn.
  socket.on('ask me', async (bytes, acknowledge) => acknowledge(await socket.emitWithAck('question', bytes)));
  // Without a word: the client takes it for a fault and comes back.
  socket.on('cut', () => socket.conn.close());
  // By the protocol: the client comes back only when it is told to.
  socket.on('dismiss', () => socket.disconnect(true));
});

serve(server);
