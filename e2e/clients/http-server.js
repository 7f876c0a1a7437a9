// A plain HTTP server, as node makes them, with an answer for each thing that HTTP clients care about. Bodies come
// with their checksum in a field, so that a client needs no copy to compare with.
//
// usage: http-server.js   prints the port it listens on, ends with its input
'use strict';

const http = require('http');
const { createHash, randomBytes } = require('crypto');
const { once } = require('events');
const { pipeline } = require('stream/promises');
const { gzipSync } = require('zlib');
const { serve } = require('./steps');

const sum = (bytes) => createHash('sha256').update(bytes).digest('hex');

const BIG = randomBytes(20_000_000);
const BIG_SUM = sum(BIG);
const GZIPPED = gzipSync('the same again and again '.repeat(10_000));
const ETAG = '"version 1"';

const answers = {
  '/hello': (request, response) => {
    response.setHeader('Set-Cookie', ['a=1; Path=/', 'b=2; Path=/; HttpOnly']);
    response.setHeader('Content-Type', 'text/plain; charset=utf-8');
    response.end(`hello, ${request.headers['user-agent'] ?? 'stranger'}`);
  },
  '/big': (_request, response) => {
    response.setHeader('X-Sum', BIG_SUM);
    response.setHeader('Content-Length', BIG.length);
    response.end(BIG);
  },
  // The same without saying how much it will be.
  '/big-in-chunks': (_request, response) => {
    response.setHeader('X-Sum', BIG_SUM);
    response.write(BIG.subarray(0, 1));
    response.end(BIG.subarray(1));
  },
  '/gzip': (_request, response) => {
    response.setHeader('X-Sum', sum(GZIPPED));
    response.setHeader('Content-Encoding', 'gzip');
    response.setHeader('Content-Length', GZIPPED.length);
    response.setHeader('Vary', 'Accept-Encoding');
    response.end(GZIPPED);
  },
  '/empty': (_request, response) => response.writeHead(204).end(),
  '/cached': (request, response) => {
    response.setHeader('ETag', ETAG).setHeader('Cache-Control', 'max-age=0');
    if (request.headers['if-none-match'] === ETAG) response.writeHead(304).end();
    else response.end('the whole of it');
  },
  '/moved': (_request, response) => response.writeHead(302, { Location: '/hello' }).end(),
  '/moved-with-body': async (request, response) => {
    await once(request.resume(), 'end');
    response.writeHead(307, { Location: 'take?again' }).end();
  },
  '/moved-elsewhere': (_request, response) =>
    response.writeHead(301, { Location: 'http://elsewhere.invalid:8080/a%2Fb?c#d' }).end(),
  '/teapot': (_request, response) => response.writeHead(418).end('short and stout'),
  // What came, and how it was framed.
  '/take': async (request, response) => {
    const hash = createHash('sha256');
    let length = 0;
    for await (const part of request) {
      hash.update(part);
      length += part.length;
    }
    const framing = request.headers['transfer-encoding'] ?? (request.headers['content-length'] && 'length') ?? 'none';
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ method: request.method, length, sum: hash.digest('hex'), framing }));
  },
  // Each part goes back as it comes.
  '/back': (request, response) => {
    response.flushHeaders();
    return pipeline(request, response);
  },
  // Refuses the body before it has come.
  '/too-much': (_request, response) => response.writeHead(413, { Connection: 'close' }).end('no, thanks'),
};

function answer(request, response) {
  const { pathname } = new URL(request.url, 'http://any');
  const known = answers[pathname] ?? (() => response.writeHead(404).end());
  Promise.resolve(known(request, response)).catch((error) => {
    console.error(`${request.method} ${request.url}: ${error.message}`);
    response.destroy();
  });
}

const server = http.createServer({ keepAliveTimeout: 60_000 }, answer);
server.on('checkContinue', (request, response) => {
  if (request.url !== '/too-much') response.writeContinue();
  answer(request, response);
});

serve(server);
