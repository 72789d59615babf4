// A flow among other runs: where its graph and its widgets are.

import { h } from "./dom.js";

export const early = true; // a flow has no result to wait for

export function render(element, _value, { run, url }) {
  if (element.querySelector("a")) return;
  const page = url("assets/flows.html");
  page.hash = `flow=${encodeURIComponent(run)}`;
  element.replaceChildren(h("p", h("a", { href: page.href }, "Open its graph and its widgets")));
}
