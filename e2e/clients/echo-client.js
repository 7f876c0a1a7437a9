// A client with npm `ws`: sends messages of several kinds and sizes and expects each back, pings, closes politely.
//
// usage: echo-client.js URL [--host NAME] [--ca FILE]   prints "ok" with what it measured, or fails
'use strict';

const fs = require('fs');
const WebSocket = require('ws');

const [url, ...flags] = process.argv.slice(2);
const flag = (name) => (flags.includes(name) ? flags[flags.indexOf(name) + 1] : undefined);

const host = flag('--host');
const options = { headers: host ? { Host: host } : {} };
if (flag('--ca')) {
  options.ca = fs.readFileSync(flag('--ca'));
  options.servername = host;
}

const messages = [
  'hello',
  'grüße, 世界, 🚂',
  '',
  Buffer.from([0, 1, 2, 253, 254, 255]),
  Buffer.alloc(125, 1),
  Buffer.alloc(126, 2),
  Buffer.alloc(65535, 3),
  Buffer.alloc(65536, 4),
  Buffer.alloc(3000000, 5),
];

const socket = new WebSocket(url, ['echo.example', 'other.example'], options);
let answered = 0;

function fail(reason) {
  console.error(reason);
  process.exit(1);
}

function sendNext() {
  if (answered < messages.length) socket.send(messages[answered]);
  else socket.ping('are you there?');
}

socket.on('open', sendNext);
socket.on('message', (data, isBinary) => {
  const sent = messages[answered];
  if (isBinary !== Buffer.isBuffer(sent)) fail(`message ${answered} changed its kind`);
  if (!data.equals(Buffer.from(sent))) fail(`message ${answered} came back changed`);
  answered += 1;
  sendNext();
});
socket.on('pong', (data) => {
  if (data.toString() !== 'are you there?') fail(`pong with ${data}`);
  socket.close(4321, 'done');
});
socket.on('unexpected-response', (_request, response) => fail(`answered ${response.statusCode}`));
socket.on('error', (error) => fail(error.stack));
socket.on('close', (code, reason) => {
  if (answered !== messages.length) fail(`closed with ${code} after ${answered} messages`);
  console.log(`ok ${answered} messages, subprotocol "${socket.protocol}", close ${code} ${reason}`);
});
