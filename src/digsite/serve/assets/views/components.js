// Components of a module: switch them off one by one and see what a toy model's output loses.
import { painted } from "../colors.js";
import { ComponentPage } from "../component.js";
import { css, el, fitting, get, note, number, spelled, svg, tick, themed } from "../dom.js";
import { Prompts } from "../prompts.js";

const SHOWN = 8; // cards on a page that shows more than this view

export function draw(stage, data, view) {
  const off = new Set(), stored = Boolean(data.prompts); // effects of a language model's components do not add up: each set was tried by the run
  const together = el("input", { type: "checkbox", onchange: () => { if (!together.checked) cards.forEach((node) => set(node, false)); outputs?.refresh(); } });
  const page = new ComponentPage(data, view);
  const cards = data.components.map((c) => card(c, data, toggle));
  const outputs = data.toy ? new Outputs(data, view, off) : stored ? new Answers(data, view, off) : null;
  const all = (label, choose) => el("button", { type: "button", onclick: () => { cards.forEach((node, i) => set(node, !choose(data.components[i]))); outputs?.refresh(); } }, label);
  const alive = (c) => (c.importance ?? 1) > 0.01 || Boolean(c.features?.length);
  const several = stored ? (data.together.length ? [el("label", {}, together, "several at once")] : []) : [all("all off", () => false), all("only those in use", alive)];
  stage.append(el("div", { class: "components" },
    el("div", { class: "tools" }, all("all on", () => true), ...several, el("span", {}, `${data.components.length} of ${data.total} components, ${data.components[0]?.importance == null ? "strongest" : "most used"} first`)),
    page.node, outputs?.node, ...grids(data.components.map(alive), view.large ? cards.length : SHOWN, cards.map((node, i) => el("div", { class: "slot" }, node, page.link(data.components[i].number))))));
  stage.append(note(outputs ? "A component that is switched off is taken out of the weights of this module; everything else stays." : "The outputs of this model are not computed here; the cards show what each component reads and writes."));
  outputs?.show(data);

  function toggle(node) {
    const out = node.getAttribute("aria-pressed") === "true";
    if (stored && !together.checked) for (const other of cards) set(other, false);
    set(node, out);
    outputs?.refresh();
  }

  function set(node, out) {
    const number_ = Number(node.dataset.number);
    if (out) off.add(number_); else off.delete(number_);
    node.setAttribute("aria-pressed", String(!out));
  }
}

// The first of those in use, and the others folded below them; where none is in use, the first of all.
function grids(used, most, slots) {
  const none = !used.includes(true), open = slots.map((_, i) => (none || used[i]) && used.slice(0, i).filter((one) => none || one).length < most);
  const grid = (keep) => el("div", { class: "grid" }, ...slots.filter((_, i) => open[i] === keep)), idle = none ? 0 : used.filter((one) => !one).length, more = open.filter((one) => !one).length - idle;
  if (!more && !idle) return [grid(true)];
  const words = [more ? `${more} more` : "", idle ? `${idle} not in use` : ""].filter(Boolean).join(", ");
  return [grid(true), el("details", { class: "more" }, el("summary", {}, words), grid(false))];
}

function card(c, data, toggle) {
  const strip = (values, label) => {
    const most = Math.max(...values.map(Math.abs), 1e-12), canvas = painted(values, 1, values.length, -most, most, "diverging");
    canvas.setAttribute("aria-hidden", "true");
    return [el("small", {}, label), canvas];
  };
  const purpose = c.mostly_first ? "on the first token" : c.words.length ? `on ${c.words.map((word) => spelled(word).replaceAll(" ", "␣")).join("  ")}` : c.features?.length ? `feature ${c.features.map((f) => `${f.feature} (${number(f.importance, 2)})`).join(", ")}` : data.probed ? "no single feature" : `reads ${c.reads_most}, writes ${c.writes_most}`;
  const effect = c.kl == null ? null : el("small", {}, `without it ${number(c.kl, 2)} nats, ${c.changed === 1 ? "1 answer changes" : `${number(c.changed)} answers change`}`);
  const node = el("button", { class: "cell", type: "button", "aria-pressed": "true", "data-number": c.number, "aria-label": `component ${c.number}: ${purpose}` },
    el("b", {}, `${c.number}: ${purpose}`), el("small", {}, `norm ${number(c.norm, 3)}${c.importance == null ? "" : ` · importance ${number(c.importance, 3)}`}`), effect, ...strip(c.reads, "reads"), ...strip(c.writes, "writes"));
  node.addEventListener("click", () => toggle(node));
  return node;
}

