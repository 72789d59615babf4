// Where a flow's nodes stand: in layers from left to right, each after all it reads. Pure.

export const NODE = { width: 148, height: 46, across: 78, down: 18 };

/**
 * @param {Array<{id: string}>} nodes @param {Array<{source: string, target: string}>} edges
 * @returns {{places: Map<string, {x: number, y: number}>, width: number, height: number}}
 */
export function layout(nodes, edges) {
  const layers = [];
  for (const [id, depth] of depths(nodes, edges)) (layers[depth] ??= []).push(id);
  for (let sweep = 0; sweep < 4; sweep += 1) layers.forEach((layer, at) => at && settle(layer, layers[at - 1], edges));
  const tallest = Math.max(...layers.map((layer) => layer.length));
  const places = new Map();
  layers.forEach((layer, column) => {
    const top = ((tallest - layer.length) * (NODE.height + NODE.down)) / 2;
    layer.forEach((id, row) => places.set(id, { x: column * (NODE.width + NODE.across), y: top + row * (NODE.height + NODE.down) }));
  });
  return {
    places,
    width: layers.length * (NODE.width + NODE.across) - NODE.across,
    height: tallest * (NODE.height + NODE.down) - NODE.down,
  };
}

/** How far each node is from the sources, by the longest way. */
function depths(nodes, edges) {
  const found = new Map(nodes.map(({ id }) => [id, 0]));
  for (let turn = 0; turn < nodes.length; turn += 1) {
    for (const { source, target } of edges) found.set(target, Math.max(found.get(target), found.get(source) + 1));
  }
  return found;
}

/** Orders a layer by the middle of what its nodes read in the layer before. */
function settle(layer, before, edges) {
  const middle = (id) => {
    const rows = edges.filter(({ target }) => target === id).map(({ source }) => before.indexOf(source)).filter((row) => row >= 0);
    return rows.length ? rows.reduce((sum, row) => sum + row, 0) / rows.length : layer.indexOf(id);
  };
  const keys = new Map(layer.map((id) => [id, middle(id)]));
  layer.sort((a, b) => keys.get(a) - keys.get(b));
}

/** A curve from the right of one node to the left of another. */
export function curve(from, to) {
  const [x1, y1, x2, y2] = [from.x + NODE.width, from.y + NODE.height / 2, to.x, to.y + NODE.height / 2];
  const bend = Math.max(30, (x2 - x1) / 2);
  return `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
}
