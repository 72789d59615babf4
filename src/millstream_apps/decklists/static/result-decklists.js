// Decklists on the built-in page: a card for each deck, the files that failed, and what one does
// with them. Called again whenever there is more (see Context in the page's result.js).

import { arrange, copy, flash, h, setText } from "./dom.js";
import { many } from "./text.js";

document.head.append(h("link", { rel: "stylesheet", href: new URL("result-decklists.css", import.meta.url) }));

const SECTIONS = [
  ["legend", "Legend"],
  ["main_deck", "Main deck"],
  ["battlefields", "Battlefields"],
  ["runes", "Runes"],
  ["side_deck", "Side deck"],
];
const HEADINGS = Object.fromEntries(SECTIONS);
const EXACT = { exact_full: "the whole name", base_name: "the base name", comma_inserted: "the name, with its comma" };

/** Decks that stand in an element, by item: one that did not change keeps its nodes. */
const known = new WeakMap();

/**
 * @param {HTMLElement} element
 * @param {Array<any>} decks
 * @param {import("../../../millstream/server/static/result.js").Context} context
 */
export function render(element, decks, context) {
  if (!known.has(element)) known.set(element, frame(element));
  const { told, retry, failures, grid, shown } = known.get(element);
  decks.forEach((deck, at) => {
    const item = context.items[at];
    if (shown.get(item)?.deck !== deck) shown.set(item, { deck, node: card(deck, item, context) });
  });
  arrange(grid, context.items.map((item) => shown.get(item).node));
  setText(told, summary(decks));
  const failed = context.missing.filter(({ item }) => item !== null);
  failures.replaceChildren(...failed.map((fault) => failure(fault, context)));
  retry.hidden = !(context.state === "completed" && failed.length);
  if (!retry.disabled) setText(retry, `Retry the failed ${failed.length === 1 ? "file" : "files"}`);
  retry.onclick = () => again(retry, failed, context);
}

function frame(element) {
  const told = h("p.muted");
  const retry = h("button", { hidden: true });
  const [failures, grid] = [h("ul.deck-failures.plain"), h("div.decks")];
  element.replaceChildren(h("div.bar.deck-bar", told, retry), failures, grid);
  return { told, retry, failures, grid, shown: new Map() };
}

function summary(decks) {
  if (!decks.length) return "No deck yet.";
  const sum = (name) => decks.reduce((total, deck) => total + deck.stats[name], 0);
  return `${many(decks.length, "deck")}, ${sum("matched_cards")} of ${many(sum("total_cards"), "card")} matched`;
}

function failure({ item, code, message }, context) {
  return h("li", h("strong", context.label(item)), h("span", message), h("code.muted", code));
}

/** Starts a run over the failed files alone. Its answer streams, but the page follows it natively. */
async function again(button, failed, context) {
  button.disabled = true;
  try {
    const path = `api/v1/batches/${encodeURIComponent(context.run)}/retry`;
    const response = await fetch(context.url(path), { method: "POST" });
    if (!response.ok) throw new Error(await reason(response));
    const run = decodeURIComponent(new URL(response.headers.get("Location"), response.url).pathname.split("/").pop());
    await response.body?.cancel();
    context.follow(run, failed.map(({ item }) => context.label(item)));
  } catch (error) {
    flash(button, error.message);
  } finally {
    button.disabled = false;
  }
}

async function reason(response) {
  const { detail } = await response.json().catch(() => ({}));
  return typeof detail === "string" ? detail : `the server answered ${response.status}`;
}

// --- a deck ---------------------------------------------------------------------------------------

function card(deck, item, context) {
  const { metadata: about, stats } = deck;
  const picture = context.picture(item);
  const accuracy = h("progress", { max: 100, value: stats.accuracy, "aria-label": "Cards matched" });
  return h("article.deck", { "aria-label": about.deck_name ?? context.label(item) },
    h("header",
      picture && h("a", { href: picture, target: "_blank", title: "The picture as it was sent" }, h("img", { src: picture, alt: "", loading: "lazy" })),
      h("div.deck-title",
        h("h4", { lang: "zh" }, about.deck_name ?? "Deck without a name"),
        h("p", about.legend_name_en),
        h("p.muted", [about.player, about.event, about.date].filter(Boolean).join(" · ") || "No player, event or date in the picture"),
        h("p.muted.deck-file", { title: context.label(item) }, context.label(item))),
      about.placement && h("span.deck-place", { "data-place": about.placement, title: "Placement" }, `#${about.placement}`)),
    h("div.deck-stats", accuracy, h("span", `${stats.matched_cards} of ${stats.total_cards} matched`), h("span.muted", `${stats.accuracy} %`)),
    deck.unmatched.length ? unmatched(deck.unmatched) : null,
    SECTIONS.filter(([name]) => deck[name].length).map(([name, heading]) => section(heading, deck[name])),
    h("footer", exporter("Copy as text", "text", deck, context), exporter("Copy as CSV", "csv", deck, context)));
}

function section(heading, entries) {
  const copies = entries.reduce((sum, { quantity }) => sum + quantity, 0);
  return h("section", h("h5", heading, h("span.muted", copies)), h("ol.plain", entries.map(entry)));
}

function entry({ quantity, name_cn, name_en, card_number, image_url_en, match_type, match_score }) {
  const exact = EXACT[match_type];
  const score = Math.round(match_score);
  const mark = exact
    ? h("span.deck-mark", { title: `Matched by ${exact}, ${score} %` }, match_type === "exact_full" ? "" : "=")
    : h("span.deck-mark.fuzzy", { title: `Not read exactly: the nearest name (${match_type}), ${score} % alike` }, `≈ ${score}`);
  return h("li.deck-entry", h("span.deck-count", `${quantity}×`),
    h("span.deck-name", h("span", { lang: "zh" }, name_cn), h("span.muted", name_en)),
    mark, number(card_number, image_url_en));
}

/** A card's number: a link to its picture elsewhere, which this page does not load. */
function number(text, url) {
  const safe = /^https?:\/\//.test(url);
  return safe ? h("a.deck-number", { href: url, target: "_blank", rel: "noopener noreferrer", title: "Its picture, on another site" }, text) : h("span.deck-number", text);
}

function unmatched(entries) {
  return h("section.deck-unmatched", h("h5", "Not matched", h("span", entries.length)),
    h("ol.plain", entries.map(({ quantity, name_cn, section: where }) => h("li.deck-entry", h("span.deck-count", `${quantity}×`),
      h("span.deck-name", h("span", { lang: "zh" }, name_cn || "(unreadable)")), h("span"), h("span", HEADINGS[where] ?? where)))));
}

function exporter(words, format, deck, context) {
  const click = async () => {
    try {
      const headers = { "Content-Type": "application/json" };
      const response = await fetch(context.url(`api/v1/export?format=${format}`), { method: "POST", headers, body: JSON.stringify(deck) });
      if (!response.ok) throw new Error(await reason(response));
      await copy(await response.text(), button);
    } catch (error) {
      flash(button, error.message);
    }
  };
  const button = h("button.quiet", { click }, words);
  return button;
}
