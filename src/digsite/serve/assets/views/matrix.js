// A matrix of any size: drag to move, wheel or +/- to zoom, click a cell for its row's and column's neighbors.
import { isDark, painted } from "../colors.js";
import { css, el, get, number, themed, unit } from "../dom.js";
import { neighbors } from "../neighbors.js";
import { Tiles } from "../tiles.js";

const NAMED = 64; // rows or columns that are few enough to be named along an edge
const most = () => 64 * unit(); // pixels a cell may grow to

export async function draw(stage, data, view) {
  if (data.panels.length) return drawPanels(stage, data, view);
  const viewer = new Viewer(stage, data, view);
  stage.prepend(viewer.tools());
  await viewer.open(data);
}

// Several matrices beside each other that move, sort and are asked together.
async function drawPanels(stage, data, view) {
  const places = data.panels.map((title) => el("figure", {}, el("figcaption", {}, title))), peers = [];
  stage.append(el("div", { class: "panels" }, ...places));
  peers.push(...places.map((place, i) => new Viewer(place, data, view, { peers, panel: i, title: data.panels[i] })));
  stage.prepend(peers[0].tools());
  await Promise.all(peers.map((viewer) => viewer.reopen()));
}

class Viewer {
  constructor(stage, data, view, { peers = [this], panel, title } = {}) {
    Object.assign(this, { view, data, peers, panel, order: { rows: "stored", columns: "stored" }, lead: data.lead.map(() => 0) });
    this.canvas = el("canvas", { tabindex: "0", role: "application", "aria-label": `matrix ${title || view.name}: arrows move, plus and minus zoom, 0 shows all, Enter picks the middle cell` });
    this.readout = el("p", { class: "readout", role: "status" });
    this.beside = el("div", { class: "neighbors" });
    this.bar = el("span", { class: "colorbar" });
    stage.append(el("div", { class: "matrix" }, el("p", { class: "readout axis-y" }, `↓ ${data.y_label || "row"} (${number(data.rows)})   → ${data.x_label || "column"} (${number(data.columns)})`), this.frameOf(data)), this.bar, this.readout, this.beside);
    this.listen();
    new ResizeObserver(() => this.resize()).observe(stage);
  }

  // A few rows or columns that have names carry them along the edges.
  frameOf(data) {
    this.edges = ["row", "column"].map((axis) => {
      const names = data[`${axis}_names`];
      return Array.isArray(names) && names.length <= NAMED ? el("div", { class: `${axis}-names`, "aria-hidden": "true" }) : null;
    });
    const [rows, columns] = this.edges;
    if (rows) rows.style.width = `${Math.min(14, Math.max(...data.row_names.map((name) => String(name).length))) + 1}ch`;
    return el("div", { class: "framed" }, rows, el("div", { class: "held" }, this.canvas, columns));
  }

  // Names stand where their rows and columns are now; they have none in another order than the stored one.
  placeNames() {
    for (const [edge, axis, start, scale, length] of [[this.edges[0], "row", this.top, this.sy, this.height], [this.edges[1], "column", this.left, this.sx, this.width]]) {
      if (!edge) continue;
      const shown = this.order[`${axis}s`] === "stored" ? this.data[`${axis}_names`] ?? [] : [];
      const longest = Math.max(...shown.map((name) => String(name).length), 1), upright = axis === "column" && scale < longest * 8 * unit();
      edge.classList.toggle("upright", upright);
      if (axis === "column") edge.style.height = upright ? `${Math.min(14, longest) + 1}ch` : "1.6em";
      edge.replaceChildren(...shown.map((name, i) => [name, (i + 0.5 - start) * scale]).filter(([, at]) => at >= 0 && at <= length).map(([name, at]) => {
        const label = el("span", {}, String(name));
        label.style[axis === "row" ? "top" : "left"] = `${at}px`;
        return label;
      }));
    }
  }

