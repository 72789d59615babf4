// One run on the page: a reader of its log, a fold over what it reads, and the card that shows it.

import { announce, copy, flash, h, setText } from "./dom.js";
import { EventLog } from "./events.js";
import { Fold } from "./fold.js";
import { Follower } from "./follow.js";
import * as generic from "./result.js";
import { ask, askJson, at, persist, runPath } from "./server.js";
import { Graph, Items } from "./steps.js";
import { brief, duration, many } from "./text.js";

const RENDER_MS = 120; // a result is rendered at most this often; all else, once a frame

/** What a pipeline's result is rendered with. (The server answers with the generic renderer where
 * a system brings none.) */
const renderer = (pipeline) => import(`./result-${encodeURIComponent(pipeline)}.js`).catch(() => generic);

/** What items are called outlives a reload: the log does not say it of every input. */
const labelsOf = (run, labels) => {
  try {
    if (labels) sessionStorage.setItem(run, JSON.stringify(labels));
    return labels ?? JSON.parse(sessionStorage.getItem(run) ?? "{}");
  } catch {
    return labels ?? {}; // storage is full or forbidden: after a reload they have numbers
  }
};

export class RunCard {
  taken = 0; // events that came, each once, in order
  fold = new Fold({ outputs: [], steps: [] });
  log = new EventLog();
  tables = [];
  heard = 0;

  /**
   * @param {string} run its id
   * @param {{lanes: import("./follow.js").Lanes, pipelines: Map<string, any>,
   *   close: (run: string) => void, changed: () => void, open: (run: string, given?: any) => void}} page
   * @param {{pipeline?: string, labels?: Object<string, string[]>, pictures?: Array<string|undefined>}} given
   */
  constructor(run, page, { pipeline, labels, pictures = [] }) {
    Object.assign(this, { run, page, pipeline, pictures, labels: labelsOf(run, labels) });
    this.follower = new Follower(run, page.lanes, (taken) => this.#take(taken), (state, error) => this.#link(state, error));
    this.element = this.#card();
  }

  /** Follows the run to its end. `opened` is a response that streams already, and its lane. */
  async open(opened) {
    try {
      this.pipeline ??= (await this.#document()).pipeline;
      this.#begin(this.page.pipelines.get(this.pipeline) ?? { name: this.pipeline, steps: [], outputs: [] });
      await this.follower.follow(opened);
    } catch (error) {
      this.page.lanes.give(opened?.lane);
      if (!this.follower.stopping.signal.aborted) this.#link("lost", error);
    }
  }

  #document() {
    const waiting = () => this.#link("reconnecting");
    return persist(() => askJson(runPath(this.run)), { waiting, signal: this.follower.stopping.signal });
  }

  /** Leaves; the run goes on. */
  close() {
    this.follower.stop();
    for (const url of this.pictures) if (url) URL.revokeObjectURL(url);
    this.element.remove();
  }

  #begin(pipeline) {
    this.fold = new Fold(pipeline);
    this.renderer = renderer(pipeline.name);
    setText(this.title, pipeline.name);
    this.element.setAttribute("aria-label", `Run of ${pipeline.name}`);
    const scopes = Map.groupBy(pipeline.steps.filter((step) => step.scope.length), (step) => step.scope.join(" › "));
    this.tables = [...scopes].map(([noun, steps]) => {
      const { scope } = steps[0];
      return { scope, items: new Items(steps.map((step) => step.name), (item) => this.label(item, scope), noun) };
    });
    if (pipeline.steps.length) this.graph = new Graph(pipeline);
    this.steps.replaceChildren(this.graph?.element ?? "", ...this.tables.map(({ items }) => items.element));
    this.draw();
  }

