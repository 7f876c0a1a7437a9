// A GraphQL server over WebSocket, by graphql-ws: a query, a mutation, and a subscription whose events come when
// somebody calls the mutation.
//
// usage: graphql-server.js   prints the port it listens on, ends with its input
'use strict';

const http = require('http');
const { EventEmitter, on, once } = require('events');
const { buildSchema } = require('graphql');
const { useServer } = require('graphql-ws/use/ws');
const { WebSocketServer } = require('ws');
const { serve } = require('./steps');

const schema = buildSchema(`
  type Query { reversed(text: String!): String!, broken: String }
  type Mutation { say(room: String!, text: String!): Int! }
  type Subscription { said(room: String!): String! }
`);

const rooms = new EventEmitter();

const roots = {
  query: {
    reversed: ({ text }) => [...text].reverse().join(''),
    broken: () => {
      throw new Error('as it was asked to');
    },
  },
  mutation: {
    // Waits for somebody who hears it, and tells how many did.
    say: async ({ room, text }) => {
      while (rooms.listenerCount(room) === 0) await once(rooms, 'newListener');
      const listeners = rooms.listenerCount(room);
      rooms.emit(room, text);
      return listeners;
    },
  },
  subscription: {
    said: async function* ({ room }) {
      for await (const [text] of on(rooms, room)) {
        if (text === 'the end') return;
        yield { said: text };
      }
    },
  },
};

const server = http.createServer();
const sockets = new WebSocketServer({ server, path: '/graphql' });
useServer(
  {
    schema,
    roots,
    connectionInitWaitTimeout: 2000,
    onConnect: ({ connectionParams }) => connectionParams?.token !== 'wrong',
  },
  sockets,
);

serve(server);
