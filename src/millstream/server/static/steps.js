// A run's steps: the pipeline from left to right, and for each mapped part a table of its items.

import { arrange, h, setStyle, setText } from "./dom.js";
import { brief, duration, many } from "./text.js";

const MOST_ROWS = 60; // of a table, in the document

/** The pipeline's steps in the order of the graph: what a step reads stands before it. */
export class Graph {
  constructor({ steps }) {
    this.nodes = steps.map(({ name, reads }) => {
      const told = h("span.told");
      const title = `${name} reads ${reads.map((read) => read.from).join(", ") || "nothing"}`;
      return { name, told, node: h("li.node", { title }, h("strong", name), told) };
    });
    this.element = h("ol.graph.plain", { "aria-label": "Steps" }, this.nodes.map(({ node }) => node));
  }

  /** @param {import("./fold.js").Fold} fold @param {(scope?: string[]) => number} expected items */
  update(fold, expected) {
    for (const { name, node, told } of this.nodes) {
      const { state, text, part } = overview(fold, name, expected(fold.scopes.get(name)));
      node.dataset.state = state;
      setText(told, text);
      setStyle(node, { "--part": part });
    }
  }
}

/** A step over all its items. Pure. */
function overview(fold, name, expected) {
  const cells = [...fold.cells(name).values()];
  if (cells.length === 0) return { state: "waiting", text: fold.ended ? "not reached" : "waiting", part: 0 };
  if (!fold.scopes.get(name)?.length) {
    const [cell] = cells;
    const told = chip(cell, fold.ended);
    const yielded = cell.yielded && cell.state !== "failed";
    return yielded ? { ...told, text: many(cell.yielded, "value") + (cell.state === "done" ? "" : ` · ${brief(cell.value, 24)}`) } : told;
  }
  const done = cells.filter((cell) => cell.state === "done").length;
  const failed = cells.filter((cell) => cell.state === "failed").length;
  const all = Math.max(expected, cells.length);
  const over = done + failed === cells.length && (fold.ended || done + failed === all);
  const state = over ? (done ? "done" : "failed") : fold.ended ? "stopped" : "running";
  return { state, text: `${done} of ${all}${failed ? ` · ${failed} failed` : ""}`, part: (done + failed) / all };
}

/** What one cell says. Pure. @param {import("./fold.js").Cell} cell */
function chip({ state, attempt, fraction, fallback, took, code }, ended) {
  const again = attempt > 1 && !fallback ? ` ↻${attempt}` : "";
  if (state === "done") return { state, text: `✓ ${fallback ? "fallback " : ""}${duration(took)}${again}`, part: 1 };
  if (state === "failed") return { state, text: `✕ ${code}${again}`, part: 1 };
  if (ended) return { state: "stopped", text: "stopped", part: 0 };
  if (state === "retrying") return { state, text: `↻ attempt ${attempt + 1}`, part: 0 };
  return { state, text: `${fraction === null ? "running" : `${Math.round(fraction * 100)} %`}${again}`, part: fraction ?? 0 };
}

/** The items of one mapped part of the graph: a row an item, a column a step. */
export class Items {
  rows = new Map();

  /** @param {string[]} steps @param {(item: number) => string} label @param {string} noun */
  constructor(steps, label, noun) {
    Object.assign(this, { steps, label });
    this.body = h("tbody");
    this.note = h("p.muted");
    const head = h("tr", [noun, ...steps].map((name) => h("th", { scope: "col" }, name)));
    this.element = h("div.items", { tabindex: 0, role: "group", "aria-label": "Items" },
      h("table", h("thead", head), this.body), this.note);
  }

  /** @param {import("./fold.js").Fold} fold @param {number} expected how many are known of */
  update(fold, expected) {
    const items = new Set(this.steps.flatMap((step) => [...fold.cells(step).keys()]));
    for (let item = 0; item < Math.min(expected, MOST_ROWS); item += 1) items.add(item);
    const all = [...items].sort((a, b) => a - b);
    // Of too many: what is at work, what failed, and the newest.
    const calm = (item) => this.steps.every((step) => (fold.cells(step).get(item)?.state ?? "done") === "done");
    const busy = all.length > MOST_ROWS ? all.filter((item) => !calm(item)).slice(-MOST_ROWS) : all;
    const newest = all.filter((item) => !busy.includes(item)).slice(busy.length - MOST_ROWS);
    const shown = busy.length < MOST_ROWS ? [...busy, ...newest].sort((a, b) => a - b) : busy;
    this.rows = new Map(shown.map((item) => [item, this.rows.get(item) ?? this.#row()]));
    for (const [item, row] of this.rows) this.#fill(fold, item, row);
    arrange(this.body, [...this.rows.values()].map((row) => row.node));
    this.element.hidden = all.length === 0;
    this.note.hidden = shown.length === all.length;
    setText(this.note, `${shown.length} of ${many(all.length, "item")}: those at work, those that failed, the newest.`);
  }

  #row() {
    const [name, told] = [h("span.item-name"), h("span.told")];
    const chips = this.steps.map(() => h("span.chip"));
    return { name, told, chips, node: h("tr", h("th", { scope: "row" }, name, told), chips.map((each) => h("td", each))) };
  }

  #fill(fold, item, row) {
    let told = "";
    let dead = false;
    this.steps.forEach((step, at) => {
      const cell = fold.cells(step).get(item);
      const { state, text, part } = cell ? chip(cell, fold.ended) : { state: "waiting", text: dead || fold.ended ? "–" : "·", part: 0 };
      row.chips[at].dataset.state = state;
      setText(row.chips[at], text);
      setStyle(row.chips[at], { "--part": part });
      if (cell?.message && state !== "done") told = cell.message;
      dead ||= state === "failed";
    });
    setText(row.name, this.label(item));
    row.name.title = this.label(item);
    setText(row.told, told);
    row.told.classList.toggle("bad", dead);
  }
}
