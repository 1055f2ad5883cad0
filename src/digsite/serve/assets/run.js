// One run: metrics that grow while it runs, its log and state, and its views.
import { chart } from "./chart.js";
import { el, get, note, number, whenSeen } from "./dom.js";
import { show } from "./views.js";

const page = document.getElementById("run");
const { api, base, state } = page.dataset;
const POINTS = 1200;

for (const host of page.querySelectorAll("[data-view]")) {
  whenSeen(host, () => show(host, { api, base, name: host.dataset.view, kind: host.dataset.kind, large: "large" in host.dataset }));
}

const metrics = page.querySelector("[data-metrics]");
if (metrics) follow(metrics);

async function follow(host) {
  const { offset, series } = await get(`${api}/metrics?points=${POINTS}`);
  const charts = new Charts(host, series);
  if (["running", "planned"].includes(state)) listen(charts, offset);
}

// Names such as layer1/pr and layer2/pr share a chart; so do loss/a and loss/b: whichever gives fewer charts.
class Charts {
  constructor(host, series) {
    this.host = host;
    this.series = new Map(Object.entries(series).map(([name, s]) => [name, { x: s.step, y: s.value }]));
    this.charts = new Map();
    this.draw();
  }

  draw() {
    const groups = grouped([...this.series.keys()]);
    if (!groups.size) this.host.replaceChildren(note("Nothing was measured yet."));
    else if (!this.charts.size) this.host.replaceChildren();
    for (const [title, names] of groups) {
      const lines = names.map((name) => ({ name: names.length > 1 ? shortened(name, title) : name, ...this.series.get(name) }));
      if (this.charts.has(title)) this.charts.get(title).set(lines);
      else this.charts.set(title, this.add(title, lines));
    }
  }

  add(title, lines) {
    const log = el("button", { type: "button", "aria-pressed": "false" }, "log");
    const box = el("div", { class: "chart" }, el("h3", {}, title, log));
    this.host.append(box);
    const made = chart(box, { lines, xLabel: "step", yLabel: "", sync: "metrics" });
    log.addEventListener("click", () => log.setAttribute("aria-pressed", String(made.toggleLog())));
    return made;
  }

  take(records) {
    for (const { step, time, ...values } of records) {
      for (const [name, value] of Object.entries(values)) {
        if (typeof value !== "number") continue;
        if (!this.series.has(name)) this.series.set(name, { x: [], y: [] });
        const line = this.series.get(name);
        line.x.push(step ?? 0);
        line.y.push(value);
      }
    }
    this.draw();
  }
}

function grouped(names) {
  const nested = names.filter((name) => name.includes("/"));
  const head = (name) => name.slice(0, name.indexOf("/")), tail = (name) => name.slice(name.indexOf("/") + 1);
  const byHead = new Set(nested.map(head)).size <= new Set(nested.map(tail)).size;
  const groups = new Map();
  for (const name of names) {
    const key = !name.includes("/") ? name : byHead ? head(name) : tail(name);
    groups.set(key, [...(groups.get(key) || []), name]);
  }
  return groups;
}

function shortened(name, title) {
  return name.startsWith(`${title}/`) ? name.slice(title.length + 1) : name.endsWith(`/${title}`) ? name.slice(0, -title.length - 1) : name;
}

function listen(charts, offset) {
  const stream = new EventSource(`${api}/events?from=${offset}-${page.dataset.log}`);
  const text = page.querySelector("[data-log-text]");
  let files;
  stream.addEventListener("metrics", (event) => charts.take(JSON.parse(event.data)));
  stream.addEventListener("log", (event) => {
    const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 30;
    text.append(JSON.parse(event.data));
    if (atEnd) text.scrollTop = text.scrollHeight;
  });
  stream.addEventListener("status", (event) => {
    const status = JSON.parse(event.data);
    progress(status);
    if (files && files !== String(status.files)) renew(["found", "figures", "tables"]);
    files = String(status.files);
    if (["finished", "failed", "interrupted", "killed"].includes(status.state)) ended(stream);
  });
  stream.addEventListener("end", () => ended(stream));
  addEventListener("pagehide", () => stream.close());
}

function progress(status) {
  const box = document.getElementById("progress");
  box.hidden = status.state !== "running" || !status.total;
  box.firstElementChild.max = status.total || 1;
  box.firstElementChild.value = status.step;
  const left = status.eta_s == null ? "" : `, ${number(Math.round(status.eta_s))}\u00a0s left`;
  box.lastElementChild.textContent = `${status.stage} ${number(status.step)} of ${number(status.total)}${left}`;
  const badge = page.querySelector(".meta .state");
  badge.className = `state state-${status.state}`;
  badge.textContent = status.state;
}

// Sections that got new files are taken from a fresh page; charts and views stay as they are.
async function renew(names) {
  const fresh = new DOMParser().parseFromString(await (await fetch(base)).text(), "text/html");
  for (const name of names) {
    const now = fresh.getElementById(name), old = document.getElementById(name);
    if (now && old) old.replaceWith(now);
    else if (now) document.getElementById("config").before(now);
  }
}

// The page of an ended run says more than the live one: take it, and stay where the reader is.
async function ended(stream) {
  stream.close();
  setTimeout(() => location.reload(), 400);
}

// A link to a folded section opens it.
function unfold() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (const folded of target ? target.querySelectorAll(":scope > details") : []) folded.open = true;
}
addEventListener("hashchange", unfold);
unfold();
