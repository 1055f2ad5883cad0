// Curves of several runs on shared axes, seeds as bands on demand; figures with linked zoom.
import { chart } from "./chart.js";
import { color, el, get, note, number, whenSeen } from "./dom.js";
import { linked } from "./linked.js";
import { show } from "./views.js";

for (const pair of document.querySelectorAll("[data-view]")) whenSeen(pair, () => show(pair, { api: pair.dataset.api, name: pair.dataset.view, kind: "matrix" }));

const host = document.querySelector("[data-curves]"), box = document.getElementById("bands"); // neither where nothing was measured
const { metrics } = host ? await get(host.dataset.curves) : { metrics: {} };
const charts = new Map();

// What was measured at one step is a number and no curve: one number a run, in the order of the runs.
const once = Object.entries(metrics).filter(([, lines]) => lines.every((line) => line.x.length < 2));
for (const [name, lines] of Object.entries(metrics)) {
  if (once.some(([other]) => other === name)) continue;
  const place = el("div", { class: "chart" }, el("h3", {}, name));
  host.append(place);
  charts.set(name, chart(place, { lines: single(lines), xLabel: "step", sync: "compare", title: name }));
}
if (host && !charts.size && !once.length) host.append(note("Nothing was measured in these runs."));
if (once.length) host.after(onceTable());
box?.addEventListener("change", () => {
  for (const [name, lines] of Object.entries(metrics)) charts.get(name)?.set(box.checked ? pooled(lines) : single(lines));
});
for (const row of document.querySelectorAll("[data-linked]")) linked(row);

function onceTable() {
  const runs = new Map(once.flatMap(([, lines]) => lines.map((line) => [line.index, line.label])));
  const cells = (lines) => [...runs.keys()].map((index) => el("td", { class: "num" }, number(lines.find((line) => line.index === index)?.y[0] ?? null)));
  const heads = [...runs].map(([index, label]) => el("th", { scope: "col", class: "num" }, el("i", { class: `dot dot-${index % 8}` }), label));
  const table = el("table", { class: "once-table" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "measured once"), ...heads)), el("tbody", {}, ...once.map(([name, lines]) => el("tr", {}, el("th", { scope: "row" }, name), ...cells(lines)))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Measured once" }, table);
}

function single(lines) {
  return lines.map((line) => ({ name: line.label, x: line.x, y: line.y, color: color(line.index) }));
}

// Mean over the runs of a group at every step that all of them have; the band goes from least to greatest.
function pooled(lines) {
  const groups = new Map();
  for (const line of lines) groups.set(line.group, [...(groups.get(line.group) || []), line]);
  return [...groups.values()].map((same) => {
    if (same.length === 1) return single(same)[0];
    const tables = same.map((line) => new Map(line.x.map((x, i) => [x, line.y[i]])));
    const x = same[0].x.filter((step) => tables.every((t) => t.has(step)));
    const values = x.map((step) => tables.map((t) => t.get(step)));
    return { name: `${same.length} seeds`, x, y: values.map((v) => v.reduce((a, b) => a + b) / v.length), low: values.map((v) => Math.min(...v)), high: values.map((v) => Math.max(...v)), color: color(same[0].index) };
  });
}
