// The nearest rows or columns of a clicked one, beside what chance alone would give.
import { el, get, number } from "./dom.js";

export async function neighbors(host, view, axis, index, query, go, canGo) {
  const found = await get(`${view.api}/near?${query}&axis=${axis}&index=${index}&k=8`);
  const line = (other, i) => el("tr", {},
    el("td", {}, canGo ? el("button", { type: "button", onclick: () => go(other) }, String(other)) : String(other)),
    el("td", { class: "num" }, number(found.distance[i])), el("td", { class: "num quiet" }, number(found.null[i])));
  host.append(el("details", { open: axis === "rows" }, el("summary", {}, `Nearest ${axis} of ${axis.slice(0, -1)} ${index}`),
    el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, axis.slice(0, -1)), el("th", { scope: "col", class: "num" }, found.measure), el("th", { scope: "col", class: "num" }, "expected by chance"))),
      el("tbody", {}, ...found.neighbors.map(line)))));
}
