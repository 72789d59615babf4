// The page: pipelines to start, open runs, recent runs. Knows no pipeline in particular. Which runs
// are open stands in the address (#run=…&run=…), so that a reload or a link brings them back.

import { announce, arrange, h, setText } from "./dom.js";
import { Lanes } from "./follow.js";
import { Form } from "./form.js";
import { RunCard } from "./run.js";
import { askJson, persist, runOf, startRun } from "./server.js";
import { ago, many } from "./text.js";

const RECENT = 20;
const REFRESH_MS = 15_000;

const byId = (id) => document.getElementById(id);
const lanes = new Lanes();
const pipelines = new Map();
const forms = new Map();
/** The open ones, by run. */
const runs = new Map();
let chosen = "";

async function loadPipelines() {
  const banner = byId("banner");
  const waiting = () => (banner.hidden = false);
  for (const pipeline of (await persist(() => askJson("pipelines"), { waiting })).pipelines) {
    pipelines.set(pipeline.name, pipeline);
    forms.set(pipeline.name, new Form(pipeline, start));
  }
  banner.hidden = true;
  const names = [...forms.keys()];
  const radios = names.map((name) => h("span.pipeline",
    h("input.unseen", { type: "radio", name: "pipeline", id: `pipeline-${name}`, change: () => choose(name), checked: name === names[0] }),
    h("label", { for: `pipeline-${name}` }, name)));
  const several = names.length > 1;
  byId("pipelines").replaceChildren(h("h2", several ? "Pipelines" : names[0]),
    several ? h("div.pipelines", { role: "radiogroup", "aria-label": "Pipelines" }, radios) : "",
    ...[...forms.values()].map((form) => form.element));
  choose(names[0]);
}

function choose(name) {
  chosen = name;
  for (const [each, { element }] of forms) element.hidden = each !== name;
}

async function start(form) {
  const request = form.request();
  if (!request) return;
  form.busy(`Sending${form.weight}…`);
  const labels = form.labels();
  const lane = await lanes.take(); // the response streams, so it is one of the connections
  try {
    const response = await startRun(form.pipeline.name, request, () => form.busy("No connection; trying again…"));
    open(runOf(response), { pipeline: form.pipeline.name, labels, pictures: form.drop?.empty() }, { response, lane });
  } catch (error) {
    lanes.give(lane);
    form.blame(error);
  } finally {
    form.busy(null);
  }
}

/** Shows a run, or goes to it where it is shown already. */
function open(run, given = {}, opened = undefined) {
  if (!runs.has(run)) {
    const card = new RunCard(run, { lanes, pipelines, open, close, changed: refreshSoon }, given);
    runs.set(run, card);
    byId("runs").prepend(card.element);
    card.open(opened);
    remember();
    refreshSoon();
  }
  runs.get(run).element.scrollIntoView({ block: "nearest" });
}

function close(run) {
  runs.get(run).close();
  runs.delete(run);
  remember();
  byId("runs").focus({ preventScroll: true });
}

function remember() {
  const hash = [...runs.keys()].map((run) => `run=${encodeURIComponent(run)}`).join("&");
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
}

/** Opens the runs that the address names, and leaves those that it does not. */
function obeyAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1)).getAll("run").filter(Boolean);
  if (location.hash && !wanted.length) return; // some other anchor
  for (const run of [...runs.keys()]) if (!wanted.includes(run)) close(run);
  for (const run of wanted) open(run);
}

const rows = new Map();
let timer = 0;

function refreshSoon(ms = 150) {
  clearTimeout(timer);
  timer = setTimeout(refresh, ms);
}

async function refresh() {
  refreshSoon(REFRESH_MS);
  if (document.hidden) return;
  try {
    const { runs: found } = await askJson(`runs?limit=${RECENT}`);
    arrange(byId("recent"), found.length ? found.map(recentRow) : [h("li.muted", "None yet.")]);
  } catch {
    // the server is away; whatever needs it says so, and this list is only behind
  }
}

function recentRow({ id, pipeline, state, created }) {
  if (!rows.has(id)) {
    const click = (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      open(id, { pipeline });
    };
    const [badge, time] = [h("span.state"), h("time.muted", { datetime: created, title: created })];
    rows.set(id, { badge, time, node: h("li", h("a", { href: `#run=${encodeURIComponent(id)}`, click }, pipeline), badge, time) });
  }
  const { badge, time, node } = rows.get(id);
  badge.dataset.state = state;
  setText(badge, state);
  setText(time, ago(created));
  return node;
}

function take(files) {
  const { drop } = forms.get(chosen) ?? {};
  if (!files?.length || !drop) return;
  drop.add(files);
  announce(`${many(files.length, "file")} added`);
}

/** Without this, a browser would leave the page and show the file. */
function dragged(event) {
  if (![...event.dataTransfer.types].includes("Files")) return;
  event.preventDefault();
  document.body.classList.toggle("dropping", event.type === "dragover");
  if (event.type === "drop") take(event.dataTransfer.files);
}

for (const type of ["dragover", "dragleave", "drop"]) addEventListener(type, dragged);
addEventListener("paste", (event) => take(event.clipboardData?.files));
addEventListener("hashchange", obeyAddress);
document.addEventListener("visibilitychange", () => refreshSoon());
byId("refresh").addEventListener("click", refresh);
setInterval(() => runs.forEach((card) => card.fold.ended || card.tick()), 200);
await loadPipelines();
obeyAddress();
refresh();
globalThis.millstream = { runs, lanes }; // what this page has read, for the console
