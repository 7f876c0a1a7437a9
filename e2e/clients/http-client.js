// Node's two HTTP clients: the `http` module with an agent that keeps its connection, and `fetch`.
//
// usage: http-client.js BASE   prints "ok …" with how many requests it made on how many connections, or fails
'use strict';

const assert = require('assert/strict');
const diagnostics = require('diagnostics_channel');
const http = require('http');
const https = require('https');
const { createHash, randomBytes } = require('crypto');
const { once } = require('events');
const { Readable } = require('stream');
const { buffer, text } = require('stream/consumers');
const { gunzipSync } = require('zlib');
const { promised, run, step } = require('./steps');

const UPLOAD = randomBytes(5_000_000);
const MANY = 100;

const sum = (bytes) => createHash('sha256').update(bytes).digest('hex');

// A body in parts whose whole length nobody is told.
function* parts() {
  for (let at = 0; at < UPLOAD.length; at += 70_000) yield UPLOAD.subarray(at, at + 70_000);
}

// The `http` module, on one connection at a time.
class Kept {
  constructor(base) {
    this.base = base;
    this.module = base.startsWith('https') ? https : http;
    this.agent = new this.module.Agent({ keepAlive: true, maxSockets: 1 });
    this.requests = 0;
    this.sockets = new Set();
  }

  open(method, path, headers = {}) {
    step(`http: ${method} ${path}`);
    this.requests += 1;
    const request = this.module.request(this.base + path, { method, headers, agent: this.agent });
    request.on('socket', (socket) => this.sockets.add(socket));
    const response = promised();
    request.on('response', response.resolve).on('error', response.reject);
    return { request, response: response.value };
  }

  async ask(method, path, headers, body) {
    const { request, response } = this.open(method, path, headers);
    if (body instanceof Readable) body.pipe(request);
    else request.end(body);
    const { statusCode: status, headers: fields, ...rest } = await response;
    return { status, fields, rest, body: await buffer(await response) };
  }
}

async function reads(kept) {
  const hello = await kept.ask('GET', '/hello', { 'User-Agent': 'node' });
  assert.equal(hello.body.toString(), 'hello, node');
  assert.equal(hello.fields['content-length'], '11');
  assert.deepEqual(hello.fields['set-cookie'], ['a=1; Path=/', 'b=2; Path=/; HttpOnly']);
  const head = await kept.ask('HEAD', '/big');
  assert.deepEqual([head.status, head.fields['content-length'], head.body.length], [200, '20000000', 0]);
  for (const path of ['/big', '/big-in-chunks']) {
    const big = await kept.ask('GET', path);
    assert.equal(sum(big.body), big.fields['x-sum']);
    const framing = path === '/big' ? ['20000000', undefined] : [undefined, 'chunked'];
    assert.deepEqual([big.fields['content-length'], big.fields['transfer-encoding']], framing);
  }
  for (const headers of [{}, { 'Accept-Encoding': 'gzip' }]) {
    const gzip = await kept.ask('GET', '/gzip', headers);
    assert.deepEqual([gzip.fields['content-encoding'], gzip.fields.vary], ['gzip', 'Accept-Encoding']);
    assert.equal(sum(gzip.body), gzip.fields['x-sum']);
    assert.equal(gunzipSync(gzip.body).length, 250_000);
  }
  for (const method of ['GET', 'DELETE']) {
    const empty = await kept.ask(method, '/empty');
    assert.deepEqual([empty.status, empty.body.length, empty.fields['content-length']], [204, 0, undefined]);
  }
  const cached = await kept.ask('GET', '/cached');
  const same = await kept.ask('GET', '/cached', { 'If-None-Match': cached.fields.etag });
  assert.deepEqual([cached.status, cached.body.toString(), same.status], [200, 'the whole of it', 304]);
  assert.deepEqual([same.body.length, same.fields.etag], [0, '"version 1"']);
  const moved = await kept.ask('GET', '/moved-elsewhere');
  assert.deepEqual([moved.status, moved.fields.location], [301, 'http://elsewhere.invalid:8080/a%2Fb?c#d']);
  const teapot = await kept.ask('GET', '/teapot');
  assert.deepEqual([teapot.status, teapot.body.toString()], [418, 'short and stout']);
}

