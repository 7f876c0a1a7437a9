// The echo server of every tutorial on WebSockets with npm `ws`: what comes in goes back.
//
// usage: echo-server.js [--deflate] [--port N]   prints the port it listens on, ends with its input
'use strict';

const { WebSocketServer } = require('ws');

const portAt = process.argv.indexOf('--port');
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: portAt > 0 ? Number(process.argv[portAt + 1]) : 0,
  perMessageDeflate: process.argv.includes('--deflate') ? { threshold: 0 } : false,
});

server.on('listening', () => console.log(server.address().port));
server.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on('error', (error) => console.error(`echo server: ${error.message}`));
});

process.stdin.on('end', () => process.exit(0)).resume();
