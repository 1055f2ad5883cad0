// A table that sorts by any column and finds text.
import { el, note } from "../dom.js";

// Six digits are enough for the eye; the file has them all.
function short(cell) {
  return cell.length > 9 && cell.includes(".") && Number.isFinite(Number(cell)) ? String(Number(Number(cell).toPrecision(6))) : cell;
}

export function draw(stage, data) {
  let rows = data.rows, by = -1, up = true;
  const body = el("tbody");
  const heads = data.columns.map((name, i) => el("th", { scope: "col" }, el("button", { type: "button", onclick: () => sort(i) }, name)));
  const find = el("input", { type: "search", placeholder: "find", "aria-label": "find in the table" });
  const fill = () => {
    const word = find.value.toLowerCase();
    const fitting = rows.filter((row) => !word || row.some((cell) => cell.toLowerCase().includes(word)));
    body.replaceChildren(...fitting.slice(0, 500).map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, short(cell))))));
  };
  function sort(i) {
    up = by === i ? !up : true;
    by = i;
    const key = (row) => (row[i] !== "" && !Number.isNaN(Number(row[i])) ? Number(row[i]) : row[i]);
    rows = [...data.rows].sort((a, b) => (up ? 1 : -1) * (key(a) > key(b) ? 1 : key(a) < key(b) ? -1 : 0));
    heads.forEach((head, j) => head.setAttribute("aria-sort", j !== i ? "none" : up ? "ascending" : "descending"));
    fill();
  }
  find.addEventListener("input", fill);
  stage.append(el("div", { class: "tools" }, find), el("div", { class: "viewtable scroll", tabindex: "0" }, el("table", { class: "data" }, el("thead", {}, el("tr", {}, ...heads)), body)));
  fill();
  if (data.total > data.rows.length) stage.append(note(`The first ${data.rows.length} of ${data.total} rows.`));
  else if (data.rows.length > 500) stage.append(note("At most 500 rows are shown at once."));
}
