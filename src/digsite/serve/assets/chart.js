// Lines over a common axis with bands, nulls and marks, drawn by uPlot; labels and units on both axes.
import uPlot from "./vendor/uPlot.js";
import { color, css, number, themed, tick, unit, withAlpha } from "./dom.js";

const WHOLE = [1, 2, 5].flatMap((m) => [...Array(9)].map((_, power) => m * 10 ** power)).sort((a, b) => a - b); // layers and steps have no halves
const whole = (lines) => lines.every((line) => line.x.every(Number.isInteger));
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]]; // after eight colors the dash tells lines apart

// lines: [{name, x, y, low?, high?, null?, color?}]; returns {set(lines), plot()}.
export function chart(host, { lines, xLabel = "", yLabel = "", logX = false, logY = false, marks = [], height: base = 220, sync = "", range = null }) {
  const height = base * unit();
  let plot, current = lines, log = logY;
  const build = () => {
    plot?.destroy();
    const { data, series, bands } = aligned(current, log);
    series[0].label = xLabel || "x";
    plot = new uPlot({
      width: Math.max(host.clientWidth, 240), height, series, bands,
      scales: { x: { time: false, distr: logX ? 3 : 1 }, y: { distr: log ? 3 : 1, range: log ? undefined : range ? () => padded(null, ...range) : padded } },
      axes: [{ ...axis(xLabel, 40), ...(whole(current) ? { incrs: WHOLE } : {}) }, axis(yLabel, 62)],
      cursor: sync ? { sync: { key: sync } } : {},
      hooks: { draw: [(u) => drawMarks(u, marks)], setSeries: [withBand] },
      legend: { live: true },
    }, data, host);
    keyboardLegend(host);
  };
  themed(build);
  new ResizeObserver(() => plot.setSize({ width: Math.max(host.clientWidth, 240), height })).observe(host);
  return {
    set(next) {
      const same = next.length === current.length && next.every((line, i) => line.name === current[i].name);
      current = next;
      if (same) plot.setData(aligned(next, log).data); else build();
    },
    toggleLog() { log = !log; build(); return log; },
  };
}

// A line that is switched off takes its band along.
function withBand(u, i, { show }) {
  if (show == null) return;
  for (const side of [i + 1, i + 2]) if (u.series[side]?.class === "band" && u.series[i].class !== "band") u.setSeries(side, { show });
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
    const stroke = line.null ? css("--null") : line.color || color(i);
    const ys = [shown(line.y)];
    series.push({ label: line.name, stroke, width: 1.6, dash: line.null ? [5, 4] : DASHES[Math.floor(i / 8) % 4], spanGaps: true, value: (u, v) => number(v), points: { show: line.x.length < 40, size: 5 } });
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
