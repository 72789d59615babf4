// Documents on the built-in page: a card a page, filled as it is read: first what its head says, then
// the article. Called again whenever there is more (see Context in the page's result.js). Serves
// crawl, deepsearch and site alike: their results have the same shape.

import { arrange, copy, h, setText } from "./dom.js";
import { duration, many } from "./text.js";

document.head.append(h("link", { rel: "stylesheet", href: new URL("result-crawl.css", import.meta.url) }));

const EXCERPT = 420;
const WORDS = { raw: "read as it came", probes_first: "several readings compared", headless: "needs a browser", cached: "from the cache" };

/** Cards that stand in an element, by address and how often that came: one that did not change keeps its nodes. */
const known = new WeakMap();

/**
 * @param {HTMLElement} element
 * @param {{preview?: Array<any>, document?: Array<any>}} result
 * @param {import("../../../millstream/server/static/result.js").Context} context
 */
export function render(element, result, context) {
  if (!known.has(element)) known.set(element, frame(element));
  const { told, failures, list, shown } = known.get(element);
  const [previews, documents] = [keyed(result?.preview), keyed(result?.document)];
  const keys = [...new Set([...previews.keys(), ...documents.keys()])];
  for (const key of keys) {
    const [preview, page] = [previews.get(key), documents.get(key)];
    const before = shown.get(key);
    if (before && before.preview === preview && before.page === page) continue;
    shown.set(key, { preview, page, node: page ? card(page) : outline(preview, context.ended) });
  }
  arrange(list, keys.map((key) => shown.get(key).node));
  setText(told, summary([...documents.values()], keys.length, context));
  const failed = new Map(context.missing.map((fault) => [fault.item, fault]));
  failures.replaceChildren(...[...failed.values()].map((fault) => failure(fault, context)));
}

function frame(element) {
  const [told, failures, list] = [h("p.muted"), h("ul.page-failures.plain"), h("div.pages")];
  element.replaceChildren(told, failures, list);
  return { told, failures, list, shown: new Map() };
}

/** Values by address; a second one of the same address has a key of its own. */
function keyed(values) {
  const found = new Map();
  for (const value of values ?? []) {
    if (!value) continue;
    let key = value.url;
    while (found.has(key)) key += " ";
    found.set(key, value);
  }
  return found;
}

function summary(documents, begun, context) {
  if (!begun) return context.ended ? "No page was read." : "No page yet.";
  const words = documents.reduce((sum, { document }) => sum + (document?.word_count ?? 0), 0);
  const coming = begun - documents.length;
  return `${many(documents.length, "document")}, ${many(words, "word")}${coming && !context.ended ? `, ${many(coming, "page")} being read` : ""}`;
}

function failure({ item, code, message }, context) {
  return h("li", h("strong", item === null ? "Search" : context.label(item)), h("span", message), h("code.muted", code));
}

// --- a page -----------------------------------------------------------------------------------------

/** What the head says, while the article is being read. */
function outline({ url, head }, ended) {
  return h("article.doc.coming", { "aria-busy": ended ? null : "true" }, heading(head.title, url), byline(head, url),
    head.description && h("p", head.description), !ended && h("p.muted", "Reading the article …"));
}

function card(page) {
  const { document: doc, url } = page;
  if (!doc) return h("article.doc", heading(null, url), h("p.muted", "Fetched; no document was asked for."));
  return h("article.doc", heading(doc.title, page.final_url || url), byline(doc, url),
    doc.description && h("p", doc.description), facts(page, doc), doc.notes.map((note) => h("p.doc-note", note)),
    doc.text ? text(doc) : h("p.muted", "No article was found on this page."),
    doc.tables.length ? h("details", h("summary", many(doc.tables.length, "table")), doc.tables.map(table)) : null,
    doc.events.length ? h("ul.doc-events.plain", doc.events.map(event)) : null);
}

function heading(title, url) {
  const safe = /^https?:\/\//.test(url);
  return h("h4", safe ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, title || url) : title || url);
}

function byline(told, url) {
  const parts = [told.site_name, told.byline, told.published_iso?.slice(0, 10)].filter(Boolean);
  return h("p.muted.doc-by", { title: url }, parts.length ? parts.join(" · ") : url);
}

function facts(page, doc) {
  const quality = h("span.doc-quality", { title: "Quality, of 100", "data-good": doc.quality_score >= 70 }, `quality ${doc.quality_score}`);
  const parts = [
    many(doc.word_count, "word"), doc.reading_time && `${doc.reading_time} min`, doc.language, many(doc.links.length, "link"),
    WORDS[page.gate_decision] ?? page.gate_decision, duration(page.processing_time_ms),
  ];
  return h("p.doc-facts", quality, parts.filter(Boolean).map((part) => h("span", part)));
}

function text(doc) {
  const short = doc.text.length > EXCERPT ? `${doc.text.slice(0, EXCERPT).replace(/\s+\S*$/, "")} …` : doc.text;
  const button = h("button.quiet", { click: () => copy(doc.markdown || doc.text, button) }, "Copy as Markdown");
  const whole = h("div.doc-whole");
  const toggle = () => whole.childElementCount || whole.append(h("pre", doc.markdown || doc.text));
  return h("div.doc-text", h("p", short), h("details", { toggle }, h("summary", "The whole text"), whole), button);
}

function table({ caption, headers, rows }) {
  const head = headers.length ? h("thead", h("tr", headers.map((cell) => h("th", cell)))) : null;
  const body = rows.slice(0, 50).map((row) => h("tr", row.map((cell) => h("td", cell))));
  return h("div.doc-table", h("table", caption ? h("caption", caption) : null, head, h("tbody", body)));
}

function event({ name, start, location }) {
  return h("li", h("strong", name ?? "Event"), h("span.muted", [start?.slice(0, 16).replace("T", " "), location].filter(Boolean).join(" · ")));
}
