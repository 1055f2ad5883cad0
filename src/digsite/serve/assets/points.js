// Points that say what they are at the cursor, and a lasso around some of them; both for pictures that the server drew.
import { el, svg } from "./dom.js";

const MOST = 8; // runs that a comparison takes
let tip;

for (const picture of document.querySelectorAll("svg[data-points]")) points(picture);

export function points(picture) {
  for (const node of picture.querySelectorAll("[data-point]")) {
    const title = node.querySelector("title"), text = title?.textContent ?? node.dataset.say ?? "";
    title?.remove(); // the browser's own would come a second later, beside ours
    node.addEventListener("pointerenter", (event) => say(text, event.clientX, event.clientY));
    node.addEventListener("pointermove", (event) => say(text, event.clientX, event.clientY));
    node.addEventListener("pointerleave", hush);
    node.addEventListener("focus", () => { const box = node.getBoundingClientRect(); say(text, box.right, box.top); });
    node.addEventListener("blur", hush);
  }
  lasso(picture);
}

// A small text at the cursor that never leaves the window.
export function say(text, x, y) {
  tip ??= document.body.appendChild(el("div", { class: "tip", role: "status" }));
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? y - height - 10 : y + 18}px`;
}

export function hush() { if (tip) tip.hidden = true; }

// Drag around points to pick them; Escape or a click beside lets them go.
function lasso(picture) {
  const found = el("p", { class: "picked-points", role: "status" }, "Drag around points to pick them.");
  picture.after(found);
  const loop = svg("polygon", { class: "lasso", points: "" });
  picture.append(loop);
  let way;
  const at = (event) => { const box = picture.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const drawn = ([x, y]) => { const { width, height } = picture.getBoundingClientRect(), own = picture.viewBox.baseVal; return own?.width ? [(x * own.width) / width, (y * own.height) / height] : [x, y]; };
  picture.addEventListener("dragstart", (event) => event.preventDefault());
  picture.addEventListener("pointerdown", (event) => { if (event.button === 0 && !event.target.closest("[data-point]")) { way = [at(event)]; picture.setPointerCapture(event.pointerId); } });
  picture.addEventListener("pointermove", (event) => { if (way) { way.push(at(event)); loop.setAttribute("points", way.map((p) => drawn(p).join(",")).join(" ")); } });
  picture.addEventListener("pointerup", () => { if (way) pick(way); way = undefined; });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") pick([]); });
  function pick(border) {
    loop.setAttribute("points", "");
    const box = picture.getBoundingClientRect(), names = [];
    for (const node of picture.querySelectorAll("[data-point]")) {
      const mark = (node.querySelector(".mark") ?? node).getBoundingClientRect();
      const inside = border.length > 2 && holds(border, (mark.left + mark.right) / 2 - box.left, (mark.top + mark.bottom) / 2 - box.top);
      node.classList.toggle("chosen", inside);
      if (inside) names.push(node.dataset.point);
    }
    picture.classList.toggle("has-chosen", names.length > 0);
    tell(found, [...new Set(names)], picture.dataset.kind);
  }
}

function tell(found, names, kind) {
  if (!names.length) return found.replaceChildren("Drag around points to pick them.");
  const few = names.slice(0, MOST), query = few.map((name) => `run=${encodeURIComponent(name)}`).join("&");
  const link = kind === "plain" || names.length < 2 ? null : el("a", { href: `/compare?${query}` }, `compare ${few.length < names.length ? "the first " + few.length : "them"}`);
  found.replaceChildren(`${names.length} picked: ${few.join(", ")}${few.length < names.length ? " ..." : ""} `, link ?? "");
}

// Whether a point lies inside of a closed line: a ray from it crosses the line an odd number of times.
function holds(border, x, y) {
  let inside = false;
  border.forEach(([ax, ay], i) => {
    const [bx, by] = border[(i || border.length) - 1];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  });
  return inside;
}
