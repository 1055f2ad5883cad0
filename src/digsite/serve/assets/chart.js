// Lines over a common axis with bands, nulls and marks, drawn by uPlot; labels and units on both axes.
import uPlot from "./vendor/uPlot.js";
import { color, css, el, number, themed, tick, unit, withAlpha } from "./dom.js";
import { hush, say } from "./points.js";

const WHOLE = [1, 2, 5].flatMap((m) => [...Array(9)].map((_, power) => m * 10 ** power)).sort((a, b) => a - b); // layers and steps have no halves
const whole = (lines) => lines.every((line) => line.x.every(Number.isInteger));
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]]; // after eight colors the dash tells lines apart

// lines: [{name, x, y, low?, high?, null?, color?, baseline?}]; returns {set(lines), look(changes)}.
// `tools` gives a chart its own menu: smoothing, logarithms, range, PNG and CSV; `title` names the files.
export function chart(host, { lines, xLabel = "", yLabel = "", logX = false, logY = false, marks = [], height: base = 220, sync = "", range = null, tools = true, title = "chart", times = null }) {
  const height = base * unit(), look = { logX, logY, smooth: 0, low: null, high: null, byTime: false };
  let plot, current = lines;
  const shown = () => current.map((line) => smoothed(look.byTime && times ? { ...line, x: line.x.map(line.times ?? times) } : line, look.smooth));
  const build = () => {
    plot?.destroy();
    const { data, series, bands } = aligned(shown(), look.logY);
    series[0].label = look.byTime ? "seconds" : xLabel || "x";
    const y = { distr: look.logY ? 3 : 1, range: look.logY ? (u, low, high) => bounded(look, low, high, uPlot.rangeLog(low, high, 10, true)) : (u, low, high) => bounded(look, low, high, range ? padded(null, ...range) : padded(u, low, high)) };
    plot = new uPlot({
      width: Math.max(host.clientWidth, 240), height, series, bands,
      scales: { x: { time: false, distr: look.logX ? 3 : 1 }, y },
      axes: [{ ...axis(look.byTime ? "seconds" : xLabel, 40), ...(whole(current) && !look.byTime && !look.logX ? { incrs: WHOLE } : {}) }, axis(yLabel, 62)],
      cursor: { drag: { x: true, y: true, uni: 24 }, ...(sync ? { sync: { key: sync, scales: ["x", null] } } : {}) },
      hooks: { draw: [(u) => drawMarks(u, marks)], setSeries: [withBand], setCursor: [tellCursor], setSelect: [(u) => { u.zoomedY ||= u.select.width > 0 && u.select.height < u.over.clientHeight - 2; }], setScale: [(u) => menu?.zoomed(isZoomed(u))] },
      legend: { live: true },
    }, data, host);
    plot.over.addEventListener("pointerleave", hush);
    plot.over.addEventListener("dblclick", () => { plot.zoomedY = false; menu?.zoomed(false); });
    keyboardLegend(host);
    menu?.zoomed(false);
  };
  const menu = tools ? chartMenu(host, { look, hasTimes: Boolean(times), redraw: build, plot: () => plot, title }) : null;
  themed(build);
  new ResizeObserver(() => plot.setSize({ width: Math.max(host.clientWidth, 240), height })).observe(host);
  return {
    set(next) {
      const same = next.length === current.length && next.every((line, i) => line.name === current[i].name);
      current = next;
      if (!same) return build();
      const zoomed = isZoomed(plot);
      plot.setData(aligned(shown(), look.logY).data, !zoomed);
      if (zoomed) plot.redraw();
    },
    look(changes) { Object.assign(look, changes); menu?.show(); build(); },
  };
}

// An exponential mean without the pull of its start; the line itself stays behind it, faint, as a band does.
function smoothed(line, share) {
  if (!share || line.null || line.low) return line; // a band belongs to the line as it is
  let sum = 0, weight = 0;
  const y = line.y.map((v) => {
    if (!Number.isFinite(v)) return v;
    sum = share * sum + (1 - share) * v;
    weight = share * weight + (1 - share);
    return sum / weight;
  });
  return { ...line, y, raw: line.y };
}

