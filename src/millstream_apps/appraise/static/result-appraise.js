// An appraisal on the built-in page: a card for each part, which fills when its packet comes, so
// `early`: rendered from the first event on (see Context in the page's result.js).

import { h } from "./dom.js";

document.head.append(h("link", { rel: "stylesheet", href: new URL("result-appraise.css", import.meta.url) }));

export const early = true;

const WORDS = { authentic: "Authentic", not_authentic: "Not authentic", undetermined: "No verdict" };
const CARDS = [
  ["authenticity", "Authenticity", verdict],
  ["details", "Pin", details],
  ["pricing", "Price", price],
  ["display", "Display page", pages],
];
const READS = { authenticity: ["authenticity", "details"], details: ["details", "characters"], pricing: ["pricing"], display: ["display"] };

/** What stands in an element, by card: one that did not change keeps its nodes. */
const known = new WeakMap();

/**
 * @param {HTMLElement} element
 * @param {any} _ the whole: its parts are read step by step
 * @param {import("../../../millstream/server/static/result.js").Context} context
 */
export function render(element, _, context) {
  if (!known.has(element)) known.set(element, frame(element));
  const shown = known.get(element);
  for (const [step, title, fill] of CARDS) {
    const cells = READS[step].map((name) => context.step(name));
    const key = JSON.stringify([cells.map((cell) => [cell?.state, cell?.attempt]), context.ended]);
    const card = shown.get(step);
    if (card.key === key) continue;
    card.key = key;
    const [cell] = cells;
    card.node.dataset.state = cell?.state ?? "waiting";
    card.body.replaceChildren(...content(title, cell, fill, context).flat().filter(Boolean));
  }
}

function frame(element) {
  const shown = new Map(CARDS.map(([step, title]) => {
    const body = h("div.pin-body");
    return [step, { body, node: h(`section.pin-card.pin-${step}`, { "aria-label": title }, h("h4", title), body) }];
  }));
  element.replaceChildren(h("div.pin-cards", [...shown.values()].map(({ node }) => node)));
  return shown;
}

function content(title, cell, fill, context) {
  if (cell?.state === "done") return [fill(cell.value, context, cell)];
  if (cell?.state === "failed") return [h("p.pin-failed", `${title} could not be determined: ${cell.message}`)];
  if (context.ended) return [h("p.muted", "Not reached.")];
  return [h("p.muted", cell ? "At work…" : "Waiting…")];
}

// --- the parts -----------------------------------------------------------------------------------

function verdict(found, context, cell) {
  const { authenticityRating: rating, confidence } = found;
  const front = found.evidence.map((each, at) => [each, at + 1]).filter(([each]) => each.view === "front");
  const numbers = rating === null ? "" : `rating ${rating} of 100, confidence ${Math.round(confidence * 100)} %`;
  return [
    h("p.pin-verdict", { "data-verdict": found.verdict }, h("strong", WORDS[found.verdict]), h("span.muted", numbers)),
    (cell.fallback || found.note) && h("p.muted", found.note ?? "The cheaper check was used."),
    h("div.pin-pictures", photo(context, front.map(([each]) => each)), reference(context)),
    found.evidence.length > 0 && evidence(found.evidence),
  ];
}

function photo(context, marked) {
  const url = context.picture(0);
  if (!url) return null;
  const title = marked.map((each, at) => `${at + 1}: ${each.title}`).join(", ");
  return h("figure", h("img", { src: url, alt: "Your photo", title }), h("figcaption.muted", "Your photo"));
}

function reference(context) {
  const card = context.step("details")?.value?.reference;
  if (!card) return null;
  const url = context.url(`api/catalogue/${encodeURIComponent(card.id)}/photos/front`);
  return h("figure", h("img", { src: url, alt: "Reference", loading: "lazy" }), h("figcaption.muted", `Reference: ${card.name}`));
}

function evidence(all) {
  const rows = all.map((each, at) => h("tr", { "data-reading": each.reading },
    h("td", h("span.pin-number", at + 1)),
    h("td", { title: each.text }, each.title, h("small.muted", ` ${each.view}`)),
    h("td", amount(each.value, each.unit)), h("td.muted", amount(each.threshold, each.unit)),
    h("td.pin-reading", each.reading)));
  const heads = ["", "Compared", "Measured", "Limit", "Reading"].map((said) => h("th", said));
  return h("table.pin-evidence", h("thead", h("tr", heads)), h("tbody", rows));
}

const amount = (value, unit) => `${Number(value.toPrecision(4))}${unit ? ` ${unit}` : ""}`;

function details({ reference: card }, context) {
  if (!card) return h("p", "Not identified: ", context.step("authenticity")?.value?.note ?? "see the evidence.");
  const characters = context.step("characters");
  const rows = [
    ["Name", card.name],
    ["Characters", characters?.value?.characters || (characters?.state === "failed" ? "could not be determined" : "")],
    ["Series", card.series],
    ["Edition", card.edition],
    ["Number", card.id],
    ["Notes", card.notes],
  ];
  return h("dl", rows.filter(([, said]) => said).map(([name, said]) => [h("dt", name), h("dd", said)]).flat());
}

function price({ summary, sales }) {
  if (!summary) return h("p", "No price: the catalogue has no sales to compare with.");
  const money = (said) => `${Number(said).toLocaleString("en", { minimumFractionDigits: 2 })} ${summary.currency}`;
  return [
    h("p.pin-price", h("strong", money(summary.median)), h("span.muted", `median of ${summary.count} sales`)),
    h("p.muted", `Spread ${money(summary.low)} to ${money(summary.high)}; the latest on ${summary.last}`),
    chart(sales, summary),
  ];
}

/** Sales by date: a dot each, a line at the median, a band for the spread. */
function chart(sales, { median, low, high, first, last }) {
  const [width, height, left, base] = [420, 150, 50, 126];
  const days = sales.map(({ date }) => Date.parse(date));
  const [from, to] = [Math.min(...days), Math.max(...days)];
  const top = Math.max(high, ...sales.map((sale) => Number(sale.price))) * 1.1 || 1;
  const x = (day) => (to === from ? (left + width) / 2 : left + 8 + ((width - left - 16) * (day - from)) / (to - from));
  const y = (said) => base - (base - 8) * (Number(said) / top);
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "pin-chart", "aria-label": `Sales from ${first} to ${last}` },
    svg("rect", { class: "band", x: left, width: width - left, y: y(high), height: Math.max(1, y(low) - y(high)) }),
    svg("line", { class: "median", x1: left, x2: width, y1: y(median), y2: y(median) }),
    svg("line", { class: "axis", x1: left, x2: width, y1: base, y2: base }),
    svg("text", { x: left - 6, y: y(median) + 4, "text-anchor": "end" }, String(median)),
    svg("text", { x: left, y: base + 16 }, first), svg("text", { x: width, y: base + 16, "text-anchor": "end" }, last === first ? "" : last),
    ...sales.map((sale, at) => svg("circle", { class: "sale", cx: x(days[at]), cy: y(sale.price), r: 3.5 },
      svg("title", {}, `${sale.date}: ${sale.price} ${sale.currency}`))));
}

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function pages({ pages: found }, context) {
  const url = (view) => context.url(`api/analyses/${context.run}/${view}`);
  const names = { front: "Front", back: "Back", angled: "Angled view" };
  return h("p.pin-pages", Object.keys(found).map((view) => h("a", { href: url(view), target: "_blank", rel: "noopener" }, names[view])));
}
