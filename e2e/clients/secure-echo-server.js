// npm `ws` behind node's own TLS: what comes in goes back. It takes nobody without a certificate of the authority.
//
// usage: secure-echo-server.js CERTIFICATE KEY AUTHORITY   prints the port it listens on, ends with its input
'use strict';

const fs = require('fs');
const https = require('https');
const { WebSocketServer } = require('ws');

const [cert, key, ca] = process.argv.slice(2).map((path) => fs.readFileSync(path));
const server = https.createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: true }, (request, response) => {
  const { subject } = request.socket.getPeerCertificate();
  response.end(`${request.socket.servername} ${subject.CN} ${request.socket.getProtocol()}\n`);
});
const sockets = new WebSocketServer({ server });

sockets.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on('error', (error) => console.error(`echo server: ${error.message}`));
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
