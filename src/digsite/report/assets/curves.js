// Curves of a report: what the cursor is at, a stretch to look at closer, a logarithmic axis. The page draws them without it too.
for (const figure of document.querySelectorAll("figure.curve")) {
  const { x, y } = JSON.parse(figure.dataset.points), plot = figure.querySelector(".plot"), told = figure.querySelector("output");
  const path = plot.querySelector("path"), ends = [...figure.querySelectorAll("[data-end]")], said = told.textContent;
  const mark = plot.appendChild(document.createElement("i")), log = figure.querySelector("button");
  const say = (value) => Number(value.toPrecision(5)).toLocaleString("en-US", { maximumSignificantDigits: 5 }).replaceAll(",", "\u202f").replace("-", "\u2212");
  let from = x[0], to = x.at(-1), bent = false, at = -1, drag;

  function draw() {
    const seen = x.map((_, i) => i).filter((i) => x[i] >= from && x[i] <= to), bend = (value) => (bent ? Math.log10(value) : value);
    const values = seen.map((i) => y[i]), low = Math.min(...values), high = Math.max(...values);
    const tall = bend(high) - bend(low) || 1, wide = to - from || 1;
    path.setAttribute("d", `M${seen.map((i) => `${((x[i] - from) / wide) * 100} ${98 - (96 * (bend(y[i]) - bend(low))) / tall}`).join("L")}`);
    [low, high, from, to].forEach((end, i) => { ends[i].textContent = say(end); });
  }

  function show(i) {
    at = i;
    mark.hidden = i < 0;
    if (i >= 0) mark.style.left = `${((x[i] - from) / (to - from || 1)) * 100}%`;
    told.textContent = i < 0 ? said : `step ${say(x[i])}: ${say(y[i])}`;
  }

  const share = (event) => { const box = plot.getBoundingClientRect(); return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1); };
  const nearest = (place) => x.reduce((best, value, i) => (Math.abs(value - place) < Math.abs(x[best] - place) ? i : best), 0);
  const place = (event) => from + share(event) * (to - from);

  function zoom(a, b) {
    if (x.filter((value) => value >= a && value <= b).length < 2) return;
    [from, to] = [a, b];
    show(-1);
    draw();
  }

  log.hidden = Math.min(...y) <= 0;
  log.addEventListener("click", () => { bent = !bent; log.setAttribute("aria-pressed", bent); draw(); });
  plot.addEventListener("pointerdown", (event) => { drag = place(event); });
  plot.addEventListener("pointermove", (event) => show(nearest(place(event))));
  plot.addEventListener("pointerleave", () => { drag = undefined; show(-1); });
  plot.addEventListener("pointerup", (event) => {
    const end = place(event);
    if (drag !== undefined && Math.abs(end - drag) > (to - from) / 40) zoom(Math.min(drag, end), Math.max(drag, end));
    drag = undefined;
  });
  plot.addEventListener("dblclick", () => zoom(x[0], x.at(-1)));
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], middle = x[at] ?? (from + to) / 2, half = (to - from) / 4;
    if (step) show(Math.min(Math.max(at + step, 0), x.length - 1));
    else if (event.key === "+") zoom(middle - half, middle + half);
    else if (event.key === "0" || event.key === "Escape") zoom(x[0], x.at(-1));
    else return;
    event.preventDefault();
  });
  plot.tabIndex = 0;
  mark.hidden = true;
  figure.classList.add("live");
}
