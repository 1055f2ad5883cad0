// Points that can be pointed at and, where they stand for runs, opened.
import { color, el, fitting, number, svg, tick } from "./dom.js";
import { points } from "./points.js";

const MARKS = ["circle", "square", "diamond", "triangle"];

export function scatter(stage, { lines, xLabel, yLabel, large }) {
  const dots = lines.flatMap((line, group) => line.x.map((x, i) => ({ x, y: line.y[i], low: line.low?.[i], high: line.high?.[i], group, name: line.name, label: line.label?.[i], link: line.link?.[i] })))
    .filter((p) => Number.isFinite(p.x) && Number.isFinite(p.y));
  const width = fitting(stage, 720), height = large ? Math.min(520, width) : 360, pad = { left: 58, right: 16, top: 12, bottom: 44 };
  const heights = dots.flatMap((p) => [p.y, p.low, p.high]).filter(Number.isFinite);
  const [x, y] = [scale(dots.map((p) => p.x), pad.left, width - pad.right), scale(heights, height - pad.bottom, pad.top)];
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "parallel scatter", "data-kind": "plain", role: "group", "aria-label": `${yLabel} against ${xLabel}` });
  axes(picture, x, y, { width, height, pad, xLabel, yLabel });
  const readout = el("p", { class: "readout" });
  for (const p of dots) {
    const dot = mark(MARKS[Math.floor(p.group / 8) % 4], x.at(p.x), y.at(p.y), color(p.group));
    const bar = Number.isFinite(p.low) && Number.isFinite(p.high) ? svg("line", { class: "interval", x1: x.at(p.x), x2: x.at(p.x), y1: y.at(p.low), y2: y.at(p.high), stroke: color(p.group) }) : null;
    const interval = bar ? ` (${number(p.low)} to ${number(p.high)})` : "", called = p.label ?? p.link;
    const say = () => {
      readout.textContent = `${p.name}: ${number(p.x)}, ${number(p.y)}${interval}${called ? ` · ${called}` : ""}`;
      if (p.label != null) document.dispatchEvent(new CustomEvent("pick", { detail: p.label }));
    };
    const node = svg(p.link ? "a" : "g", { "data-point": called ?? p.name, "data-say": `${p.name}: ${number(p.x)}, ${number(p.y)}${interval}${called ? ` · ${called}` : ""}`, ...(p.link ? { href: address(p.link), "aria-label": called } : {}) }, bar, dot);
    if (p.label != null) document.addEventListener("pick", ({ detail }) => node.classList.toggle("picked", detail === p.label));
    node.addEventListener("pointerenter", say);
    node.addEventListener("focus", say);
    picture.append(node);
  }
  const legend = el("div", { class: "tools" }, ...(lines.length > 1 ? lines.map((line, i) => el("span", {}, el("i", { class: `dot dot-${i % 8}` }), line.name)) : []));
  stage.append(legend, picture, readout);
  points(picture);
}

function address(link) {
  if (link.startsWith("/zoo/")) return link;
  const path = link.replace(/^run:/, "");
  return /^[\w.-]+\/[\w.-]+$/.test(path) ? `/runs/${path}` : `/?q=${encodeURIComponent(path)}`;
}

function mark(shape, x, y, fill) {
  const look = { class: "mark", fill, "fill-opacity": 0.75, stroke: "none" };
  if (shape === "square") return svg("rect", { x: x - 3, y: y - 3, width: 6, height: 6, ...look });
  if (shape === "diamond") return svg("path", { d: `M${x - 4} ${y}L${x} ${y - 4}L${x + 4} ${y}L${x} ${y + 4}Z`, ...look });
  if (shape === "triangle") return svg("path", { d: `M${x - 4} ${y + 3}L${x} ${y - 4}L${x + 4} ${y + 3}Z`, ...look });
  return svg("circle", { cx: x, cy: y, r: 3.4, ...look });
}

export function scale(values, from, to) {
  let low = Infinity, high = -Infinity;
  for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); }
  if (!(low < high)) { low = (Number.isFinite(low) ? low : 0) - 0.5; high = low + 1; }
  const pad = (high - low) * 0.04;
  const [a, b] = [low - pad, high + pad];
  return { at: (v) => from + ((v - a) / (b - a)) * (to - from), ticks: ticks(low, high), low, high };
}

export function ticks(low, high, n = 5) {
  const raw = (high - low) / n, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((m) => m * power >= raw) * power;
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) found.push(Number(v.toPrecision(12)));
  return found;
}

function axes(picture, x, y, { width, height, pad, xLabel, yLabel }) {
  for (const v of x.ticks) picture.append(svg("line", { x1: x.at(v), x2: x.at(v), y1: pad.top, y2: height - pad.bottom }), svg("text", { x: x.at(v), y: height - pad.bottom + 15, "text-anchor": "middle" }, tick(v)));
  for (const v of y.ticks) picture.append(svg("line", { x1: pad.left, x2: width - pad.right, y1: y.at(v), y2: y.at(v) }), svg("text", { x: pad.left - 6, y: y.at(v) + 4, "text-anchor": "end" }, tick(v)));
  picture.append(svg("text", { x: (pad.left + width - pad.right) / 2, y: height - 6, "text-anchor": "middle" }, xLabel),
    svg("text", { x: 12, y: (pad.top + height - pad.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(pad.top + height - pad.bottom) / 2})` }, yLabel));
}
