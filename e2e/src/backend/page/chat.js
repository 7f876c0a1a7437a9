// The chat page: one WebSocket beside the page it came from, over ws or wss as the page itself.
'use strict';

const byId = (id) => document.getElementById(id);
const address = new URL('chat', location.href);
address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';

function show(text) {
  const item = document.createElement('li');
  item.textContent = text.replace(/^\* /, '');
  item.className = text.startsWith('* ') ? 'note' : 'said';
  byId('messages').append(item);
  item.scrollIntoView({ block: 'end' });
}

function status(state, text) {
  byId('status').dataset.state = state;
  byId('status').textContent = text;
}

const socket = new WebSocket(address);
let openedAt = null;

socket.onopen = () => {
  openedAt = Date.now();
  status('open', `connected over ${address.protocol.slice(0, -1)}`);
};
socket.onmessage = (event) => show(event.data);
socket.onclose = (event) => {
  openedAt = null;
  status('closed', `closed with code ${event.code}${event.reason ? ` (${event.reason})` : ''}`);
};

byId('form').onsubmit = (event) => {
  event.preventDefault();
  const text = byId('text').value.trim();
  if (text && socket.readyState === WebSocket.OPEN) {
    socket.send(text);
    byId('text').value = '';
  }
};

setInterval(() => {
  if (openedAt === null) return;
  const seconds = Math.floor((Date.now() - openedAt) / 1000);
  byId('age').textContent = seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}, 1000);