  tools() {
    const pick = (axis, names) => el("label", {}, `${axis} by`, el("select", { onchange: (e) => this.change((viewer) => { viewer.order[axis] = e.target.value; }) }, ...names.map((n) => el("option", { value: n }, this.orderName(n)))));
    const slices = this.data.lead.map((n, i) => this.slice(n, i));
    const button = (label, text, action) => el("button", { type: "button", "aria-label": label, onclick: action }, text);
    return el("div", { class: "tools" }, pick("rows", this.data.row_orders), pick("columns", this.data.column_orders), ...slices,
      button("zoom in", "+", () => this.zoom(2)), button("zoom out", "−", () => this.zoom(0.5)), button("show all", "all", () => { this.fit(); this.moved(); }));
  }

  slice(n, i) {
    const names = this.data.lead.length === 1 && this.data.lead_names;
    const onchange = (e) => this.change((viewer) => { viewer.lead[i] = Number(e.target.value); });
    if (names) return el("label", {}, "of", el("select", { onchange, name: "slice" }, ...names.map((name, value) => el("option", { value }, name))));
    return el("label", {}, `slice ${i}`, el("input", { type: "number", min: 0, max: n - 1, value: 0, onchange }));
  }

  orderName(name) {
    return name === "size" ? (this.data.mask ? "density" : "mean |value|") : name;
  }

  query() {
    const lead = this.lead.length ? `&lead=${this.lead.join(",")}` : "";
    return `name=${encodeURIComponent(this.view.name)}&rows=${this.order.rows}&columns=${this.order.columns}${lead}${this.panel == null ? "" : `&panel=${this.panel}`}`;
  }

  change(set) {
    for (const viewer of this.peers) { set(viewer); viewer.reopen(); }
  }

  // All panels show the same place.
  moved() {
    const { left, top, sx, sy } = this;
    for (const viewer of this.peers) { Object.assign(viewer, { left, top, sx, sy }); viewer.paint(); }
  }

  async reopen() {
    try {
      this.open(await get(`${this.view.api}/view?${this.query()}`));
    } catch (error) {
      this.readout.textContent = error.message;
    }
  }

  async open(data) {
    this.data = data;
    this.tiles = new Tiles(`${this.view.api}/tile?${this.query()}`, data.low, data.high, () => this.paint());
    const ramp = Float32Array.from({ length: 128 }, (_, i) => data.low + ((data.high - data.low) * i) / 127);
    this.bar.replaceChildren(number(data.low, 3), painted(ramp, 1, 128, data.low, data.high), `${number(data.high, 3)} ${data.unit || (data.mask ? "kept" : "")}`);
    const differing = data.differing == null ? "" : `differ in ${number(100 * data.differing, 3)} % of the cells; `;
    this.idle = `${differing}mean ${number(data.mean)}, from ${number(data.min)} to ${number(data.max)}${data.broken ? `, ${data.broken} cells are not finite` : ""}`;
    this.readout.textContent = this.idle;
    if (!this.width) this.resize(); else this.paint();
  }

