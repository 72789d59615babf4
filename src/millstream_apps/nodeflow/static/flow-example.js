// The flow that the form begins with: two sensors through windows and an alert to widgets.

const edge = (source, target) => ({ source, target });

export const EXAMPLE = {
  id: "boilers",
  name: "A boiler and its draught",
  nodes: [
    { id: "boiler", type: "sine", config: { rate: 500, period: 8, amplitude: 30, offset: 70, noise: 1.5, seed: 1 } },
    { id: "draught", type: "random", config: { rate: 500, kind: "walk", low: 0, high: 20, seed: 2 } },
    { id: "seconds", type: "window", config: { seconds: 1 } },
    { id: "figures", type: "aggregate", config: { figures: ["count", "mean", "rate"], percentiles: [95] } },
    { id: "heat", type: "alert", config: { name: "boiler", warning: 85, critical: 95, hysteresis: 6 } },
    { id: "curve", type: "chart", config: { title: "Boiler, degrees", points: 4000 } },
    { id: "air", type: "chart", config: { title: "Draught", points: 4000 } },
    { id: "rows", type: "table", config: { title: "Boiler, each second" } },
    { id: "alerts", type: "log-view", config: { title: "Alerts" } },
    { id: "record", type: "log" },
  ],
  edges: [
    edge("boiler", "curve"), edge("draught", "air"), edge("boiler", "seconds"), edge("seconds", "figures"), edge("figures", "rows"),
    edge("boiler", "heat"), edge("heat", "alerts"), edge("heat", "record"),
  ],
};
