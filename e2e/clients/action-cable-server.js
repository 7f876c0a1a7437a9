// A small Action Cable server: one channel, RoomChannel, in which what one says all hear. After
// https://guides.rubyonrails.org/action_cable_overview.html and the server's own sources
// (https://github.com/rails/rails/tree/main/actioncable/lib/action_cable: connection/base.rb, server/connections.rb).
//
// usage: action-cable-server.js   prints the port it listens on, ends with its input
'use strict';

const http = require('http');
const { WebSocketServer } = require('ws');
const { serve } = require('./steps');

// As `ActionCable::Server::Connections::BEAT_INTERVAL`.
const PING_EVERY = 3000;

const server = http.createServer();
const sockets = new WebSocketServer({
  server,
  path: '/cable',
  handleProtocols: (offered) => offered.has('actioncable-v1-json') && 'actioncable-v1-json',
});

// By identifier: the sockets that have subscribed.
const subscribers = new Map();

function take(socket, { command, identifier, data }) {
  const write = (message) => socket.send(JSON.stringify(message));
  const { channel, room } = JSON.parse(identifier);
  if (command === 'subscribe') {
    if (channel !== 'RoomChannel' || !room) return write({ identifier, type: 'reject_subscription' });
    if (!subscribers.has(identifier)) subscribers.set(identifier, new Set());
    subscribers.get(identifier).add(socket);
    return write({ identifier, type: 'confirm_subscription' });
  }
  const listeners = subscribers.get(identifier);
  if (!listeners?.has(socket)) return undefined;
  if (command === 'unsubscribe') return listeners.delete(socket);
  const { action, ...given } = JSON.parse(data);
  const actions = {
    speak: () => listeners.forEach((each) => each.send(JSON.stringify({ identifier, message: given }))),
    // As `ActionCable.server.remote_connections…disconnect`: a word first, then the end.
    disconnect: () => {
      write({ type: 'disconnect', reason: 'remote', reconnect: given.reconnect });
      socket.close(1000);
    },
  };
  return actions[action]?.();
}

sockets.on('connection', (socket) => {
  socket.send(JSON.stringify({ type: 'welcome' }));
  const now = () => Math.floor(Date.now() / 1000);
  const pings = setInterval(() => socket.send(JSON.stringify({ type: 'ping', message: now() })), PING_EVERY);
  socket.on('message', (text) => take(socket, JSON.parse(text)));
  socket.on('close', () => {
    clearInterval(pings);
    for (const listeners of subscribers.values()) listeners.delete(socket);
  });
});

serve(server);
