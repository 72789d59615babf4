// The raw log of a run: a list of which only the rows in sight are in the document.

import { arrange, h, setStyle } from "./dom.js";

const ROW = 24; // pixels; the same stands in page.css
const SPARE = 6; // rows above and below those in sight
const MOST = 100_000; // rows kept; the whole log is a download away
const COLUMNS = ["seq", "time", "type", "step", "item", "data"];

export class EventLog {
  /** @type {Array<{event: any, line: string}>} Data stays text until its row is opened. */
  entries = [];
  chosen = null;
  rows = new Map();

  constructor() {
    this.spacer = h("div.spacer");
    const draw = () => this.draw();
    this.view = h("div.log-view", { tabindex: 0, role: "listbox", "aria-label": "Events of this run",
      scroll: draw, keydown: (event) => this.#key(event) }, this.spacer);
    this.detail = h("pre.log-detail", { tabindex: 0, hidden: true });
    const head = h("div.log-row.log-head", { "aria-hidden": "true" }, COLUMNS.map((name) => h(`span.${name}`, name)));
    this.element = h("div.log", head, this.view, this.detail);
  }

  add(taken) {
    for (const { event: { seq, type, step, item, attempt, time }, line } of taken) {
      this.entries.push({ event: { seq, type, step, item, attempt, time }, line });
    }
    if (this.entries.length > 1.1 * MOST) this.entries.splice(0, this.entries.length - MOST);
  }

  /** Lays out what is in sight. Costs nothing while the list is closed. */
  draw() {
    const { view, entries } = this;
    const high = view.clientHeight;
    if (!high) return;
    const atEnd = view.scrollTop + high >= (this.height ?? 0) - ROW;
    this.height = entries.length * ROW;
    setStyle(this.spacer, { height: `${this.height}px` });
    if (atEnd && !this.chosen) view.scrollTop = this.height; // whoever is at the end stays there
    const first = Math.max(0, Math.floor(view.scrollTop / ROW) - SPARE);
    const seen = entries.slice(first, Math.ceil((view.scrollTop + high) / ROW) + SPARE);
    this.rows = new Map(seen.map((entry) => [entry, this.rows.get(entry) ?? this.#row(entry)]));
    seen.forEach((entry, at) => {
      const row = this.rows.get(entry);
      setStyle(row, { transform: `translateY(${(first + at) * ROW}px)` });
      row.setAttribute("aria-selected", entry === this.chosen);
    });
    arrange(this.spacer, [...this.rows.values()]);
  }

  #row(entry) {
    const { event: { seq, time, type, step = "", item = "", attempt }, line } = entry;
    const at = line.indexOf('"data":');
    const values = {
      seq, type, item, time: time.slice(11, 23), step: attempt > 1 ? `${step} ↻${attempt}` : step,
      data: at < 0 ? "" : line.slice(at + 7, Math.min(at + 220, line.length - 1)),
    };
    const choose = () => this.choose(entry === this.chosen ? null : entry);
    const row = h("div.log-row", { role: "option", id: `event-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`, click: choose },
      COLUMNS.map((name) => h(`span.${name}`, values[name])));
    row.dataset.kind = type.split(".").pop();
    return row;
  }

  /** Shows one event in full, or none. */
  choose(entry) {
    this.chosen = entry;
    this.detail.hidden = !entry;
    if (entry) this.detail.textContent = JSON.stringify(JSON.parse(entry.line), null, 2).slice(0, 50_000);
    this.draw();
    this.view.setAttribute("aria-activedescendant", this.rows.get(entry)?.id ?? "");
  }

  #key(event) {
    const { view, entries } = this;
    const page = Math.floor(view.clientHeight / ROW);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") this.choose(null);
    if (!by) return;
    event.preventDefault();
    const from = this.chosen ? entries.indexOf(this.chosen) : entries.length;
    const to = Math.max(0, Math.min(entries.length - 1, from + by));
    view.scrollTop = Math.min(to * ROW, Math.max(view.scrollTop, (to + 1) * ROW - view.clientHeight));
    this.choose(entries[to] ?? null);
  }
}
