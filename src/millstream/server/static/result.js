// A pipeline's result where its system brings no renderer of its own (result-<pipeline>.js): JSON,
// made pleasant. A renderer is called again whenever there is more.

import { arrange, h } from "./dom.js";
import { many } from "./text.js";

const MOST = 100; // children shown at a time
const MOST_TEXT = 4000;

/**
 * What a renderer may use. `items`: of a mapped output, each value's item. `missing`: what failed
 * for good. `label`: an item's name. `picture`: the address of the picture that was sent as this
 * item, while this page has it. `step`: a step's Cell, for renderers that export `early = true`: they
 * are called from the first event on. `url`: an address of the application. `follow`: show another run,
 * whose items have these names.
 * @typedef {{run: string, state: string, ended: boolean, items: number[]|null,
 *   missing: Array<{step: string, item: number|null, code: string, message: string}>,
 *   label: (item: number) => string, picture: (item: number) => string|undefined,
 *   step: (name: string) => import("./fold.js").Cell|undefined,
 *   url: (path: string) => URL, follow: (run: string, labels: string[]) => void}} Context
 */

/** What stands in an element, so that values that did not change keep their nodes. */
const known = new WeakMap();

/** @param {HTMLElement} element @param {any} value @param {Context} [context] */
export function render(element, value, context) {
  const before = known.get(element);
  if (!Array.isArray(value)) {
    if (before?.value !== value || !before) element.replaceChildren(whole(value));
    known.set(element, { value });
    return;
  }
  const first = Math.max(0, value.length - MOST);
  const rows = new Map();
  value.slice(first).forEach((each, at) => {
    const key = context?.items?.[first + at] ?? first + at;
    const old = before?.rows?.get(key);
    const label = context?.items ? context.label(key) : String(key + 1);
    rows.set(key, old?.value === each ? old : { value: each, node: h("li", h("span.key", label), node(each)) });
  });
  if (!before?.rows) element.replaceChildren(h("ol.values.plain"));
  const more = first ? [h("li.muted", `${many(first, "earlier value")} not shown: see the log`)] : [];
  arrange(element.firstElementChild, [...more, ...[...rows.values()].map((row) => row.node)]);
  known.set(element, { rows });
}

function whole(value) {
  if (typeof value === "string") return h("p.prose", clipped(value));
  return value === null || typeof value !== "object" ? h("p.scalar", String(value)) : node(value, true);
}

/** One JSON value; nested ones are built when they are opened. */
export function node(value, open = false) {
  if (typeof value === "string") return h("span.json", clipped(value));
  if (value === null || typeof value !== "object") return h("span.json.number", String(value));
  const entries = Object.entries(value);
  const names = entries.slice(0, 5).map(([name]) => name).join(", ").slice(0, 100);
  const told = Array.isArray(value) ? many(entries.length, "value") : names + (entries.length > 5 ? ", …" : "");
  const list = h("dl");
  const fill = () => list.firstChild || more(list, entries, 0);
  if (open) fill();
  return h("details.json", { open, toggle: fill }, h("summary", told || "empty"), list);
}

function more(list, entries, from) {
  for (const [key, value] of entries.slice(from, from + MOST)) list.append(h("dt", key), h("dd", node(value)));
  const left = entries.length - from - MOST;
  if (left <= 0) return;
  list.append(h("button.quiet", { click: (event) => {
    event.target.remove();
    more(list, entries, from + MOST);
  } }, many(left, "more value")));
}

function clipped(text) {
  return text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)}… (${many(text.length - MOST_TEXT, "more character")})` : text;
}
