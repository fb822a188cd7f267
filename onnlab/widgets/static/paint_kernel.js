import { AREA, SIZE, colours, largest } from "./lib.js";
import { paintable, sketch } from "./paint.js";
import { choice, expose, frame, h, number, picture, redraw, share, slider } from "./ui.js";

const SIDES = [3, 5, 7];
const CELL = 40; // pixels of a cell on the canvas of a kernel

// Kernels of 3 x 3 cells; the blur fills whatever size there is.
const PRESETS = {
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
export const preset = (name, side) => {
  const kernel = PRESETS[name][1];
  return typeof kernel === "function" ? kernel(side) : resized(kernel, side);
};

/** Give a kernel another size about its middle: cells are cut off, or zeros added. */
export function resized(kernel, side) {
  const offset = (kernel.length - side) / 2;
  const cells = Array.from({ length: side }, (_, i) => i + offset);
  return cells.map((y) => cells.map((x) => kernel[y]?.[x] ?? 0));
}

/** Split a signed kernel into two non-negative PSFs of total energy at most one, and the factor this cost. */
export function split(kernel) {
  const positive = kernel.map((row) => row.map((v) => Math.max(v, 0)));
  const negative = kernel.map((row) => row.map((v) => Math.max(-v, 0)));
  const total = (k) => k.flat().reduce((sum, v) => sum + v, 0);
  const scale = Math.max(total(positive), total(negative)) || 1;
  const scaled = (k) => k.map((row) => row.map((v) => v / scale));
  return { positive: scaled(positive), negative: scaled(negative), scale };
}

/** Incoherent image: the intensity convolved with a PSF, whose origin is its middle cell; dark around it. */
export function image(intensity, psf) {
  const out = new Float64Array(AREA);
  const middle = Math.floor(psf.length / 2);
  psf.forEach((row, i) =>
    row.forEach((weight, j) => {
      if (weight === 0) return;
      const [dy, dx] = [i - middle, j - middle];
      for (let y = Math.max(0, dy); y < Math.min(SIZE, SIZE + dy); y++) {
        const source = (y - dy) * SIZE - dx;
        for (let x = Math.max(0, dx); x < Math.min(SIZE, SIZE + dx); x++) {
          out[y * SIZE + x] += weight * intensity[source + x];
        }
      }
    }),
  );
  return out;
}

function drawCells(shown, kernel, map, low, high, numbers = false) {
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

function render({ model, el }) {
  const first = model.get("kernel") ?? preset("sobel", 7);
  let kernel = first;
  let value = 1;
  const shared = share(model);
  const page = frame(el, {
    title: "Paint a kernel",
    help:
      "Paint signed numbers. Light cannot be negative, so the kernel is split in two; two pictures are taken, " +
      "and a computer subtracts them. Keyboard: arrow keys move, the space bar paints.",
    layout: "onn-pair",
    reset() {
      object.reset();
      publish(first);
    },
  });
  const cells = { size: 7 * CELL, smooth: true };
  const painting = picture("Kernel", { map: "signed", ends: ["", ""], ...cells });
  const object = sketch(shared, model, page, () => view.soon());
  const positive = picture("PSF +", cells);
  const negative = picture("PSF −", cells);
  const seen = picture("Image +");
  const subtracted = picture("Image −");
  const difference = picture("Difference", { map: "signed", ends: ["", ""] });
  const four = [positive, seen, negative, subtracted].map((shown) => shown.node);
  page.pictures.append(
    object.picture.node,
    painting.node,
    h("div", { class: "onn-grid4" }, ...four),
    difference.node,
  );

  let result;
  const view = redraw(() => {
    const pair = split(kernel);
    const plus = image(object.values, pair.positive);
    const minus = image(object.values, pair.negative);
    result = { plus, minus, difference: plus.map((v, i) => pair.scale * (v - minus[i])) };
    const reach = Math.max(...kernel.flat().map(Math.abs)) || 1;
    const energy = Math.max(...pair.positive.flat(), ...pair.negative.flat()) || 1;
    const peak = Math.max(largest(plus), largest(minus)) || 1;
    const swing = largest(result.difference.map(Math.abs)) || 1;
    drawCells(painting, kernel, "signed", -reach, reach, true);
    drawCells(positive, pair.positive, "intensity", 0, energy);
    drawCells(negative, pair.negative, "intensity", 0, energy);
    object.picture.values(object.values, 0, 1);
    seen.values(plus, 0, peak);
    subtracted.values(minus, 0, peak);
    difference.values(result.difference, -swing, swing);
    painting.ends(number(-reach), number(reach));
    for (const shown of [positive, negative]) shown.note(`≤ ${number(energy)}`);
    for (const shown of [seen, subtracted]) shown.note(`≤ ${number(peak)}`);
    difference.ends(number(-swing), number(swing));
    describe(pair, swing);
  });

  const total = (psf) => psf.flat().reduce((a, b) => a + b, 0);
  function describe({ positive: plus, negative: minus, scale }, swing) {
    const [lit, dark] = [total(plus), total(minus)].map((v) => `${number(100 * v)} %`);
    const [factor, most] = [number(scale), number(swing)];
    page.tell([
      ["Kernel", `${factor} (PSF₊ − PSF₋)`],
      ["Difference", `${factor} (image₊ − image₋)`],
      ["Light in PSF₊", lit],
      ["Light in PSF₋", dark],
    ]);
    difference.describe(`Difference of the two images times ${factor}: up to ${most} in size.`);
    page.say(
      "result",
      `Scale ${factor}. Light in the two PSFs: ${lit} and ${dark}. Difference up to ${most}.`,
    );
  }

  const isShown = (name) => String(preset(name, kernel.length)) === String(kernel);
  const named = () => Object.keys(PRESETS).find(isShown);
  function use(rows) {
    kernel = rows;
    controls.presets.set(named());
    controls.side.set(String(kernel.length));
    view.soon();
  }
  function publish(rows) {
    use(rows);
    shared.put("kernel", () => kernel.map((row) => [...row]));
  }
  const brush = {
    label: "Kernel. Arrow keys move between cells, the space bar sets a cell to the value of the brush.",
    radius: () => 0,
    dab(x, y) {
      const hit = (i, j) => i === Math.floor(y) && j === Math.floor(x);
      publish(kernel.map((row, i) => row.map((v, j) => (hit(i, j) ? value : v))));
    },
    done: shared.flush,
    where: (x, y) => `Kernel, row ${y + 1}, column ${x + 1}: ${number(kernel[y][x])}.`,
    say: page.say,
    get cells() {
      return kernel.length;
    },
  };
  paintable(painting, brush);

  const controls = {
    presets: choice({
      label: "Kernel",
      options: Object.fromEntries(Object.entries(PRESETS).map(([name, [text]]) => [name, text])),
      value: named(),
      change: (name) => publish(preset(name, kernel.length)),
    }),
    side: choice({
      label: "Cells",
      options: Object.fromEntries(SIDES.map((n) => [n, `${n} × ${n}`])),
      value: String(kernel.length),
      change: (n) => publish(resized(kernel, Number(n))),
    }),
    value: slider({
      label: "Value of the brush",
      low: -5,
      high: 5,
      step: 0.5,
      value,
      text: number,
      change: (v) => (value = v),
    }),
  };
  page.control(object.controls, [controls.presets], [controls.side, controls.value]);
  shared.on("kernel", use);
  expose(el, view, {
    object: () => object.values,
    kernel: () => kernel.flat(),
    positive: () => result.plus,
    negative: () => result.minus,
    difference: () => result.difference,
  });
  view.soon();
  return () => {
    shared.stop();
    page.close();
  };
}

export default { render };
