// What the clients' scripts share: they go in steps, so that one which hangs says where, and end with one line.
'use strict';

const { once } = require('events');

// Less than the tests' own patience, so that it is the script that says what it waits for.
const PATIENCE = 18000;

let current = 'the start';

// Names what comes next.
exports.step = (name) => {
  current = name;
};

// Runs a script: prints "ok" with what it returns, or says which step it failed in.
exports.run = (script) => {
  const fail = (reason) => {
    console.error(`${process.argv.slice(1).join(' ')}\n  at ${current}: ${reason}`);
    process.exit(1);
  };
  setTimeout(() => fail('nothing happens'), PATIENCE);
  process.on('unhandledRejection', (error) => fail(error.stack ?? error));
  script(...process.argv.slice(2)).then(
    (said) => {
      console.log(`ok ${said}`);
      process.exit(0);
    },
    (error) => fail(error.stack ?? error),
  );
};

// A promise with its handles outside: something that a callback brings and a step waits for.
exports.promised = () => {
  const promised = {};
  promised.value = new Promise((resolve, reject) => Object.assign(promised, { resolve, reject }));
  return promised;
};

// Listens on a free loopback port, prints it, and ends with the script's input.
exports.serve = async (server) => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  console.log(server.address().port);
  process.stdin.on('end', () => process.exit(0)).resume();
};
