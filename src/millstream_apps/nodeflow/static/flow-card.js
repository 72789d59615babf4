// One flow on the page: its graph, its counters (once a second), its widgets, and what can be done
// with its nodes.

import { announce, flash, h, setText } from "./dom.js";
import { api, follow } from "./flow-api.js";
import { FlowGraph } from "./flow-graph.js";
import { widget } from "./flow-widgets.js";
import { duration } from "./text.js";

const LOOK_MS = 1000;
const BACK = 200; // events before the newest that widgets begin with

export class FlowCard {
  widgets = new Map();
  stopped = false;

  /** @param {string} run @param {() => void} changed */
  constructor(run, changed) {
    Object.assign(this, { run, changed });
    this.title = h("h2", "…");
    this.badge = h("span.state");
    this.told = h("span.muted");
    this.fault = h("p.fault", { hidden: true });
    this.end = h("button.danger", { click: () => this.#stop() }, "Stop the flow");
    this.drawing = h("div.flow-drawing");
    this.panel = h("aside.flow-panel", { hidden: true });
    this.grid = h("div.widgets");
    this.element = h("article.run",
      h("header.run-head", this.title, this.badge, this.told, h("span.actions", this.end)),
      this.fault, this.drawing, this.panel, this.grid);
  }

  async open() {
    try {
      const whole = await api(this.#path());
      this.#lay(whole);
      this.leave = follow(this.run, Math.max(0, whole.seq - BACK), (event) => this.#take(event), (open) => this.#link(open));
      this.#look();
      const frame = (now) => {
        if (this.stopped) return;
        for (const each of this.widgets.values()) each.draw(now);
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    } catch (error) {
      this.#say(error.message);
    }
  }

  /** Leaves; the flow goes on. */
  close() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.leave?.();
    this.element.remove();
  }

  #path(rest = "") {
    return `flows/${encodeURIComponent(this.run)}${rest}`;
  }

  #lay(whole) {
    this.flow = whole.flow;
    setText(this.title, whole.name || whole.id);
    this.graph = new FlowGraph(whole.flow, (id) => this.#choose(id));
    this.drawing.replaceChildren(this.graph.element);
    for (const node of whole.flow.nodes) {
      const made = widget(node);
      if (made) this.widgets.set(node.id, made);
    }
    this.grid.replaceChildren(...[...this.widgets.values()].map(({ element }) => element));
  }

  /** The counters, now and every second. */
  async #look() {
    try {
      const whole = await api(this.#path());
      this.badge.dataset.state = whole.state;
      setText(this.badge, whole.state);
      this.statistics = whole.statistics;
      this.graph.update(whole.statistics);
      this.#states();
      const until = whole.ended ? Date.parse(whole.ended) : Date.now();
      setText(this.told, whole.started ? duration(until - Date.parse(whole.started)) : "");
      this.end.hidden = Boolean(whole.ended);
      if (whole.ended) return this.changed();
    } catch (error) {
      setText(this.told, "no connection");
    }
    if (!this.stopped) this.timer = setTimeout(() => this.#look(), LOOK_MS);
  }

  #take(event) {
    if (event.type === "step.partial" && Array.isArray(event.data)) this.widgets.get(event.step)?.take(event.data);
    if (event.type === "step.failed") this.#say(`${event.step}: ${event.data.message}`);
    if (event.type === "run.failed") this.#say(`The flow has failed: ${event.data.message}`);
    if (event.type.startsWith("run.")) announce(event.type);
  }

  #link(open) {
    this.element.classList.toggle("away", !open);
  }

  #say(text) {
    this.fault.hidden = false;
    setText(this.fault, text);
  }

  // --- nodes ----------------------------------------------------------------------------------

  #choose(id) {
    this.chosen = id;
    this.graph.select(id);
    const node = this.flow.nodes.find((each) => each.id === id);
    const config = h("textarea", { spellcheck: "false", "aria-label": "Config" });
    config.value = JSON.stringify(node.config ?? {}, null, 1);
    this.state = h("span.muted");
    const act = (action) => h("button", { click: (event) => this.#act(id, action, event.target) }, action);
    const apply = h("button.primary", { click: () => this.#configure(node, config.value, apply) }, "Apply");
    this.panel.hidden = false;
    this.panel.replaceChildren(
      h("div.bar", h("h3", id), h("span.muted", node.type), this.state),
      h("div.flow-actions", ["pause", "resume", "stop", "start"].map(act)), config, apply);
    this.#states();
  }

  #states() {
    if (this.state) setText(this.state, this.statistics?.steps[this.chosen]?.state ?? "");
  }

  async #act(id, action, button) {
    try {
      await api(this.#path(`/nodes/${encodeURIComponent(id)}/${action}`), { method: "POST" });
      flash(button, "done");
    } catch (error) {
      this.#say(error.message);
    }
  }

  async #configure(node, text, button) {
    try {
      const changed = await api(this.#path(`/nodes/${encodeURIComponent(node.id)}/config`), { method: "PUT", body: JSON.stringify(JSON.parse(text)) });
      node.config = changed.config;
      this.fault.hidden = true;
      flash(button, "Applied");
    } catch (error) {
      this.#say(error.message);
    }
  }

  async #stop() {
    try {
      await api(this.#path(), { method: "DELETE" });
    } catch (error) {
      this.#say(error.message);
    }
  }
}
