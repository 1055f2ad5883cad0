// Lines with bands and nulls, or points; marked places are dashed and named; a slider goes through slices.
import { chart } from "../chart.js";
import { el, get, note, number } from "../dom.js";
import { scatter } from "../scatter.js";

export function draw(stage, data, view) {
  if (!data.lines.length) return stage.append(note("There is nothing to draw."));
  const look = { xLabel: data.x_label || "", yLabel: data.y_label || data.unit || "" };
  if (data.style === "points") scatter(stage, { lines: data.lines, ...look, large: view.large });
  else {
    const place = el("div");
    const made = chart(place, { title: view.name, lines: data.lines, ...look, logX: data.log_x, logY: data.log_y, marks: data.marks || [], range: data.range, sync: data.x_label ? `views ${data.x_label}` : "", height: view.large ? Math.min(560, innerHeight * 0.65) : 260 });
    if (data.slices) stage.append(slider(data, view, (next) => made.set(next.lines)));
    stage.append(place);
  }
  if (data.left_out) stage.append(note(`${data.left_out} more lines are left out.`));
}

// The last wish wins: answers that come late are dropped.
function slider(data, view, show) {
  const text = (i) => `${data.scrub_label} ${number(data.slices[i])}`, said = el("output", {}, text(data.at));
  const range = el("input", { type: "range", min: 0, max: data.slices.length - 1, step: 1, value: data.at, "aria-label": data.scrub_label, "aria-valuetext": text(data.at) });
  let asked = 0;
  range.addEventListener("input", async () => {
    const mine = ++asked, i = Number(range.value);
    said.textContent = text(i);
    range.setAttribute("aria-valuetext", text(i));
    const next = await get(`${view.api}/view?name=${encodeURIComponent(view.name)}&at=${i}`);
    if (mine === asked) show(next);
  });
  return el("div", { class: "tools" }, el("label", {}, range, said));
}
