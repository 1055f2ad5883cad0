// Elements, numbers and colors: text is always set as text, never as markup.
const SVG = "http://www.w3.org/2000/svg";

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

export function number(value, digits = 4) {
  if (value == null) return "–";
  if (!Number.isFinite(value)) return "not finite";
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString("en-US").replaceAll(",", "\u202f").replace("-", "\u2212");
  const size = Math.abs(value);
  const text = size >= 1e6 || size < 1e-4 ? value.toExponential(digits - 2) : value.toPrecision(digits);
  return text.replace("-", "\u2212");
}

// A number on an axis: no zeros that say nothing.
export function tick(value, digits = 3) {
  const text = number(value, digits);
  return /^[^e]*\.\d+$/.test(text) ? text.replace(/\.?0+$/, "") : text;
}

// A token as text: a line break is shown, not made.
export const spelled = (word) => word.replaceAll("\n", "↵") || "∅";

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const color = (i) => css(`--c${i % 8}`);

export function withAlpha(hex, alpha) {
  return hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
}

export async function get(url) {
  const response = await fetch(url);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error || response.statusText);
  return body;
}

export const note = (text) => el("p", { class: "note" }, text);

// Canvas texts and cells grow with the page's own font, for walls and phones alike.
export const unit = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 15;

// Width of a picture in its own units: as wide as its place, so that its texts keep their size on a phone.
export const fitting = (host, most = 960) => Math.max(300, Math.min(most, Math.round(host.clientWidth) || most));

// Runs `draw` now and again whenever the color scheme changes.
export function themed(draw) {
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

export function whenSeen(node, action) {
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((e) => e.isIntersecting)) return;
    watcher.disconnect();
    action();
  }, { rootMargin: "300px" });
  watcher.observe(node);
}

// Moments in the reader's own time; the page itself says UTC, for readers without scripts and for print.
export function localTimes(within = document) {
  for (const node of within.querySelectorAll("time[datetime]")) {
    const at = new Date(node.dateTime), two = (n) => String(n).padStart(2, "0");
    if (Number.isNaN(at.getTime()) || node.title) continue;
    node.title = node.textContent;
    node.textContent = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
  }
}

document.documentElement.classList.add("js");
localTimes();
