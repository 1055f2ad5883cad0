// Tiles of a big matrix: asked for when they are in sight, newest wish first, and kept for a while.
import { painted } from "./colors.js";

const KEPT = 400, AT_ONCE = 4;

export class Tiles {
  constructor(url, low, high, arrived) {
    Object.assign(this, { url, low, high, arrived });
    this.tiles = new Map();
    this.wishes = [];
    this.busy = 0;
    this.failed = "";
  }

  // The tile, or undefined while it is on its way.
  get(level, row, column) {
    const key = `${level}/${row}/${column}`, found = this.tiles.get(key);
    if (found) {
      this.tiles.delete(key);
      this.tiles.set(key, found); // most recently used last
      return found.canvas ? found : undefined;
    }
    this.tiles.set(key, {});
    this.wishes.push({ key, query: `level=${level}&row=${row}&column=${column}` });
    this.next();
    return undefined;
  }

  peek(level, row, column) {
    const found = this.tiles.get(`${level}/${row}/${column}`);
    return found?.canvas ? found : undefined;
  }

  next() {
    while (this.busy < AT_ONCE && this.wishes.length) {
      const wish = this.wishes.pop();
      this.busy++;
      this.load(wish).catch((error) => { this.tiles.delete(wish.key); this.failed = error.message; }).finally(() => { this.busy--; this.next(); this.arrived(); });
    }
    if (this.tiles.size > KEPT) for (const key of [...this.tiles.keys()].slice(0, this.tiles.size - KEPT)) this.tiles.delete(key);
  }

  async load({ key, query }) {
    const response = await fetch(`${this.url}&${query}`);
    if (!response.ok) throw new Error((await response.json()).error);
    const rows = Number(response.headers.get("x-rows")), columns = Number(response.headers.get("x-columns"));
    const values = new Float32Array(await response.arrayBuffer());
    this.tiles.set(key, { values, rows, columns, canvas: painted(values, rows, columns, this.low, this.high) });
  }
}