function assertTaken(body, method, framing, content = UPLOAD) {
  assert.deepEqual(JSON.parse(body), { method, length: content.length, sum: sum(content), framing });
}

async function writes(kept) {
  const counted = await kept.ask('POST', '/take', { 'Content-Length': UPLOAD.length }, UPLOAD);
  assertTaken(counted.body, 'POST', 'length');
  assertTaken((await kept.ask('PUT', '/take', {}, Readable.from(parts()))).body, 'PUT', 'chunked');
  assertTaken((await kept.ask('POST', '/take', { 'Content-Length': 0 }, '')).body, 'POST', 'length', '');
}

// A body that is sent only once it is wanted.
async function expects(kept) {
  const headers = { Expect: '100-continue', 'Content-Length': UPLOAD.length };
  const { request, response } = kept.open('POST', '/take', headers);
  const wanted = once(request, 'continue');
  request.flushHeaders();
  await wanted;
  request.end(UPLOAD);
  assertTaken(await text(await response), 'POST', 'length');
}

// A body that the server refuses by its head, on a connection of its own, which ends with that. Whether somebody on
// the way asks for the body all the same is not for the server to say; its answer must arrive.
async function refused(base) {
  const kept = new Kept(base);
  const { request, response } = kept.open('POST', '/too-much', { Expect: '100-continue', 'Content-Length': 1e9 });
  request.on('continue', () => request.write(UPLOAD.subarray(0, 1000)));
  request.flushHeaders();
  const { statusCode } = await response;
  assert.deepEqual([statusCode, await text(await response)], [413, 'no, thanks']);
  request.destroy();
}

// Each part is sent when the one before it has come back.
async function bothWays(kept) {
  const { request, response } = kept.open('POST', '/back');
  request.flushHeaders();
  const parts = (await response).iterator();
  for (const part of ['one', 'two', 'x'.repeat(50_000), 'four']) {
    step(`http: ${part.slice(0, 4)} there and back`);
    request.write(part);
    let back = '';
    while (back.length < part.length) back += (await parts.next()).value;
    assert.equal(back, part);
  }
  request.end();
  assert.equal((await parts.next()).done, true);
}

async function many(kept) {
  for (let number = 0; number < MANY; number++) {
    assert.equal((await kept.ask('GET', `/hello?${number}`)).status, 200);
  }
}

async function fetches(base) {
  let connections = 0;
  diagnostics.subscribe('undici:client:connected', () => (connections += 1));
  const ask = (path, options) => {
    step(`fetch: ${path}`);
    return fetch(base + path, options);
  };
  assert.match(await (await ask('/hello')).text(), /^hello, /);
  const big = await ask('/big-in-chunks');
  assert.equal(sum(Buffer.from(await big.arrayBuffer())), big.headers.get('x-sum'));
  assert.equal((await (await ask('/gzip')).text()).length, 250_000);
  const moved = await ask('/moved');
  assert.deepEqual([moved.redirected, moved.url, moved.status], [true, `${base}/hello`, 200]);
  await moved.text();
  // As text: the `fetch` of node 20 loses the bytes of a Buffer on its way through a redirect.
  const body = UPLOAD.toString('hex');
  const again = await ask('/moved-with-body', { method: 'POST', body });
  assert.equal(again.url, `${base}/take?again`);
  assertTaken(await again.text(), 'POST', 'length', body);
  const stream = await ask('/take', { method: 'POST', duplex: 'half', body: Readable.toWeb(Readable.from(parts())) });
  assertTaken(await stream.text(), 'POST', 'chunked');
  assert.equal((await ask('/empty', { method: 'DELETE' })).status, 204);
  // It may have opened another while a redirect was not read to its end.
  connections = 0;
  for (let number = 0; number < MANY; number++) await (await ask(`/hello?${number}`)).text();
  return `fetch ${MANY} on ${connections} more`;
}

run(async (base) => {
  const kept = new Kept(base);
  await reads(kept);
  await writes(kept);
  await expects(kept);
  await bothWays(kept);
  await many(kept);
  await refused(base);
  return `http ${kept.requests} on ${kept.sockets.size}, ${await fetches(base)}`;
});
