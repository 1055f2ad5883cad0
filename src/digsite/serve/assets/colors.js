// Color scales that survive color blindness and gray printing: viridis, and blue-white-orange around zero.
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6dcd59", "#b4de2c", "#fde725"];
const AROUND_ZERO = ["#08306b", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f"];
const STEPS = 256;

function table(stops) {
  const rgb = stops.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const found = new Uint8ClampedArray(STEPS * 3);
  for (let i = 0; i < STEPS; i++) {
    const at = (i / (STEPS - 1)) * (rgb.length - 1), k = Math.min(Math.floor(at), rgb.length - 2);
    for (let c = 0; c < 3; c++) found[3 * i + c] = rgb[k][c] + (at - k) * (rgb[k + 1][c] - rgb[k][c]);
  }
  return found;
}

const TABLES = { sequential: table(VIRIDIS), diverging: table(AROUND_ZERO) };

export const scaleFor = (low, high) => (low < 0 && Math.abs(low + high) < 1e-6 * (high - low) ? "diverging" : "sequential");

// Whether a text on this color must be white: viridis is dark at its low end, the other scale at both.
export const isDark = (share, low, high) => (scaleFor(low, high) === "diverging" ? Math.abs(share - 0.5) > 0.32 : share < 0.6);

// A canvas with one pixel per value; what is not a number stays empty.
export function painted(values, rows, columns, low, high, scale = scaleFor(low, high)) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows), lut = TABLES[scale];
  const factor = (STEPS - 1) / (high - low || 1);
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    const k = 3 * Math.max(0, Math.min(STEPS - 1, Math.round((values[i] - low) * factor)));
    image.data[4 * i] = lut[k];
    image.data[4 * i + 1] = lut[k + 1];
    image.data[4 * i + 2] = lut[k + 2];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
