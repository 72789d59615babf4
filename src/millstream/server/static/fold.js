// What a run has come to: a fold over its events. Pure; a card shows nothing else.
// The newest attempt counts: it supersedes the values that an earlier one yielded.

const MOST_PARTIALS = 5000; // of one step and item; the log has them all

/**
 * One step for one item, so far. `value` is its result, or the newest value that it yielded.
 * @typedef {{item: number|null, state: "running"|"retrying"|"done"|"failed", attempt: number,
 *   fraction: number|null, message: string, code: string, fallback: boolean, partials: any[],
 *   yielded: number, value: any, since: number, took: number}} Cell
 */

export class Fold {
  state = "queued";
  data = {}; // of the last run.* event
  incomplete = false; // some value is not at hand here: the server's document has it
  began = 0;
  last = 0;
  version = 0;

  /** @param {{outputs: string[], steps: Array<{name: string, scope: string[]}>}} pipeline */
  constructor({ outputs, steps }) {
    this.outputs = outputs;
    this.scopes = new Map(steps.map(({ name, scope }) => [name, scope]));
    /** @type {Map<string, Map<number|null, Cell>>} */
    this.steps = new Map(steps.map(({ name }) => [name, new Map()]));
  }

  get ended() {
    return this.state !== "queued" && this.state !== "running";
  }

  /** A step's cells, by item. */
  cells(step) {
    if (!this.steps.has(step)) this.steps.set(step, new Map());
    return this.steps.get(step);
  }

  /** One event. @param {import("./wire.js").Event} event */
  apply(event) {
    this.version += 1;
    this.last = Date.parse(event.time);
    this.began ||= this.last;
    if (event.type === "log.gap") this.incomplete = true;
    else if (event.type.startsWith("step.")) this.#step(event);
    else if (event.type.startsWith("run.")) {
      this.state = event.type === "run.started" ? "running" : event.type.slice(4);
      this.data = event.data ?? {};
    }
  }

  #step({ type, step, item = null, attempt = 1, index, count, fallback, data }) {
    const cells = this.cells(step);
    if (!cells.has(item)) cells.set(item, { item, attempt, partials: [], yielded: 0, value: null, ...this.#begun() });
    const cell = cells.get(item);
    cell.attempt = Math.max(cell.attempt, attempt);
    if (type === "step.started") Object.assign(cell, this.#begun());
    else if (type === "step.progress") Object.assign(cell, { fraction: data.fraction, message: data.message ?? "" });
    else if (type === "step.partial") {
      const place = index ?? cell.yielded;
      cell.yielded = Math.max(cell.yielded, place + 1);
      cell.value = data;
      if (place < MOST_PARTIALS) cell.partials[place] = data;
      else this.incomplete = true;
    } else if (type === "step.result") {
      const value = count === undefined ? data : cell.partials.slice(0, count);
      Object.assign(cell, { state: "done", value, fallback, took: this.last - cell.since });
    } else if (type === "step.failed") {
      const { message, code, will_retry: again, fallback: instead } = data;
      Object.assign(cell, { state: again ? "retrying" : instead ? "running" : "failed", message, code, fraction: null });
    }
  }

  #begun() {
    return { state: "running", fraction: null, message: "", code: "", fallback: false, since: this.last, took: 0 };
  }

  /** What failed for good, by item. @returns {Array<{step: string, item: number|null, code: string, message: string}>} */
  get missing() {
    const failed = [];
    for (const [step, cells] of this.steps) {
      for (const { item, code, message, state } of cells.values()) if (state === "failed") failed.push({ step, item, code, message });
    }
    return failed.sort((a, b) => a.item - b.item);
  }

  /** The items of a mapped step that have a value, in order. */
  items(step) {
    const scope = this.scopes.get(step) ?? [];
    const source = scope.length === 1 && this.cells(scope[0]).get(null);
    // A second attempt of the source may have yielded fewer: the items beyond count no more.
    const end = source && source.state === "done" && Array.isArray(source.value) ? source.value.length : Infinity;
    const valued = [...this.cells(step).values()].filter((cell) => cell.item !== null && cell.item < end && hasValue(cell));
    return valued.map((cell) => cell.item).sort((a, b) => a - b);
  }

  /** One output's value so far; null before anything. */
  value(step) {
    const cells = this.cells(step);
    if (this.scopes.get(step)?.length) return this.items(step).map((item) => shown(cells.get(item)));
    return cells.has(null) ? shown(cells.get(null)) : null;
  }

  /** The result so far: the output step's value, or each by name where there are several. */
  get result() {
    if (this.outputs.length === 1) return this.value(this.outputs[0]);
    return Object.fromEntries(this.outputs.map((step) => [step, this.value(step)]));
  }

  /** Whether there is any of it. */
  get hasResult() {
    return this.outputs.some((step) => [...this.cells(step).values()].some(hasValue));
  }
}

const hasValue = (cell) => cell.state === "done" || cell.partials.length > 0;

const shown = (cell) => (cell.state === "done" ? cell.value : cell.partials.length ? cell.partials : null);
