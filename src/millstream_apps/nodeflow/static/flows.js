// The page of live flows: a list, a form to start one, and the one that is open (#flow=…).

import { announce, arrange, h, setText } from "./dom.js";
import { EXAMPLE } from "./flow-example.js";
import { FlowCard } from "./flow-card.js";
import { api, Refused } from "./flow-api.js";
import { ago, many } from "./text.js";

const REFRESH_MS = 3000;
const byId = (id) => document.getElementById(id);

/** @type {Map<string, {node: any, badge: any, told: any}>} */
const rows = new Map();
/** @type {FlowCard | undefined} */
let card;
let timer = 0;

async function refresh() {
  clearTimeout(timer);
  timer = setTimeout(refresh, REFRESH_MS);
  if (document.hidden) return;
  try {
    const { flows } = await api("flows");
    byId("banner").hidden = true;
    arrange(byId("flows"), flows.length ? flows.map(row) : [h("li.muted", "None yet.")]);
  } catch {
    byId("banner").hidden = false;
  }
}

function row({ id, name, run, state, created, nodes, edges }) {
  if (!rows.has(run)) {
    const [badge, told] = [h("span.state"), h("span.muted")];
    const link = h("a", { href: `#flow=${encodeURIComponent(run)}`, title: id }, name || id);
    rows.set(run, { badge, told, node: h("li.flow-row", link, badge, told) });
  }
  const { badge, told, node } = rows.get(run);
  badge.dataset.state = state;
  setText(badge, state);
  setText(told, `${many(nodes, "node")}, ${many(edges, "edge")} · ${ago(created)}`);
  return node;
}

async function start(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  byId("faults").replaceChildren();
  try {
    const body = JSON.stringify(JSON.parse(byId("document").value));
    const { run } = await api("flows", { method: "POST", body, headers: { "Content-Type": "application/json" } });
    location.hash = `flow=${encodeURIComponent(run)}`;
    announce("Started");
    refresh();
  } catch (error) {
    byId("faults").replaceChildren(...faults(error));
  } finally {
    button.disabled = false;
  }
}

/** What is wrong, each with its place in the document. */
function faults(error) {
  const told = error instanceof Refused && error.errors.length ? error.errors : [{ field: "", message: error.message }];
  return told.map(({ field, message }) => h("li", field && h("code", field), message));
}

function obeyAddress() {
  const run = new URLSearchParams(location.hash.slice(1)).get("flow");
  if (!run || card?.run === run) return;
  card?.close();
  card = new FlowCard(run, refresh);
  byId("flow").prepend(card.element);
  card.open();
}

byId("document").value = JSON.stringify(EXAMPLE, null, 1);
byId("start").addEventListener("submit", start);
addEventListener("hashchange", obeyAddress);
document.addEventListener("visibilitychange", refresh);
obeyAddress();
refresh();
globalThis.nodeflow = { get card() { return card; } }; // for the console
