// One run: metrics that grow while it runs, its log and state, and its views.
import { chart } from "./chart.js";
import { el, get, note, number, whenSeen } from "./dom.js";
import { linked } from "./linked.js";
import { show } from "./views.js";

const page = document.getElementById("run");
const { api, base, state } = page.dataset;
const POINTS = 1200;

for (const host of page.querySelectorAll("[data-view]")) {
  whenSeen(host, () => show(host, { api, base, name: host.dataset.view, kind: host.dataset.kind, large: "large" in host.dataset }));
}

const metrics = page.querySelector("[data-metrics]");
if (metrics && state === "finished") whenSeen(metrics, () => follow(metrics)); // its section may be folded: a chart needs its width
else if (metrics) follow(metrics);

async function follow(host) {
  const { offset, series, clock } = await get(`${api}/metrics?points=${POINTS}`);
  const charts = new Charts(host, series, timesOf(clock));
  if (["running", "planned"].includes(state)) listen(charts, offset);
}

// From a step to seconds since the first line, between the lines that the clock knows.
function timesOf({ step, time }) {
  if (step.length < 2) return null;
  return (at) => {
    let i = step.findIndex((known) => known >= at);
    i = i < 0 ? step.length - 1 : Math.max(i, 1);
    const share = step[i] > step[i - 1] ? (at - step[i - 1]) / (step[i] - step[i - 1]) : 0;
    return time[i - 1] + share * (time[i] - time[i - 1]);
  };
}

// Names such as layer1/pr and layer2/pr share a chart; so do loss/a and loss/b: whichever gives fewer charts.
class Charts {
  constructor(host, series, times) {
    this.host = host;
    this.times = times;
    this.series = new Map(Object.entries(series).map(([name, s]) => [name, { x: s.step, y: s.value }]));
    this.charts = new Map();
    this.baseline = new Map();
    this.once = el("dl", { class: "config once" });
    host.before(this.menu = this.tools());
    host.after(this.once);
    this.draw();
  }

  // One menu for all charts: smoothing, time, and another run behind them.
  tools() {
    const smooth = el("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: 0, "aria-label": "smooth all charts", oninput: () => this.all({ smooth: Number(smooth.value) }) });
    const time = el("input", { type: "checkbox", onchange: () => this.all({ byTime: time.checked }) });
    const others = JSON.parse(this.host.dataset.siblings);
    const beside = el("select", { "aria-label": "baseline", onchange: () => this.overlay(beside.value) }, el("option", { value: "" }, "none"), ...others.map((name) => el("option", { value: name }, name.split("/")[1])));
    return el("div", { class: "tools all-charts" }, el("label", {}, "smooth", smooth), this.times ? el("label", {}, time, "by time") : null, others.length ? el("label", {}, "baseline", beside) : null);
  }

  all(changes) { for (const made of this.charts.values()) made.look(changes); }

  async overlay(name) {
    const found = name ? (await get(`/api/runs/${name.split("/").map(encodeURIComponent).join("/")}/metrics?points=${POINTS}`)) : { series: {}, clock: { step: [], time: [] } };
    const times = timesOf(found.clock) ?? undefined;
    this.baseline = new Map(Object.entries(found.series).map(([key, s]) => [key, { name: `${name.split("/")[1]} ${key}`, x: s.step, y: s.value, baseline: true, times }]));
    this.draw();
  }

  draw() {
    const several = [...this.series.keys()].filter((name) => this.series.get(name).x.length > 1);
    const groups = grouped(several);
    this.menu.hidden = !groups.size;
    this.measuredOnce();
    if (!this.series.size) this.host.replaceChildren(note("Nothing was measured yet."));
    else if (!this.charts.size) this.host.replaceChildren();
    for (const [title, names] of groups) {
      const lines = names.map((name) => ({ name: names.length > 1 ? shortened(name, title) : name, ...this.series.get(name) }));
      lines.push(...names.filter((name) => this.baseline.get(name)?.x.length > 1).map((name) => this.baseline.get(name)));
      if (this.charts.has(title)) this.charts.get(title).set(lines);
      else this.charts.set(title, this.add(title, lines));
    }
  }

  // What was measured at one step is a number and no curve.
  measuredOnce() {
    const once = [...this.series].filter(([, s]) => s.x.length === 1);
    this.once.replaceChildren(...once.map(([name, s]) => el("div", {}, el("dt", {}, `${name}, step ${number(s.x[0])}`), el("dd", {}, number(s.y[0])))));
  }

  add(title, lines) {
    const box = el("div", { class: "chart" }, el("h3", {}, title));
    this.host.append(box);
    return chart(box, { lines, xLabel: "step", yLabel: "", sync: "metrics", title, times: this.times });
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
    else if (now) page.querySelector(".halves > div:last-child").prepend(now);
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

// The address of a component, #module/number, leads to its view, which is drawn when it is seen.
const address = decodeURIComponent(location.hash.slice(1)).match(/^(.+)\/\d+$/);
const addressed = address && [...page.querySelectorAll("[data-kind=components]")].find((host) => host.dataset.view.endsWith(` ${address[1]}`));
if (addressed) {
  for (const folded of page.querySelectorAll("#views > details")) folded.open ||= folded.contains(addressed);
  addressed.scrollIntoView();
}

// Settings by a part of their name or value.
for (const box of page.querySelectorAll("[data-finds]")) {
  box.addEventListener("input", () => {
    const word = box.value.toLowerCase();
    for (const node of box.closest("details").querySelectorAll(box.dataset.finds)) node.hidden = !node.textContent.toLowerCase().includes(word);
  });
}

// A figure opens over the page; the wheel and +/- go closer, Escape and a click beside leave it. Without scripts its link opens it alone.
page.addEventListener("click", (event) => {
  const link = event.target.closest("a.large");
  if (!link || event.ctrlKey || event.metaKey || event.button) return;
  event.preventDefault();
  const old = link.querySelector("img"), picture = el("img", { src: link.href, alt: old.alt, class: old.className, draggable: "false" });
  const frame = el("div", { class: "zoomable", tabindex: "0" }, picture);
  const close = el("button", { type: "button" }, "Close");
  const box = el("dialog", { class: "lightbox", "aria-label": old.alt }, frame, close);
  close.addEventListener("click", () => box.close());
  box.addEventListener("click", (inner) => { if (inner.target === box) box.close(); });
  box.addEventListener("close", () => { box.remove(); link.focus(); });
  document.body.append(box);
  linked(box);
  box.showModal();
  frame.focus();
});
