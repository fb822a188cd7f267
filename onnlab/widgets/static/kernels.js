// Small signed kernels: presets, sizes and pictures of their cells. A kernel is a list of rows.
import { colours } from "./lib.js";
import { number } from "./ui.js";

const SIDES = [3, 5, 7];
export const CELL = 40; // pixels of a cell on the canvas of a kernel

// Kernels of 3 x 3 cells; the blur fills whatever size there is.
const KERNELS = {
  identity: [
    "Identity",
    [
      [0, 0, 0],
      [0, 1, 0],
      [0, 0, 0],
    ],
  ],
  sobel: [
    "Sobel",
    [
      [-1, 0, 1],
      [-2, 0, 2],
      [-1, 0, 1],
    ],
  ],
  laplace: [
    "Laplacian",
    [
      [0, 1, 0],
      [1, -4, 1],
      [0, 1, 0],
    ],
  ],
  sharpen: [
    "Sharpen",
    [
      [0, -1, 0],
      [-1, 5, -1],
      [0, -1, 0],
    ],
  ],
  blur: ["Blur", gaussian],
};

function gaussian(side) {
  const line = Array.from({ length: side }, (_, i) =>
    Math.exp(-2 * ((2 * (i - (side - 1) / 2)) / side) ** 2),
  );
  const total = line.reduce((sum, v) => sum + v) ** 2;
  return line.map((a) => line.map((b) => Math.fround((a * b) / total))); // the precision that Python keeps
}

/** The kernel of a preset, as rows, in the middle of side x side cells. */
export const kernelPreset = (name, side) => {
  const kernel = KERNELS[name][1];
  return typeof kernel === "function" ? kernel(side) : resized(kernel, side);
};

/** Give a kernel another size about its middle: cells are cut off, or zeros added. */
export function resized(kernel, side) {
  const offset = (kernel.length - side) / 2;
  const cells = Array.from({ length: side }, (_, i) => i + offset);
  return cells.map((y) => cells.map((x) => kernel[y]?.[x] ?? 0));
}

/** The name of the preset that a kernel is, or undefined. */
export const nameOfKernel = (kernel) =>
  Object.keys(KERNELS).find((name) => String(kernelPreset(name, kernel.length)) === String(kernel));

/** The presets and their texts, as a choice wants them. */
export const kernelNames = () => Object.fromEntries(Object.entries(KERNELS).map(([name, [text]]) => [name, text]));

/** The sizes and their texts, as a choice wants them. */
export const kernelSides = () => Object.fromEntries(SIDES.map((n) => [n, `${n} × ${n}`]));

/** A kernel with one cell set to a value; x and y may be anywhere in that cell. */
export const withCell = (kernel, x, y, value) =>
  kernel.map((row, i) =>
    row.map((v, j) => (i === Math.floor(y) && j === Math.floor(x) ? value : v)),
  );

/** Draw the cells of a kernel, coloured between two values, and on request with their numbers. */
export function drawCells(shown, kernel, map, low, high, numbers = false) {
  const { context: c, canvas } = shown;
  const lut = colours(map);
  const cell = canvas.width / kernel.length;
  c.textAlign = "center";
  c.textBaseline = "middle";
  kernel.forEach((row, y) =>
    row.forEach((value, x) => {
      const step = Math.round((255 * (Math.min(high, Math.max(low, value)) - low)) / (high - low));
      const [r, g, b] = lut.subarray(3 * step, 3 * step + 3);
      c.fillStyle = `rgb(${r},${g},${b})`;
      c.fillRect(x * cell, y * cell, cell, cell);
      c.strokeStyle = "#80808066";
      c.strokeRect(x * cell, y * cell, cell, cell);
      if (!numbers || value === 0) return;
      c.fillStyle = 0.3 * r + 0.59 * g + 0.11 * b > 140 ? "#000" : "#fff";
      const text = number(Number(value.toFixed(3))).replace(/^(−?)0\./, "$1.");
      c.font = `${Math.round(cell * Math.min(0.42, 1.5 / text.length))}px system-ui, sans-serif`;
      c.fillText(text, (x + 0.5) * cell, (y + 0.5) * cell);
    }),
  );
}
