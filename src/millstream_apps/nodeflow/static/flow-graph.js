// A flow as a drawing: nodes with their state, edges with what passes on them.

import { setText } from "./dom.js";
import { NODE, curve, layout } from "./flow-layout.js";

const SVG = "http://www.w3.org/2000/svg";

function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** 1234 -> "1.2 k". */
export const count = (n) => (n < 1000 ? String(Math.round(n)) : n < 1e6 ? `${(n / 1e3).toFixed(1)} k` : `${(n / 1e6).toFixed(1)} M`);

export class FlowGraph {
  nodes = new Map();
  edges = new Map();

  /** @param {any} flow its document @param {(id: string) => void} choose a node was clicked */
  constructor(flow, choose) {
    const { places, width, height } = layout(flow.nodes, flow.edges);
    this.element = s("svg", { class: "flow-graph", viewBox: `-8 -8 ${width + 16} ${height + 16}`, role: "group", "aria-label": "Graph" });
    this.element.style.setProperty("max-width", `${width + 16}px`);
    for (const edge of flow.edges) this.#edge(edge, places);
    for (const node of flow.nodes) this.#node(node, places.get(node.id), choose);
  }

  #edge({ source, target }, places) {
    const [from, to] = [places.get(source), places.get(target)];
    const text = s("text", { x: to.x - 6, y: to.y + NODE.height / 2 - 9 });
    const path = s("path", { d: curve(from, to) });
    const key = `${source} ${target}`;
    this.edges.set(key, [...(this.edges.get(key) ?? []), { path, text }]);
    this.element.append(path, text);
  }

  #node({ id, type }, { x, y }, choose) {
    const told = s("text", { x: 10, y: 36, class: "told" });
    const box = s("rect", { width: NODE.width, height: NODE.height, rx: 8 });
    const group = s("g", { transform: `translate(${x},${y})`, class: "flow-node", tabindex: 0, role: "button", "aria-label": `${id}, ${type}` },
      s("title", {}, `${id}: ${type}`), box, s("text", { x: 10, y: 19 }, clipped(id)), told);
    group.addEventListener("click", () => choose(id));
    group.addEventListener("keydown", (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), choose(id)));
    this.nodes.set(id, { group, told, type });
    this.element.append(group);
  }

  select(id) {
    for (const [each, { group }] of this.nodes) group.classList.toggle("chosen", each === id);
  }

  /** @param {any} statistics as GET /flows/{id} tells; null where the flow is not at work */
  update(statistics) {
    for (const [id, { group, told, type }] of this.nodes) {
      const step = statistics?.steps[id];
      group.dataset.state = step ? (step.failed ? "failing" : step.state) : "";
      setText(told, step ? `${type} · ${count(step.made)}${step.failed ? ` · ${count(step.failed)} failed` : ""}` : type);
    }
    const seen = new Map();
    for (const edge of Object.values(statistics?.edges ?? {})) {
      const key = `${edge.source} ${edge.target}`;
      const at = seen.get(key) ?? 0;
      seen.set(key, at + 1);
      const drawn = this.edges.get(key)?.[at];
      if (!drawn) continue;
      drawn.path.classList.toggle("pressed", edge.fill >= 0.8);
      drawn.path.classList.toggle("flowing", edge.rate > 0);
      drawn.text.classList.toggle("lossy", edge.dropped > 0);
      setText(drawn.text, `${count(edge.rate)}/s${edge.dropped ? ` −${count(edge.dropped)}` : ""}`);
      drawn.path.setAttribute("aria-label", `${edge.id}: ${edge.sent} sent, ${edge.delivered} delivered, ${edge.dropped} dropped`);
    }
  }
}

const clipped = (text) => (text.length > 18 ? `${text.slice(0, 17)}…` : text);
