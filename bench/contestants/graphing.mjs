// What node's programs of question 6 share: the same nodes, messages and checks as graphing.py.
//   node graph_NAME.mjs line|diamond|async COUNT RATE
export const NODES = 10;
export const node = (x) => x + 1;
export const slowNode = async (x) => x + 1;
export const BRANCHES = [1, 2, 3, 4].map((number) => (x) => x + number);
export const join = (a, b, c, d) => a + b + c + d;

const TICK = 1; // ms
const now = () => Math.round(performance.now() * 1e6); // ns, exact in a JavaScript number
const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

export class Flow {
  constructor(shape, count, rate = 0) {
    Object.assign(this, { shape, count, rate, out: [], made: [], took: [] });
    this.sink = rate ? (x) => this.timed(x) : (x) => this.out.push(x);
  }

  begin() {
    this.began = performance.now();
    this.cpu = process.cpuUsage();
  }

  *numbers() {
    this.begin();
    for (let x = 0; x < this.count; x++) yield x;
  }

  async *paced() {
    this.begin();
    let sent = 0;
    while (sent < this.count) {
      const due = Math.floor(((performance.now() - this.began) / 1000) * this.rate) + 1;
      const stamps = [];
      for (; sent < Math.min(this.count, due); sent++) stamps.push(now());
      this.made.push(...stamps);
      yield* stamps;
      await sleep(TICK);
    }
  }

  original(out) {
    return this.shape === 'diamond' ? (out - 10) / 4 : out - NODES;
  }

  timed(out) {
    this.took.push(now() - this.original(out));
    this.out.push(out);
  }

  figures() {
    const seconds = (performance.now() - this.began) / 1000;
    const { user, system } = process.cpuUsage(this.cpu);
    const right = (out, at) => this.original(out) === (this.rate ? this.made[at] : at);
    if (this.out.length !== this.count || !this.out.every(right))
      throw new Error(`${this.out.length} of ${this.count} came out, or out of order`);
    const told = { messages: this.count, seconds, cpu_seconds: (user + system) / 1e6 };
    const ordered = this.took.sort((a, b) => a - b);
    for (const percent of ordered.length ? [50, 95, 99] : [])
      told[`latency_p${percent}_ms`] = ordered[Math.floor((ordered.length * percent) / 100)] / 1e6;
    return told;
  }
}

// Warm up (the compiler, too), measure what the command line asks for, print it.
export async function main(drive) {
  const [shape, count, rate] = process.argv.slice(2);
  await drive(new Flow(shape, Math.min(20_000, Number(count))));
  const flow = new Flow(shape, Number(count), Number(rate));
  await drive(flow);
  console.log(JSON.stringify(flow.figures()));
}
