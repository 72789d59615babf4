// node with the package ws; each stream waits until a frame was taken where its socket is full.
const http = require('node:http');
const { randomUUID } = require('node:crypto');
const { createRequire } = require('node:module');
const { WebSocketServer } = createRequire(`${process.env.BENCH_NODE}/`)('ws');

const stamp = () => Math.round((performance.timeOrigin + performance.now()) * 1e6);
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const FULL = 65536; // bytes waiting in a socket

async function stream(socket, count, rate) {
  const run = randomUUID();
  let due = performance.now();
  for (let seq = 1; seq <= count; seq++) {
    if (rate) {
      due += 1000 / rate;
      await sleep(Math.max(0, due - performance.now()));
    }
    if (socket.readyState !== socket.OPEN) return;
    const time = new Date().toISOString();
    const event = { run, seq, type: 'step.partial', step: 'tick', time, data: stamp() };
    const text = JSON.stringify(event);
    if (socket.bufferedAmount < FULL) socket.send(text);
    else await new Promise((sent) => socket.send(text, sent));
  }
  const time = new Date().toISOString();
  socket.send(JSON.stringify({ run, seq: count + 1, type: 'run.completed', time }));
  socket.close();
}

const server = http.createServer();
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket, request) => {
  const query = new URL(request.url, 'http://localhost').searchParams;
  stream(socket, Number(query.get('count')), Number(query.get('rate') ?? 0)).catch(() => {
    socket.terminate();
  });
});
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