  resize() {
    const width = this.canvas.parentElement.clientWidth;
    if (!width || !this.data || width === this.width) return;
    const { rows, columns } = this.data, tallest = this.view.large ? innerHeight * 0.68 : 420;
    this.width = Math.min(width, Math.max(columns * most(), 160));
    this.height = Math.round(Math.min(Math.max((this.width * rows) / columns, Math.min(140, rows * 34) * unit()), tallest));
    this.canvas.width = this.width * devicePixelRatio;
    this.canvas.height = this.height * devicePixelRatio;
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.height}px`;
    this.fit();
    if (!this.themed) { this.themed = true; themed(() => this.paint()); } else this.paint();
  }

  fit() {
    Object.assign(this, { left: 0, top: 0, sx: this.width / this.data.columns, sy: this.height / this.data.rows });
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const least = [this.width / this.data.columns, this.height / this.data.rows];
    const next = (scale, low) => Math.min(Math.max(scale * factor, low), Math.max(most(), low));
    const [sx, sy] = [next(this.sx, least[0]), next(this.sy, least[1])];
    this.left += x / this.sx - x / sx;
    this.top += y / this.sy - y / sy;
    Object.assign(this, { sx, sy });
    this.moved();
  }

  clamp() {
    this.left = Math.max(0, Math.min(this.left, this.data.columns - this.width / this.sx));
    this.top = Math.max(0, Math.min(this.top, this.data.rows - this.height / this.sy));
  }

  paint() {
    if (!this.tiles || !this.width || this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.render(); });
  }

  level() {
    const wanted = Math.floor(-Math.log2(Math.max(this.sx, this.sy) * devicePixelRatio));
    return Math.max(0, Math.min(wanted, this.data.levels - 1));
  }

  render() {
    this.clamp();
    const context = this.canvas.getContext("2d"), level = this.level(), size = this.data.tile * 2 ** level;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.fillStyle = css("--raised");
    context.fillRect(0, 0, this.width, this.height);
    context.imageSmoothingEnabled = this.sx < 1;
    const right = Math.min(this.data.columns, this.left + this.width / this.sx), bottom = Math.min(this.data.rows, this.top + this.height / this.sy);
    for (let row = Math.floor(this.top / size); row * size < bottom; row++) {
      for (let column = Math.floor(this.left / size); column * size < right; column++) this.renderTile(context, level, row, column);
    }
    if (this.sx >= 34 * unit() && this.sy >= 18 * unit() && !this.data.mask) this.figures(context);
    if (this.picked) this.frame(context);
    this.placeNames();
    this.canvas.dataset.level = level;
    this.canvas.dataset.ready = String(this.tiles.busy === 0 && this.tiles.wishes.length === 0);
    if (this.tiles.failed) this.readout.textContent = this.tiles.failed;
  }

  // A tile that is still on its way is stood in for by a coarser one.
  renderTile(context, level, row, column) {
    const exact = this.tiles.get(level, row, column);
    if (exact) return this.place(context, exact.canvas, level, row, column, 0, 0, exact.columns, exact.rows);
    for (let up = level + 1; up < this.data.levels; up++) {
      const f = 2 ** (up - level), parent = this.tiles.peek(up, Math.floor(row / f), Math.floor(column / f));
      if (!parent) continue;
      const part = this.data.tile / f, x = (column % f) * part, y = (row % f) * part;
      return this.place(context, parent.canvas, level, row, column, x, y, Math.min(part, parent.columns - x), Math.min(part, parent.rows - y));
    }
  }

  place(context, canvas, level, row, column, x, y, w, h) {
    if (w <= 0 || h <= 0) return;
    const size = this.data.tile * 2 ** level, width = Math.min(size, this.data.columns - column * size), height = Math.min(size, this.data.rows - row * size);
    context.drawImage(canvas, x, y, w, h, (column * size - this.left) * this.sx, (row * size - this.top) * this.sy, width * this.sx, height * this.sy);
  }

  // Cells that are large enough say their value.
  figures(context) {
    const tile = this.tiles.peek(0, Math.floor(this.top / this.data.tile), Math.floor(this.left / this.data.tile)), size = this.data.tile;
    if (!tile) return;
    context.font = `${Math.round(11 * unit())}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let row = Math.floor(this.top); row < Math.min(this.data.rows, this.top + this.height / this.sy); row++) {
      for (let column = Math.floor(this.left); column < Math.min(this.data.columns, this.left + this.width / this.sx); column++) {
        if (Math.floor(row / size) !== Math.floor(this.top / size) || Math.floor(column / size) !== Math.floor(this.left / size)) continue;
        const value = tile.values[(row % size) * tile.columns + (column % size)], share = (value - this.data.low) / (this.data.high - this.data.low || 1);
        if (!Number.isFinite(value)) continue;
        context.fillStyle = isDark(share, this.data.low, this.data.high) ? "#fff" : "#111";
        context.fillText(number(value, 3), (column + 0.5 - this.left) * this.sx, (row + 0.5 - this.top) * this.sy);
      }
    }
  }

  frame(context) {
    context.strokeStyle = css("--c1");
    context.lineWidth = 1.5;
    const x = (this.picked.column - this.left) * this.sx, y = (this.picked.row - this.top) * this.sy;
    context.strokeRect(-2, y, this.width + 4, Math.max(this.sy, 1));
    context.strokeRect(x, -2, Math.max(this.sx, 1), this.height + 4);
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    const column = Math.floor(this.left + x / this.sx), row = Math.floor(this.top + y / this.sy);
    return { x, y, row: Math.max(0, Math.min(row, this.data.rows - 1)), column: Math.max(0, Math.min(column, this.data.columns - 1)) };
  }

  hover(event) {
    const { row, column } = this.at(event);
    for (const viewer of this.peers) viewer.tell(row, column);
  }

  tell(row, column) {
    const level = this.level(), f = 2 ** level, size = this.data.tile * f;
    const tile = this.tiles.peek(level, Math.floor(row / size), Math.floor(column / size));
    if (!tile) return;
    const value = tile.values[Math.floor((row % size) / f) * tile.columns + Math.floor((column % size) / f)];
    const what = f > 1 ? `mean of ${f} × ${f} cells ${number(value)}` : number(value);
    this.readout.textContent = `${this.named("row", row)}, ${this.named("column", column)}: ${what} ${this.data.unit || ""}`;
  }

  named(axis, i) {
    const names = this.data[`${axis}_names`], stored = this.order[`${axis}s`] === "stored";
    return `${axis} ${i}${names && stored ? ` (${names[i]})` : ""}`;
  }

  async pick(row, column) {
    for (const viewer of this.peers) { viewer.picked = { row, column }; viewer.paint(); }
    if (this.peers.length > 1) return Promise.all(this.peers.map((viewer) => viewer.ask(row, column)));
    return this.ask(row, column);
  }

  async ask(row, column) {
    try {
      const cell = await get(`${this.view.api}/cells?${this.query()}&top=${row}&left=${column}&height=1&width=1`);
      this.readout.textContent = `row ${cell.rows[0]}, column ${cell.columns[0]}: ${number(cell.values[0][0])} ${this.data.unit || ""}`;
      if (this.peers.length > 1) return;
      const show = (axis, index) => neighbors(this.beside, this.view, axis, index, this.query(), (to) => axis === "rows" ? this.pick(to, column) : this.pick(row, to), this.order[axis] === "stored");
      this.beside.replaceChildren();
      await show("rows", cell.rows[0]);
      await show("columns", cell.columns[0]);
    } catch (error) {
      this.readout.textContent = error.message;
    }
  }

  listen() {
    const canvas = this.canvas;
    let drag;
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); const { x, y } = this.at(event); this.zoom(Math.exp(-event.deltaY * 0.0022), x, y); }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); drag = { x: event.clientX, y: event.clientY, moved: 0 }; });
    canvas.addEventListener("pointermove", (event) => {
      if (!drag) return this.hover(event);
      const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
      drag = { x: event.clientX, y: event.clientY, moved: drag.moved + Math.abs(dx) + Math.abs(dy) };
      this.left -= dx / this.sx;
      this.top -= dy / this.sy;
      this.moved();
    });
    canvas.addEventListener("pointerup", (event) => { const { row, column } = this.at(event); if (drag && drag.moved < 4) this.pick(row, column); drag = undefined; });
    canvas.addEventListener("pointerleave", () => { for (const one of this.peers) if (one.idle && !one.picked) one.readout.textContent = one.idle; });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const step = { ArrowLeft: [-60, 0], ArrowRight: [60, 0], ArrowUp: [0, -60], ArrowDown: [0, 60] }[event.key];
    if (step) { this.left += step[0] / this.sx; this.top += step[1] / this.sy; this.moved(); }
    else if (event.key === "+" || event.key === "=") this.zoom(2);
    else if (event.key === "-") this.zoom(0.5);
    else if (event.key === "0") { this.fit(); this.moved(); }
    else if (event.key === "Enter") this.pick(Math.floor(this.top + this.height / 2 / this.sy), Math.floor(this.left + this.width / 2 / this.sx));
    else return;
    event.preventDefault();
  }
}
