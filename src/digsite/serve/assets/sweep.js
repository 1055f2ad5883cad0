// Parallel coordinates: one line per run through settings and claims; drag along an axis to keep a range.
import { el, get, note, svg, themed, tick } from "./dom.js";
import { painted, scaleFor } from "./colors.js";
import { ticks as round } from "./scatter.js";

const WIDTH = 980, HEIGHT = 346, TOP = 56, BOTTOM = 316, MOST_WORDS = 12;
const host = document.querySelector("[data-parallel]");
const { settings, runs } = await get(host.dataset.parallel);

const claims = [...new Set(runs.flatMap((run) => Object.keys(run.claims)))];
const wanted = JSON.parse(host.dataset.axes);
const axes = wanted.filter((name) => settings.includes(name) || claims.includes(name))
  .map((name) => (settings.includes(name) ? axis(name, (run) => run.settings[name], "setting") : axis(name, (run) => run.claims[name], "claim")))
  .filter((a) => a.known.length);
if (axes.length < 2 || !runs.some((run) => Object.keys(run.claims).length)) host.append(note("There is something to see once runs have finished."));
else themed(draw);

function axis(name, value, role) {
  const values = runs.map(value), known = values.filter((v) => v != null);
  const numeric = known.every((v) => typeof v === "number");
  const words = [...new Set(known.map((v) => JSON.stringify(v)))].sort((a, b) => (numeric ? JSON.parse(a) - JSON.parse(b) : a < b ? -1 : 1));
  // A few given settings stand evenly, whatever their spacing; measured values stand by size.
  const even = role === "setting" && (words.length <= MOST_WORDS || !numeric);
  const [low, high] = numeric ? [Math.min(...known), Math.max(...known)] : [0, 1];
  const share = (v) => (even ? (words.length > 1 ? words.indexOf(JSON.stringify(v)) / (words.length - 1) : 0.5) : high > low ? (v - low) / (high - low) : 0.5);
  // Round numbers inside of the range, and its two ends where none of them is near: all of them can be read.
  const inside = even ? [] : round(low, high).filter((v) => v >= low && v <= high), step = inside.length > 1 ? inside[1] - inside[0] : high - low;
  const ends = even ? [] : [low, high].filter((end) => inside.every((v) => Math.abs(v - end) > 0.45 * step));
  const every = Math.ceil(words.length / MOST_WORDS);
  const ticks = even ? words.filter((_, i) => i % every === 0).map((w) => JSON.parse(w)) : [...inside, ...ends];
  return { name, role, value, known, at: (run) => (value(run) == null ? null : BOTTOM - share(value(run)) * (BOTTOM - TOP)), tickAt: (v) => BOTTOM - share(v) * (BOTTOM - TOP), ticks, kept: null };
}

function draw() {
  const last = axes.findLast((a) => a.role === "claim") ?? axes.at(-1);
  const readout = el("p", { class: "readout" }, "Drag along an axis to keep a range; click it to let all through. Point at a line, or reach it with Tab.");
  const picture = svg("svg", { class: "parallel", viewBox: `0 0 ${WIDTH} ${HEIGHT}` });
  axes.forEach((a, i) => { a.x = 60 + (i * (WIDTH - 120)) / (axes.length - 1); });
  const lines = runs.map((run) => {
    const points = axes.map((a) => [a.x, a.at(run)]).filter(([, y]) => y != null);
    const y = last.at(run), share = y == null ? 0 : (BOTTOM - y) / (BOTTOM - TOP);
    const path = svg("path", { d: `M${points.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L")}`, stroke: shade(share) });
    const link = svg("a", { href: `/runs/${run.run.split("/").map(encodeURIComponent).join("/")}`, "aria-label": run.run }, path);
    const say = () => { readout.textContent = `${run.run}: ${axes.map((a) => `${a.name} ${text(a.value(run))}`).join(", ")}`; };
    link.addEventListener("pointerenter", say);
    link.addEventListener("focus", say);
    return { run, link, path };
  });
  picture.append(...lines.map((line) => line.link), ...axes.map((a) => group(a, lines)));
  host.replaceChildren(picture, readout);
}

function text(value) {
  return typeof value === "number" ? tick(value) : value == null ? "–" : typeof value === "string" ? value : JSON.stringify(value);
}

function shade(share) {
  const [r, g, b] = painted([matchMedia("(prefers-color-scheme: dark)").matches ? 0.35 + 0.65 * share : 0.9 * share], 1, 1, 0, 1, scaleFor(0, 1)).getContext("2d").getImageData(0, 0, 1, 1).data;
  return `rgb(${r} ${g} ${b})`;
}

function group(a, lines) {
  const area = svg("rect", { x: a.x - 14, y: TOP - 8, width: 28, height: BOTTOM - TOP + 16, fill: "transparent", cursor: "ns-resize" });
  const brush = svg("rect", { class: "brush", x: a.x - 7, width: 14, y: 0, height: 0 });
  let from;
  const place = (event) => { const box = area.getBoundingClientRect(); return TOP - 8 + ((event.clientY - box.top) / box.height) * (BOTTOM - TOP + 16); };
  area.addEventListener("pointerdown", (event) => { from = place(event); area.setPointerCapture(event.pointerId); });
  area.addEventListener("pointermove", (event) => { if (from != null) keep([Math.min(from, place(event)), Math.max(from, place(event))]); });
  area.addEventListener("pointerup", (event) => { if (Math.abs(place(event) - from) < 4) keep(null); from = undefined; });
  function keep(range) {
    a.kept = range;
    brush.setAttribute("y", range?.[0] ?? 0);
    brush.setAttribute("height", range ? range[1] - range[0] : 0);
    for (const { run, path } of lines) path.classList.toggle("dim", axes.some((other) => other.kept && !(other.at(run) >= other.kept[0] - 1 && other.at(run) <= other.kept[1] + 1)));
  }
  return svg("g", {}, svg("line", { x1: a.x, x2: a.x, y1: TOP, y2: BOTTOM }), heading(a),
    ...a.ticks.map((v) => svg("text", { x: a.x + 5, y: a.tickAt(v) + 4 }, text(v))), brush, area);
}

// The name over its axis, in at most three lines; the whole of it when pointed at.
function heading(a) {
  const lines = [""];
  for (const word of a.name.split(/(?<=[ ._/-])/)) {
    if (lines.at(-1) && (lines.at(-1) + word).trim().length > 15) lines.push("");
    lines[lines.length - 1] += word;
  }
  const shown = lines.slice(0, 3).map((line, i) => (i === 2 && lines.length > 3 ? `${line.slice(0, 13)}…` : line.trim()));
  return svg("text", { class: "name", "text-anchor": "middle" }, svg("title", {}, a.name), ...shown.map((line, i) => svg("tspan", { x: a.x, y: 38 - 13 * (shown.length - 1 - i) }, line)));
}
