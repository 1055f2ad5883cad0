// The list of runs: filters while typing, rows that follow the runs, at most eight ticks.
import { localTimes } from "./dom.js";

const filters = document.getElementById("filters");
const compare = document.getElementById("compare");
const LIMIT = 8;
let timer, asked = 0;

const ticked = () => new Set([...compare.querySelectorAll("input[name=run]:checked")].map((box) => box.value));

async function refresh() {
  const mine = ++asked, marks = ticked(), focus = document.activeElement;
  const address = new URL(location.href);
  address.searchParams.set("part", "rows");
  const response = await fetch(address);
  if (!response.ok || mine !== asked) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("rows");
  const key = focus?.closest?.("#rows") && (focus.value || focus.getAttribute("href"));
  document.getElementById("rows").replaceWith(fresh);
  localTimes(fresh);
  for (const box of fresh.querySelectorAll("input[name=run]")) box.checked = marks.has(box.value);
  if (key) [...fresh.querySelectorAll("a, input")].find((node) => (node.value || node.getAttribute("href")) === key)?.focus();
  limit();
}

function limit() {
  const full = ticked().size >= LIMIT;
  for (const box of compare.querySelectorAll("input[name=run]")) box.disabled = full && !box.checked;
}

filters.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const wanted = new URLSearchParams([...new FormData(filters)].filter(([, value]) => value));
    history.replaceState(null, "", wanted.size ? `/?${wanted}` : "/");
    refresh();
  }, 150);
});
compare.addEventListener("change", limit);

// The stream only says that something moved; it rests while nobody looks.
let stream;
function listen() {
  stream?.close();
  if (document.hidden) return;
  let first = true;
  stream = new EventSource("/api/events");
  stream.addEventListener("list", (event) => {
    const { version } = JSON.parse(event.data);
    if (!first || String(version) !== document.getElementById("rows").dataset.version) refresh();
    first = false;
  });
}
document.addEventListener("visibilitychange", listen);
addEventListener("pagehide", () => stream?.close());
listen();
