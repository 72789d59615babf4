// node's http module; each stream honours `drain`.
const http = require('node:http');
const { once } = require('node:events');
const { randomUUID } = require('node:crypto');

// Nanoseconds since the epoch, to the 256 ns that a JavaScript number has left there.
const stamp = () => Math.round((performance.timeOrigin + performance.now()) * 1e6);
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

const frame = (event) =>
  `event: ${event.type}\ndata: ${JSON.stringify(event)}\nid: ${event.seq}\n\n`;

async function stream(response, count, rate) {
  const run = randomUUID();
  let due = performance.now();
  for (let seq = 1; seq <= count; seq++) {
    if (rate) {
      due += 1000 / rate;
      await sleep(Math.max(0, due - performance.now()));
    }
    if (response.destroyed) return;
    const time = new Date().toISOString();
    const event = { run, seq, type: 'step.partial', step: 'tick', time, data: stamp() };
    if (!response.write(frame(event))) await once(response, 'drain');
  }
  const time = new Date().toISOString();
  response.end(frame({ run, seq: count + 1, type: 'run.completed', time }));
}

http
  .createServer((request, response) => {
    const query = new URL(request.url, 'http://localhost').searchParams;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    response.flushHeaders(); // or they would wait for the first event
    stream(response, Number(query.get('count')), Number(query.get('rate') ?? 0)).catch(() => {
      response.destroy();
    });
  })
  .listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
