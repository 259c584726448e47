// A client with Node's ssh2: node with_ssh2.js PORT KEY local|remote ECHO_PORT
const fs = require('fs');
const { Client } = require('ssh2');

const [port, key, how, echo] = process.argv.slice(2);
const DATA = Buffer.from(Array.from({ length: 100000 }, (_, at) => at % 251));

const fail = (error) => {
  console.error(String(error));
  process.exit(1);
};

const client = new Client();
client.on('error', fail);
client.on('close', () => process.exit(0));
client.on('ready', () => {
  if (how === 'local') {
    client.forwardOut('127.0.0.1', 0, '127.0.0.1', Number(echo), (error, channel) => {
      if (error) fail(error);
      const heard = [];
      channel.on('data', (piece) => heard.push(piece));
      channel.on('close', () => {
        const all = Buffer.concat(heard);
        if (!all.equals(DATA)) fail(`${all.length} bytes came back, not those that were sent`);
        client.end();
      });
      channel.end(DATA);
    });
  } else {
    client.on('tcp connection', (info, accept) => {
      const channel = accept();
      channel.pipe(channel);
      channel.on('close', () => client.end());
    });
    client.forwardIn('127.0.0.1', 0, (error, bound) => {
      if (error) fail(error);
      console.log(`listening ${bound}`);
    });
  }
});
client.connect({ host: '127.0.0.1', port: Number(port), username: 'alice', privateKey: fs.readFileSync(key) });