function bounded(look, low, high, free) {
  const [a, b] = [look.low ?? free[0], look.high ?? free[1]];
  return a < b ? [a, b] : free;
}

const isZoomed = (u) => {
  const xs = u.data[0], { min, max } = u.scales.x;
  return Boolean(u.zoomedY) || (xs?.length > 1 && (min > xs[0] || max < xs.at(-1)));
};

// What stands under the cursor, said beside it.
function tellCursor(u) {
  const { idx, left, top } = u.cursor;
  if (idx == null || left < 0 || !u.over.matches(":hover")) return;
  const box = u.over.getBoundingClientRect();
  const said = u.series.slice(1).map((s, i) => [s, u.data[i + 1][idx]]).filter(([s, v]) => s.show && v != null && s.class !== "band").slice(0, 12);
  if (said.length) say(`${u.series[0].label} ${number(u.data[0][idx])}\n${said.map(([s, v]) => `${s.label}: ${number(v)}`).join("\n")}`, box.left + left, box.top + top);
}

// The menu of one chart, folded until somebody asks.
function chartMenu(host, { look, hasTimes, redraw, plot, title }) {
  const press = (name, key) => el("button", { type: "button", "aria-pressed": String(look[key]), "data-key": key, onclick: () => { look[key] = !look[key]; show(); redraw(); } }, name);
  const smooth = el("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: look.smooth, "aria-label": "smoothing", oninput: () => { look.smooth = Number(smooth.value); redraw(); } });
  const end = (key, label) => el("input", { type: "number", step: "any", placeholder: label, "aria-label": label, onchange: (event) => { look[key] = event.target.value === "" ? null : Number(event.target.value); redraw(); } });
  // As a double click: charts that were zoomed together go back together.
  const reset = el("button", { type: "button", class: "unzoom", hidden: true, onclick: () => plot().over.dispatchEvent(new MouseEvent("dblclick")) }, "reset zoom");
  const box = el("details", { class: "chart-menu" }, el("summary", {}, el("span", {}, "chart"), el("span", { class: "hidden" }, ` ${title}`)), el("div", { class: "tools" },
    el("label", {}, "smooth", smooth), press("log y", "logY"), press("log x", "logX"), hasTimes ? press("by time", "byTime") : null,
    el("label", {}, "y", end("low", "lowest y"), end("high", "highest y")),
    el("button", { type: "button", onclick: () => save(`${title}.png`, picture(plot(), title)) }, "PNG"), el("button", { type: "button", onclick: () => save(`${title}.csv`, `data:text/csv;charset=utf-8,${encodeURIComponent(columns(plot()))}`) }, "CSV")));
  host.append(el("div", { class: "chart-top" }, reset, box));
  function show() {
    smooth.value = look.smooth;
    for (const button of box.querySelectorAll("[data-key]")) button.setAttribute("aria-pressed", String(look[button.dataset.key]));
  }
  return { show, zoomed: (is) => { reset.hidden = !is; } };
}

function save(name, address) {
  el("a", { href: address, download: name.replaceAll(/[^\w.-]+/g, "-") }).click();
}

// The chart with its title and legend on the page's own color: the canvas alone has neither.
function picture(u, title) {
  const from = u.ctx.canvas, line = 18 * devicePixelRatio, named = u.series.slice(1).filter((s) => s.show && s.class !== "band");
  const to = el("canvas", { width: from.width, height: from.height + line * (named.length + 2) }), context = to.getContext("2d");
  context.fillStyle = css("--page");
  context.fillRect(0, 0, to.width, to.height);
  context.font = `600 ${0.72 * line}px system-ui, sans-serif`;
  context.fillStyle = css("--ink");
  context.fillText(title, 0.6 * line, line);
  context.drawImage(from, 0, 1.3 * line);
  context.font = `${0.66 * line}px system-ui, sans-serif`;
  named.forEach((s, i) => {
    const y = from.height + line * (i + 2.1);
    context.fillStyle = typeof s.stroke === "function" ? s.stroke(u, i + 1) : s.stroke;
    context.fillRect(0.6 * line, y - 0.35 * line, 0.8 * line, 3 * devicePixelRatio);
    context.fillStyle = css("--ink");
    context.fillText(s.label, 1.8 * line, y);
  });
  return to.toDataURL("image/png");
}

// What is drawn as a table: the axis, then every line; a name that begins as a formula is no formula.
function columns(u) {
  const cell = (v) => { const text = v == null ? "" : String(v); return /^[=+@]/.test(text) || /[",\n]/.test(text) ? `"${text.replace(/^([=+@])/, "'$1").replaceAll('"', '""')}"` : text; };
  const rows = [u.series.map((s) => cell(s.label)), ...u.data[0].map((_, i) => u.data.map((column) => cell(column[i])))];
  return rows.map((row) => row.join(",")).join("\n");
}

// A line that is switched off takes its band along.
function withBand(u, i, { show }) {
  if (show == null || u.series[i].class === "band") return;
  for (let side = i + 1; u.series[side]?.class === "band"; side++) u.setSeries(side, { show });
}

function padded(u, low, high) {
  if (low == null) return [0, 1];
  const pad = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - pad, high + pad];
}

function axis(label, plain) {
  const u = unit(), size = plain * u, font = (px) => `${Math.round(px * u)}px system-ui, sans-serif`;
  return {
    label, size, labelSize: label ? 18 * u : 0, labelGap: 2, labelFont: font(12), font: font(11),
    stroke: css("--soft"), grid: { stroke: css("--rule"), width: 1 }, ticks: { stroke: css("--rule"), width: 1, size: 4 },
    values: (u, splits) => splits.map((v) => (v == null ? "" : tick(v))),
  };
}

function aligned(lines, log) {
  const shown = (values) => (log ? values.map((v) => (v > 0 ? v : null)) : values); // a logarithm has no place for zero
  const tables = [], series = [{ value: (u, v) => number(v) }], bands = [];
  lines.forEach((line, i) => {
    const stroke = line.null || line.baseline ? css("--null") : line.color || color(i);
    const ys = [shown(line.y)];
    series.push({ label: line.name, stroke, width: 1.6, dash: line.null ? [5, 4] : line.baseline ? [2, 3] : DASHES[Math.floor(i / 8) % 4], spanGaps: true, value: (u, v) => number(v), points: { show: line.x.length < 40, size: 5 } });
    if (line.raw) {
      ys.push(shown(line.raw));
      series.push({ label: `${line.name} itself`, class: "band", stroke: withAlpha(stroke, 0.25), width: 1, spanGaps: true, value: (u, v) => number(v), points: { show: false } });
    }
    if (line.low && line.high) {
      const at = series.length;
      for (const [side, name] of [[line.high, "high"], [line.low, "low"]]) {
        ys.push(shown(side));
        series.push({ label: `${line.name} ${name}`, class: "band", stroke: withAlpha(stroke, 0.25), width: 1, spanGaps: true, value: (u, v) => number(v), points: { show: false } });
      }
      bands.push({ series: [at, at + 1], fill: withAlpha(stroke, 0.15) });
    }
    tables.push(sorted([line.x, ...ys]));
  });
  return { data: tables.length > 1 ? uPlot.join(tables) : tables[0] || [[]], series, bands };
}

// uPlot wants a rising axis; a resumed run may have repeated steps, of which the last counts.
function sorted(columns) {
  const order = columns[0].map((_, i) => i).sort((a, b) => columns[0][a] - columns[0][b] || a - b);
  const kept = order.filter((at, i) => i + 1 === order.length || columns[0][order[i + 1]] !== columns[0][at]);
  return columns.map((column) => kept.map((i) => column[i]));
}

function drawMarks(u, marks) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.strokeStyle = css("--c1");
  ctx.fillStyle = css("--soft");
  ctx.setLineDash([4, 3]);
  ctx.font = `${11 * unit() * devicePixelRatio}px system-ui, sans-serif`;
  for (const mark of marks) {
    const x = u.valToPos(mark.x, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    if (mark.label) ctx.fillText(String(mark.label), x + 4 * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
  }
  ctx.restore();
}

function keyboardLegend(host) {
  for (const entry of host.querySelectorAll(".u-legend .u-series > th")) {
    entry.tabIndex = 0;
    entry.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); entry.click(); }
    });
  }
}
