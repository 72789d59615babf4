// Live widgets: what a flow's output nodes publish, in batches. Data is taken at once and drawn at
// most once a frame, so a thousand messages a second cost sixty drawings.

import { arrange, h, setText } from "./dom.js";
import { brief } from "./text.js";

const LINES = 200; // of a log, in the document
const ROWS_MS = 100; // a table is drawn at most this often

/** A widget for a node, or undefined where the node is none. */
export function widget({ id, type, config = {} }) {
  const kinds = { chart: Chart, table: Table, "log-view": Logs };
  return kinds[type] && new kinds[type](config.title || id, config);
}

class Widget {
  items = 0;
  faults = 0;

  constructor(title, body) {
    this.told = h("span.muted");
    this.element = h("section.widget", { "aria-label": title }, h("div.bar", h("h3", title), this.told), body);
  }

  /** @param {Array<{timestamp: number, value: any, metadata?: {error?: string}}>} batch */
  take(batch) {
    this.items += batch.length;
    const good = batch.filter((item) => !item.metadata?.error);
    this.faults += batch.length - good.length;
    this.add(good);
    this.dirty = true;
  }

  /** @param {number} now milliseconds */
  draw(now) {
    if (!this.dirty || now - (this.drawn ?? -Infinity) < this.pace) return;
    this.dirty = false;
    this.drawn = now;
    setText(this.told, `${this.items.toLocaleString("en")}${this.faults ? ` · ${this.faults} not shown` : ""}`);
    this.render();
  }
}

const TONES = ["--act", "--run", "--warn", "--good", "--bad"];

class Chart extends Widget {
  pace = 0;
  points = [];

  constructor(title, { points = 100 }) {
    const canvas = h("canvas.chart", { role: "img", "aria-label": title });
    super(title, canvas);
    Object.assign(this, { canvas, most: points, legend: h("p.legend.muted") });
    this.element.append(this.legend);
  }

  add(items) {
    for (const { timestamp, value } of items) this.points.push([timestamp, typeof value === "object" ? value : { value }]);
    if (this.points.length > this.most) this.points.splice(0, this.points.length - this.most);
  }

  render() {
    const names = [...new Set([...Object.keys(this.points[0]?.[1] ?? {}), ...Object.keys(this.points.at(-1)?.[1] ?? {})])];
    const { width, height, context } = this.#fresh();
    const [first, last] = [this.points[0]?.[0] ?? 0, this.points.at(-1)?.[0] ?? 1];
    const { low, high } = range(this.points, names);
    const x = (time) => 44 + ((time - first) / Math.max(1, last - first)) * (width - 52);
    const y = (value) => height - 18 - ((value - low) / (high - low || 1)) * (height - 28);
    this.#axes(context, { low, high, first, last, y, width, height });
    names.forEach((name, at) => this.#line(context, name, tone(this.canvas, TONES[at % TONES.length]), x, y));
    const newest = this.points.at(-1)?.[1] ?? {};
    setText(this.legend, names.map((name) => `${name} ${(newest[name] ?? NaN).toPrecision(4)}`).join("   "));
  }

  #fresh() {
    const scale = globalThis.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (this.canvas.width !== Math.round(width * scale)) [this.canvas.width, this.canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
    const context = this.canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    return { width, height, context };
  }

  #axes(context, { low, high, first, last, y, width, height }) {
    context.fillStyle = tone(this.canvas, "--soft");
    context.strokeStyle = tone(this.canvas, "--line");
    context.font = "11px system-ui";
    context.textAlign = "right";
    for (const value of [low, (low + high) / 2, high]) {
      context.fillText(short(value), 38, y(value) + 4);
      context.beginPath();
      context.moveTo(44, y(value));
      context.lineTo(width - 8, y(value));
      context.stroke();
    }
    context.fillText(`${((last - first) / 1000).toFixed(1)} s`, width - 8, height - 3);
  }

  /** Of several points on one pixel, the highest and the lowest: no peak is lost. */
  #line(context, name, colour, x, y) {
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.beginPath();
    let column = NaN;
    let [low, high] = [0, 0];
    const flush = () => Number.isNaN(column) || (context.lineTo(column, y(low)), context.lineTo(column, y(high)));
    for (const [time, values] of this.points) {
      const value = values[name];
      if (typeof value !== "number") continue;
      const at = Math.round(x(time));
      if (at !== column) (flush(), ([column, low, high] = [at, value, value]));
      else [low, high] = [Math.min(low, value), Math.max(high, value)];
    }
    flush();
    context.stroke();
  }
}

function range(points, names) {
  let [low, high] = [Infinity, -Infinity];
  for (const [, values] of points) {
    for (const name of names) {
      const value = values[name];
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return Number.isFinite(low) ? { low, high } : { low: 0, high: 1 };
}

const tone = (element, name) => getComputedStyle(element).getPropertyValue(name).trim();
const short = (value) => (Math.abs(value) >= 1000 ? value.toExponential(1) : String(Number(value.toPrecision(3))));

class Table extends Widget {
  pace = ROWS_MS;
  rows = [];

  constructor(title, { columns = [], page = 50 }) {
    const [head, body] = [h("thead"), h("tbody")];
    super(title, h("div.widget-rows", h("table", head, body)));
    Object.assign(this, { head, body, named: columns, page });
  }

  add(items) {
    this.rows = [...items.slice(-this.page).reverse(), ...this.rows].slice(0, this.page);
  }

  render() {
    const columns = this.named.length ? this.named : [...new Set(this.rows.flatMap(({ value }) => Object.keys(value)))];
    if (this.head.dataset.columns !== columns.join()) {
      this.head.dataset.columns = columns.join();
      this.head.replaceChildren(h("tr", ["time", ...columns].map((name) => h("th", { scope: "col" }, name))));
    }
    arrange(this.body, this.rows.map((row) => (row.node ??= h("tr", h("td.muted", clock(row.timestamp)), columns.map((name) => h("td", cell(row.value[name])))))));
  }
}

const cell = (value) => (typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(6) : value === undefined ? "" : brief(value, 40));
const clock = (timestamp) => new Date(timestamp).toISOString().slice(11, 23);
const LEVELS = ["debug", "info", "warn", "error"];

class Logs extends Widget {
  pace = ROWS_MS;
  lines = [];
  level = "debug";

  constructor(title, { lines = 1000 }) {
    const list = h("ol.widget-rows.log-lines.plain", { tabindex: 0 });
    super(title, list);
    const choose = h("select", { "aria-label": "Level", change: () => ((this.level = choose.value), (this.dirty = true)) },
      LEVELS.map((level) => h("option", { value: level }, level)));
    Object.assign(this, { list, most: lines });
    this.told.after(choose);
  }

  add(items) {
    this.lines = [...this.lines, ...items].slice(-this.most);
  }

  render() {
    const least = LEVELS.indexOf(this.level);
    const shown = this.lines.filter(({ value }) => LEVELS.indexOf(value.level) >= least).slice(-LINES);
    const end = this.list.scrollTop + this.list.clientHeight >= this.list.scrollHeight - 4;
    arrange(this.list, shown.map((line) => (line.node ??= h("li", { "data-level": line.value.level, title: line.value.details ? brief(line.value.details, 300) : null },
      h("span.muted", clock(line.timestamp)), h("span.level", line.value.level), h("span", line.value.message)))));
    if (end) this.list.scrollTop = this.list.scrollHeight;
  }
}
