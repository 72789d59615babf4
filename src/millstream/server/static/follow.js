// Following a run's log: from a cursor, through whatever happens to connections, to its end.

import { ask, backOff, isPassing, runPath } from "./server.js";
import { START, admit, parse } from "./wire.js";

const IDLE_MS = 45_000; // three of the server's heartbeats: such a silence is a dead connection
const LANES = 4; // a browser opens six connections to a server (HTTP/1.1); requests need some, too
const TURN_MS = 1000;

/** Connections that readers share by turns. Leaving one costs a reader nothing: it is its cursor. */
export class Lanes {
  held = [];
  waiting = [];

  /** @returns {Promise<{since: number, leave: () => void}>} A lane; it calls `leave` on its holder. */
  take() {
    if (this.held.length < LANES) return Promise.resolve(this.#enter());
    const turn = new Promise((resolve) => this.waiting.push(resolve));
    this.#askBack();
    return turn;
  }

  give(lane) {
    if (!this.held.includes(lane)) return;
    this.held = this.held.filter((each) => each !== lane);
    if (this.waiting.length) this.waiting.shift()(this.#enter()); // handed over: whoever gives it cannot be first again
  }

  #enter() {
    const lane = { since: performance.now(), leave: () => {} };
    this.held.push(lane);
    if (this.waiting.length) this.#askBack();
    return lane;
  }

  #askBack() {
    clearTimeout(this.timer);
    const [oldest] = this.held;
    this.timer = setTimeout(() => this.waiting.length && oldest.leave(), oldest.since + TURN_MS - performance.now());
  }
}

/** One reader of one log. */
export class Follower {
  cursor = 0;
  ended = false;
  known = 0; // events that came a second time, and were not taken
  connections = 0;
  stopping = new AbortController();

  /**
   * @param {string} run
   * @param {Lanes} lanes
   * @param {(taken: Array<{event: import("./wire.js").Event, line: string}>) => void} take gets
   *   each event once, in order
   * @param {(state: "live"|"reconnecting"|"ended"|"lost", error?: Error) => void} link
   */
  constructor(run, lanes, take, link) {
    Object.assign(this, { run, lanes, take, link });
  }

  /** Lets go; the run goes on. */
  stop() {
    this.stopping.abort();
  }

  /** Until the terminal event, `stop`, or an answer that no patience changes. `opened` is a
   * response that streams already, and its lane. */
  async follow(opened) {
    let tries = 0;
    while (!this.ended && !this.stopping.signal.aborted) {
      const before = this.cursor;
      const lane = opened?.lane ?? (await this.lanes.take());
      try {
        await this.#read(lane, opened?.response);
      } catch (error) {
        if (this.ended || this.stopping.signal.aborted) break;
        if (!isPassing(error)) return this.link("lost", error);
        tries = this.cursor > before ? 0 : tries + 1;
        this.link("reconnecting", error);
        this.lanes.give(lane);
        await backOff(tries, error, this.stopping.signal);
      } finally {
        this.lanes.give(lane);
        opened = null;
      }
    }
    if (this.ended) this.link("ended");
  }

  /** One connection, until the log's end or this reader's turn is over. Raises TypeError where it
   * breaks off. */
  async #read(lane, response) {
    const connection = new AbortController();
    const { signal } = connection;
    let left = false;
    let idle = 0;
    const cut = () => connection.abort();
    lane.leave = () => {
      left = true;
      cut();
    };
    this.stopping.signal.addEventListener("abort", cut);
    try {
      idle = setTimeout(cut, IDLE_MS);
      const headers = { Accept: "text/event-stream" };
      response ??= await ask(`${runPath(this.run)}/events?after=${this.cursor}`, { headers, signal, cache: "no-store" });
      this.connections += 1;
      if (response.status === 204) return void (this.ended = true); // nothing is behind the cursor, nor will be
      this.link("live");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const cancel = () => reader.cancel().catch(() => {});
      signal.addEventListener("abort", cancel);
      if (signal.aborted) cancel();
      for (let state = START; ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(idle);
        idle = setTimeout(cut, IDLE_MS);
        const parsed = parse(state, value);
        state = parsed.state;
        this.#admit(parsed.messages);
      }
      if (!left && !this.ended) throw new TypeError("the stream ended before the run");
    } catch (error) {
      if (!left) throw error instanceof DOMException ? new TypeError(error.message) : error;
    } finally {
      clearTimeout(idle);
      this.stopping.signal.removeEventListener("abort", cut);
      cut();
    }
  }

  #admit(messages) {
    const taken = [];
    try {
      for (const { data } of messages) {
        const event = JSON.parse(data);
        const verdict = admit(this.cursor, event);
        if (verdict === "hole") throw new TypeError(`the events before ${event.seq} did not come`);
        if (verdict === "known") this.known += 1;
        if (verdict !== "take") continue;
        this.cursor = event.seq;
        this.ended = ["run.completed", "run.failed", "run.cancelled"].includes(event.type);
        taken.push({ event, line: data });
      }
    } finally {
      if (taken.length) this.take(taken);
    }
  }
}