  #take(taken) {
    for (const { event } of taken) {
      this.fold.apply(event);
      const { will_retry: again, fallback, message } = event.data ?? {};
      if (event.type.startsWith("run.")) announce(`${this.pipeline}: ${event.type.slice(4)}`);
      if (event.type === "step.failed" && !again && !fallback) {
        announce(`${event.item === undefined ? event.step : this.label(event.item)} failed: ${message}`);
      }
    }
    this.taken += taken.length;
    this.heard = performance.now();
    this.log.add(taken);
    if (this.fold.ended) this.page.changed();
    this.draw();
  }

  async #link(state, error) {
    this.lost = state === "lost" && (error.status === 404 ? "The server knows no such run (any more)." : `This run cannot be followed: ${error.message}`);
    this.banner.hidden = !this.lost && state !== "reconnecting";
    setText(this.banner, this.lost || "Reconnecting… Nothing is lost: reading goes on where it broke off.");
    if (state === "ended" && this.fold.incomplete) {
      this.document = await this.#document().catch(() => undefined);
      this.rendered = undefined;
    }
    this.draw();
  }

  /** What an item is called: as it was sent, or as its values call themselves. */
  label(item, scope = this.tables[0]?.scope ?? []) {
    const source = scope.length === 1 ? this.fold.cells(scope[0]).get(null)?.partials[item] : undefined;
    const given = scope.length === 1 ? this.labels[scope[0]]?.[item] : undefined;
    const { steps = [] } = this.page.pipelines.get(this.pipeline) ?? {};
    const own = steps.filter((step) => step.scope.join() === scope.join()).map((step) => this.fold.cells(step.name).get(item)?.value);
    return given ?? [source, ...own].map(named).find(Boolean) ?? (source === undefined ? `${scope.at(-1) ?? "item"} ${item + 1}` : brief(source));
  }

  /** How many items there will be, as far as is known. */
  #expected(scope) {
    return scope?.length === 1 ? (this.labels[scope[0]]?.length ?? this.fold.cells(scope[0]).get(null)?.yielded ?? 0) : 0;
  }

  get #result() {
    return this.document ? this.document.result : this.fold.result;
  }

  /** @returns {import("./result.js").Context} */
  get #context() {
    const { ended, state, missing, outputs: [output, another], scopes } = this.fold;
    const mapped = !another && scopes.get(output)?.length;
    return {
      run: this.run, ended, state, missing, url: at,
      items: !mapped ? null : this.document ? survivors(this.document) : this.fold.items(output),
      label: (item) => this.label(item),
      picture: (item) => this.pictures[item],
      step: (name) => this.fold.cells(name).get(null),
      follow: (run, labels) => this.page.open(run, { pipeline: this.pipeline, labels: { [this.tables[0].scope[0]]: labels } }),
    };
  }

  #card() {
    this.title = h("h2", this.pipeline ?? "…");
    this.badge = h("span.state");
    this.clock = h("span.clock");
    this.told = h("p.muted");
    this.stop = h("button.danger", { click: () => this.#cancel() }, "Cancel");
    const close = h("button.quiet", { title: "The run itself goes on", click: () => this.page.close(this.run) }, "Close");
    const link = h("a.run-id", { href: `#run=${encodeURIComponent(this.run)}`, title: "A link to this run alone" }, this.run);
    this.banner = h("p.banner", { role: "status", hidden: true });
    this.fault = h("p.fault", { hidden: true });
    this.steps = h("div.steps");
    this.result = h("div.result");
    this.heading = h("h3");
    const copying = h("button.quiet", { click: () => copy(JSON.stringify(this.#result, null, 2), copying) }, "Copy JSON");
    this.part = h("section", { hidden: true }, h("div.bar", this.heading, copying), this.result);
    this.count = h("summary");
    const save = h("button.quiet", { click: () => this.#download() }, "Download log as NDJSON");
    const events = h("details.events", { toggle: () => this.log.draw() }, this.count, this.log.element, save);
    return h("article.run",
      h("header.run-head", this.title, this.badge, this.clock, h("span.actions", this.stop, close), link),
      this.told, this.banner, this.fault, this.steps, this.part, events);
  }

  /** Asks for a redraw: one a frame, however many events come. */
  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.#draw();
    });
  }

  #draw() {
    const { fold } = this;
    const { code, message, retryable, by, reason, position } = fold.data;
    const state = this.taken ? (this.cancelling && !fold.ended ? "cancelling" : fold.state) : this.lost ? "unknown" : "opening";
    const partial = state === "completed" && fold.data.partial;
    this.element.dataset.state = state;
    this.badge.dataset.state = partial ? "partial" : state;
    setText(this.badge, partial ? "completed in part" : state);
    this.stop.hidden = fold.ended || Boolean(this.lost);
    this.tick();
    this.fault.hidden = state !== "failed";
    if (state === "failed") this.fault.replaceChildren(message ?? "The run failed.", h("code", code ?? ""), retryable ? "Trying again may help." : "");
    setText(this.told, state === "cancelled" ? `By ${by}: ${reason}` : state === "queued" && position ? `${position} before it` : "");
    this.graph?.update(fold, (scope) => this.#expected(scope));
    for (const { scope, items } of this.tables) items.update(fold, this.#expected(scope));
    setText(this.count, many(this.follower.cursor, "event"));
    this.log.draw();
    const soon = (this.renderedAt ?? 0) + RENDER_MS - performance.now();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#render(), soon);
  }

  async #render() {
    const { render, early } = (await this.renderer) ?? {};
    const { fold } = this;
    const context = this.#context;
    this.part.hidden = !(early && this.taken) && !fold.hasResult && !(context.items && context.missing.length);
    if (!render || this.part.hidden || this.rendered === fold.version) return;
    this.rendered = fold.version;
    this.renderedAt = performance.now();
    setText(this.heading, fold.ended ? "Result" : "Result so far");
    render(this.result, this.#result, context);
  }

  /** The clock: since the run's first event, by the server's own time. */
  tick() {
    const { began, last, ended } = this.fold;
    setText(this.clock, began ? duration(last - began + (ended ? 0 : performance.now() - this.heard)) : "");
  }

  async #cancel() {
    this.stop.disabled = this.cancelling = true;
    this.draw();
    try {
      await ask(`${runPath(this.run)}?reason=cancelled%20on%20the%20page`, { method: "DELETE" });
    } catch (error) {
      this.stop.disabled = this.cancelling = false;
      flash(this.stop, error.message);
      this.draw();
    }
  }

  /** The log as this page has read it. */
  #download() {
    const url = URL.createObjectURL(new Blob(this.log.entries.map(({ line }) => `${line}\n`)));
    h("a", { href: url, download: `${this.run}.ndjson` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }
}

/** The items of a document's mapped result: those that did not fail. */
function survivors({ result, missing }) {
  const all = Array.from({ length: result.length + missing.length }, (_, item) => item);
  return all.filter((item) => !missing.some((fault) => fault.item === item)).slice(0, result.length);
}

/** What a value calls itself, if it does. */
function named(value) {
  const name = [value?.filename, value?.name, value?.title, value?.url].find((each) => each && typeof each === "string");
  return name && brief(name, 80);
}
