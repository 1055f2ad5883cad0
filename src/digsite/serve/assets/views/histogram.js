// Steps over bins; the null gray and dashed.
import { chart } from "../chart.js";
import { note, number } from "../dom.js";

export function draw(stage, data, view) {
  const lines = Object.entries(data.counts).map(([name, counts]) => {
    const x = [], y = [];
    counts.forEach((count, i) => { x.push(data.edges[i], data.edges[i + 1] - 1e-9 * (data.edges[i + 1] - data.edges[i])); y.push(count, count); });
    return { name, x, y, null: name === "null" };
  });
  for (const line of lines) line.wide = true;
  chart(stage, { title: view.name, lines, xLabel: [data.x_label, data.unit && `(${data.unit})`].filter(Boolean).join(" "), yLabel: "count", logY: data.log_y, height: view.large ? 480 : 240 });
  if (data.n) stage.append(note(Object.entries(data.n).map(([name, n]) => `${name}: n = ${number(n)}`).join(", ")));
}
