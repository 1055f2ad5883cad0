// A zoo: any two labels against each other, every point a network; a network's layers and their spectra.
import { chart } from "./chart.js";
import { painted } from "./colors.js";
import { el, get, note, number, whenSeen } from "./dom.js";
import { scatter } from "./scatter.js";

const map = document.querySelector("[data-map]");
if (map) drawMap(map);
for (const host of document.querySelectorAll("[data-layer]")) whenSeen(host, () => drawLayer(host));

async function drawMap(host) {
  const { columns, rows, total } = await get(host.dataset.map);
  const numeric = columns.filter((_, i) => rows.some((row) => row[i] !== "") && rows.every((row) => row[i] === "" || Number.isFinite(Number(row[i]))));
  const few = columns.filter((_, i) => { const n = new Set(rows.map((row) => row[i])).size; return n > 1 && n <= 8; });
  if (numeric.length < 2) return host.append(note("There are no two numbers to plot against each other."));
  const measured = numeric.filter((name) => /accuracy|loss|error|gap/.test(name));
  const choose = (label, names, value) => el("label", {}, label, el("select", { onchange: redraw, name: label }, ...names.map((n) => el("option", { value: n, selected: n === value }, n || "nothing"))));
  const tools = el("div", { class: "tools" }, choose("across", numeric, numeric.find((n) => /^lr$|learning_rate/.test(n)) || numeric.find((n) => !measured.includes(n) && !["member", "run"].includes(n)) || numeric[0]), choose("up", numeric, measured.find((n) => n.startsWith("test")) || measured[0] || numeric.at(-1)), choose("color by", ["", ...few], few[0] || ""));
  const stage = el("div");
  host.append(tools, stage);
  redraw();
  function redraw() {
    const [x, y, by] = [...tools.querySelectorAll("select")].map((s) => s.value), at = (name) => columns.indexOf(name);
    const groups = new Map();
    rows.forEach((row, i) => {
      const name = by ? `${by} ${row[at(by)]}` : "members";
      if (!groups.has(name)) groups.set(name, { name, x: [], y: [], link: [] });
      const line = groups.get(name);
      line.x.push(row[at(x)] === "" ? NaN : Number(row[at(x)]));
      line.y.push(row[at(y)] === "" ? NaN : Number(row[at(y)]));
      line.link.push(`${host.dataset.zoo}/${i}`);
    });
    stage.replaceChildren();
    scatter(stage, { lines: [...groups.values()].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true })), xLabel: x, yLabel: y, large: true });
    if (total > rows.length) stage.append(note(`The first ${rows.length} of ${total} members.`));
  }
}

async function drawLayer(host) {
  const stage = host.querySelector(".stage");
  const layer = await get(host.dataset.layer);
  if (layer.values) {
    const canvas = painted(layer.values.flat(), layer.values.length, layer.values[0].length, layer.low, layer.high, "diverging");
    canvas.className = "weights";
    stage.append(canvas, note(`from ${number(layer.low, 3)} (blue) to ${number(layer.high, 3)} (red); white is zero`));
  }
  if (layer.singular_values) {
    const x = layer.singular_values.map((_, i) => i + 1);
    chart(stage, { lines: [{ name: "singular values", x, y: layer.singular_values }, { name: "edge of noise", x, y: x.map(() => layer.noise_edge), null: true }], xLabel: "rank", yLabel: "singular value", height: 180 });
  }
}
