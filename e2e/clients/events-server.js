// Server-sent events to a page that tells of each event that it sees: the next one is sent only after that. In the
// middle the stream ends, and goes on behind the last event when the browser comes back with its id.
//
// usage: events-server.js   prints the port it listens on, ends with its input
'use strict';

const http = require('http');
const { serve } = require('./steps');

const END_AFTER = 3;
const LAST = 5;
// So that nothing on the way can take two events for one piece.
const APART = 700;

const PAGE = `<!doctype html>
<title>Events</title>
<ol></ol>
<p></p>
<script>
  const source = new EventSource('/events' + location.search);
  const show = (place, text) => {
    const item = document.createElement('li');
    item.textContent = text;
    document.querySelector(place).append(item);
  };
  source.onmessage = (event) => {
    show('ol', event.data);
    fetch('/seen' + location.search + '&id=' + event.lastEventId, { method: 'POST' });
  };
  source.addEventListener('done', (event) => {
    source.close();
    show('p', event.data);
  });
</script>
`;

// By visit: the stream that is open and with which ids the browser came.
const visits = new Map();

function send({ stream, cameWith }, id) {
  if (id > LAST) stream.end(`event: done\ndata: came with\ndata: ${cameWith.join(', ')}\n\n`);
  else stream.write(`: a comment\nid: ${id}\ndata: event ${id}\n\n`);
}

const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://any');
  const visit = searchParams.get('visit');
  if (pathname === '/') {
    response.setHeader('Content-Type', 'text/html; charset=utf-8').end(PAGE);
  } else if (pathname === '/events') {
    const last = request.headers['last-event-id'];
    const cameWith = [...(visits.get(visit)?.cameWith ?? []), last ?? 'nothing'];
    visits.set(visit, { stream: response, cameWith });
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.write('retry: 50\n\n');
    send(visits.get(visit), Number(last ?? 0) + 1);
  } else if (pathname === '/seen') {
    const [id, { stream }] = [Number(searchParams.get('id')), visits.get(visit)];
    if (id === END_AFTER) stream.end();
    else setTimeout(() => send(visits.get(visit), id + 1), APART);
    response.writeHead(204).end();
  } else {
    response.writeHead(404).end();
  }
});

serve(server);
