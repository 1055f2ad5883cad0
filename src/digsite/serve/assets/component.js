// One component in words: where it is used, what it promotes, how its importance is spread, who it is in other seeds.
import { el, get, number, spelled, svg } from "./dom.js";

export class ComponentPage {
  constructor(data, view) {
    Object.assign(this, { module: data.module, paged: new Set(data.paged), view });
    this.node = el("section", { class: "component-page", hidden: true, tabindex: "-1" });
    addEventListener("hashchange", () => this.follow());
    this.follow();
  }

  // Its own address: #module/number, on the run's page and on the view's.
  address(number_) { return `#${encodeURIComponent(this.module)}/${number_}`; }

  link(number_) {
    return this.paged.has(number_) ? el("a", { class: "read", href: this.address(number_), "aria-label": `read about component ${number_}` }, "read") : null;
  }

  async follow() {
    const [module, c] = [location.hash.slice(1, location.hash.lastIndexOf("/")), Number(location.hash.split("/").pop())];
    this.node.hidden = decodeURIComponent(module) !== this.module || !this.paged.has(c);
    if (this.node.hidden) return;
    const { page } = await get(`${this.view.api}/view?name=${encodeURIComponent(this.view.name)}&page=${c}`);
    this.node.replaceChildren(...this.show(page, c));
    this.node.focus({ preventScroll: true });
    this.node.scrollIntoView({ block: "start" });
  }

  show(page, c) {
    const close = el("a", { href: "#", class: "read" }, "close");
    close.addEventListener("click", (event) => { event.preventDefault(); history.replaceState(null, "", location.pathname + location.search); this.node.hidden = true; });
    return [
      el("h4", {}, `Component ${c} of ${this.module} `, el("a", { class: "read", href: this.address(c) }, "address"), " ", close),
      el("p", {}, `Important at ${percent(page.share)} of the positions looked at${page.first > 0.5 ? `, ${percent(page.first)} of them the first of a text: then the tokens say little` : ""}. ${page.twins.map(twin).join(" ")}`),
      el("div", { class: "two" },
        el("div", {},
          block("Used most here", ...page.contexts.map(context)),
          block("Importance, over all positions", histogram(page.histogram))),
        el("div", {},
          block("Tokens it is used on", table(["token", "uses", "of its places"], page.tokens.map(([word, uses, share]) => [shown(word), number(uses), percent(share)]))),
          block("What it does to the next token there", el("div", { class: "two" }, moved("more likely", page.promoted), moved("less likely", page.suppressed)),
            el("p", { class: "note" }, "Change of the logit by the component, against the average token; mean over the places shown. Everything else stays.")))),
    ];
  }
}

const percent = (share) => (share > 0 && share < 0.0005 ? "less than 0.1 %" : `${(100 * share).toFixed(1)} %`);
const shown = (word) => el("span", { class: "word" }, spelled(word).replaceAll(" ", "␣"));
const block = (title, ...children) => el("div", {}, el("h5", {}, title), ...children);

function twin({ member, number: other, cosine, chance }) {
  if (other == null) return `In decomposition ${member + 1}, of another seed, it has no partner.`;
  return `In decomposition ${member + 1}, of another seed, its partner is component ${other}: cosine ${number(cosine, 2)} (random directions ${number(chance, 2)}).`;
}

function context({ words, importance, at }) {
  const tokens = words.map((word, i) => {
    const node = el("span", { class: i === at ? "token moved" : "token", title: `importance ${number(importance[i], 2)}` }, spelled(word));
    node.style.setProperty("--moved", `${Math.round(70 * importance[i])}%`);
    return node;
  });
  const spaced = words.some((word) => /^\s|^[▁Ġ]|\s$/.test(word)); // tokens that are whole words bring no space along
  return el("p", { class: spaced ? "prompt context" : "prompt context apart" }, ...tokens);
}

function table(names, rows) {
  return el("table", { class: "data small" }, el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))))));
}

const moved = (title, rows) => table([title, "logit"], rows.map(([word, change]) => [shown(word), number(change, 2)]));

// Bars on a logarithmic scale: nearly all places are in the first bin.
function histogram(counts) {
  const width = 320, height = 110, top = 14, base = height - 18, step = width / counts.length, most = Math.log1p(Math.max(...counts, 1));
  const bars = counts.map((count, i) => {
    const h = (Math.log1p(count) / most) * (base - top);
    return svg("rect", { x: i * step + 1, y: base - h, width: step - 2, height: h, fill: "var(--c0)" }, svg("title", {}, `${(i / counts.length).toFixed(2)} to ${((i + 1) / counts.length).toFixed(2)}: ${number(count)} positions`));
  });
  const text = (x, label, anchor) => svg("text", { x, y: height - 3, "text-anchor": anchor }, label);
  return el("div", {}, svg("svg", { class: "parallel small", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "histogram of the importance" }, ...bars, text(0, "0", "start"), text(width / 2, "importance", "middle"), text(width, "1", "end")),
    el("p", { class: "note" }, `${number(counts[0])} of ${number(counts.reduce((a, b) => a + b, 0))} positions have less than ${number(1 / counts.length, 2)}; heights are logarithms.`));
}
