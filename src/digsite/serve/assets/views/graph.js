// Nodes and weighted edges: layers from left to right where nodes have one, a circle otherwise.
import { el, fitting, note, number, svg } from "../dom.js";

export function draw(stage, data) {
  if (!data.nodes.length) return stage.append(note("There are no nodes."));
  const width = fitting(stage, 760), { places, height } = layout(data.nodes, width);
  const strongest = Math.max(...data.edges.map((e) => Math.abs(e.weight ?? 1)), 1e-12);
  const readout = el("p", { class: "readout" }, "Point at a node, or reach it with Tab, to see its edges.");
  const edges = data.edges.filter((e) => places.has(e.source) && places.has(e.target)).map((e) => {
    const [a, b] = [places.get(e.source), places.get(e.target)], weight = e.weight ?? 1, strength = Math.abs(weight) / strongest;
    const line = svg("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y, class: weight < 0 ? "negative" : "positive", "stroke-width": 0.5 + 3.5 * strength, "stroke-opacity": 0.15 + 0.7 * strength, "stroke-dasharray": weight < 0 ? "5 3" : false });
    return { ...e, weight, line };
  });
  const nodes = data.nodes.map((node) => {
    const at = places.get(node.id), radius = 7 + 5 * Math.min(1, Math.max(0, node.size ?? 0));
    const group = svg("g", { tabindex: "0", role: "button", "aria-label": String(node.label ?? node.id) }, svg("circle", { cx: at.x, cy: at.y, r: radius }), svg("text", { x: at.x, y: at.y - radius - 4, "text-anchor": "middle" }, String(node.label ?? node.id)));
    const light = () => {
      const mine = edges.filter((e) => e.source === node.id || e.target === node.id);
      for (const e of edges) e.line.classList.toggle("dim", !mine.includes(e));
      const strongestFirst = [...mine].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, 5);
      readout.textContent = `${node.label ?? node.id}: ${mine.length} edges. ${strongestFirst.map((e) => `${e.source === node.id ? e.target : e.source}: ${number(e.weight, 3)}`).join(", ")}`;
    };
    const dark = () => { for (const e of edges) e.line.classList.remove("dim"); };
    for (const name of ["pointerenter", "focus"]) group.addEventListener(name, light);
    for (const name of ["pointerleave", "blur"]) group.addEventListener(name, dark);
    return group;
  });
  stage.append(svg("svg", { class: "graph", viewBox: `0 0 ${width} ${height}` }, ...edges.map((e) => e.line), ...nodes), readout,
    note(`Blue and solid: positive; orange and dashed: negative; the widest edge is ${number(strongest, 3)}.${data.left_out ? ` The ${data.left_out} weakest edges are left out.` : ""}`));
}

function layout(nodes, width) {
  const layers = new Map();
  for (const node of nodes) layers.set(node.layer ?? null, [...(layers.get(node.layer ?? null) || []), node]);
  const places = new Map();
  if (layers.size === 1) {
    const height = 460, radius = Math.min(190, 60 + nodes.length * 8);
    nodes.forEach((node, i) => {
      const angle = (2 * Math.PI * i) / nodes.length - Math.PI / 2;
      places.set(node.id, { x: node.x ?? width / 2 + Math.min(1.5 * radius, width / 2 - 40) * Math.cos(angle), y: node.y ?? height / 2 + radius * Math.sin(angle) });
    });
    return { places, height };
  }
  const tallest = Math.max(...[...layers.values()].map((layer) => layer.length)), height = Math.min(900, Math.max(260, 42 * tallest));
  [...layers.keys()].sort((a, b) => (a ?? 0) - (b ?? 0)).forEach((key, column) => {
    const layer = layers.get(key), x = 60 + (column * (width - 120)) / (layers.size - 1);
    layer.forEach((node, i) => places.set(node.id, { x, y: 30 + ((i + 0.5) * (height - 50)) / layer.length }));
  });
  return { places, height };
}