class Answers extends Prompts {
  constructor(data, view, off) {
    super(data);
    Object.assign(this, { view, off, asked: 0 });
  }

  async refresh() {
    const mine = ++this.asked;
    const data = await get(`${this.view.api}/view?name=${encodeURIComponent(this.view.name)}&off=${[...this.off].join(",")}`);
    if (mine === this.asked) this.show(data);
  }
}

class Outputs {
  constructor(data, view, off) {
    Object.assign(this, { view, off, asked: 0 });
    this.feature = el("input", { type: "number", min: 0, max: data.features - 1, value: data.feature, name: "feature" });
    this.size = el("input", { type: "range", min: -1, max: 1, step: 0.05, value: 1, name: "size" });
    this.stage = el("div", { class: "outputs" });
    this.node = el("div", {}, el("div", { class: "tools" }, el("label", {}, "input feature", this.feature), el("label", {}, "value", this.size)), this.stage);
    for (const control of [this.feature, this.size]) control.addEventListener("input", () => this.refresh());
    themed(() => this.last && this.show(this.last));
  }

  async refresh() {
    const mine = ++this.asked;
    const data = await get(`${this.view.api}/view?name=${encodeURIComponent(this.view.name)}&off=${[...this.off].join(",")}&feature=${this.feature.value || 0}&size=${this.size.value}`);
    if (mine === this.asked) this.show(data);
  }

  // Bars per output feature: all components in gray outline, the chosen ones filled.
  show(data) {
    this.last = data;
    const width = fitting(this.stage, 760), height = 190, pad = { left: 46, right: 8, top: 12, bottom: 34 };
    const most = Math.max(...data.before.map(Math.abs), ...data.after.map(Math.abs), 1e-9), low = Math.min(0, ...data.before, ...data.after);
    const y = (v) => pad.top + ((most - v) / (most - low)) * (height - pad.top - pad.bottom), step = (width - pad.left - pad.right) / data.before.length;
    const bars = data.before.flatMap((before, i) => {
      const x = pad.left + i * step + step * 0.12, w = step * 0.76, box = (v) => ({ x, width: w, y: Math.min(y(v), y(0)), height: Math.abs(y(v) - y(0)) });
      return [svg("rect", { ...box(data.after[i]), fill: css("--c0"), "fill-opacity": 0.8 }, svg("title", {}, `output ${i}: ${number(before)} → ${number(data.after[i])}`)), svg("rect", { ...box(before), fill: "none", stroke: css("--null"), "stroke-width": 1.5, "stroke-dasharray": "3 2" })];
    });
    const every = Math.ceil(data.before.length / (width / 32));
    const names = data.before.map((_, i) => (i % every ? null : svg("text", { x: pad.left + (i + 0.5) * step, y: height - 18, "text-anchor": "middle" }, String(i))));
    const ticks = [low, 0, most].filter((v, i, list) => list.indexOf(v) === i).map((v) => svg("text", { x: pad.left - 6, y: y(v) + 4, "text-anchor": "end" }, tick(v)));
    const change = Math.max(...data.before.map((b, i) => Math.abs(b - data.after[i])));
    this.stage.replaceChildren(
      svg("svg", { class: "parallel", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "outputs before and after" }, svg("line", { x1: pad.left, x2: width - pad.right, y1: y(0), y2: y(0) }), ...bars, ...names.filter(Boolean), ...ticks, svg("text", { x: width / 2, y: height - 3, "text-anchor": "middle" }, "output feature")),
      el("p", { class: "readout", role: "status" }, `input feature ${data.feature} at ${number(data.size, 3)}; ${data.off.length} components off; largest change of an output ${number(change, 3)}. Dashed: all components on.`));
  }
}
