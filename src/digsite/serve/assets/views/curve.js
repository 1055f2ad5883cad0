// Lines with bands and nulls, or points; marked places are dashed and named.
import { chart } from "../chart.js";
import { note } from "../dom.js";
import { scatter } from "../scatter.js";

export function draw(stage, data, view) {
  if (!data.lines.length) return stage.append(note("There is nothing to draw."));
  const look = { xLabel: data.x_label || "", yLabel: data.y_label || data.unit || "" };
  if (data.style === "points") scatter(stage, { lines: data.lines, ...look, large: view.large });
  else chart(stage, { lines: data.lines, ...look, logX: data.log_x, logY: data.log_y, marks: data.marks || [], height: view.large ? Math.min(560, innerHeight * 0.65) : 260 });
  if (data.left_out) stage.append(note(`${data.left_out} more lines are left out.`));
}
