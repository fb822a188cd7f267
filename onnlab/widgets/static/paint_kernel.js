import {
  CELL,
  drawCells,
  kernelNames,
  kernelPreset,
  kernelSides,
  nameOfKernel,
  resized,
  withCell,
} from "./kernels.js";
import { AREA, SIZE, largest } from "./lib.js";
import { paintable, sketch } from "./paint.js";
import { choice, expose, frame, h, number, picture, redraw, share, slider } from "./ui.js";

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

function render({ model, el }) {
  const first = model.get("kernel") ?? kernelPreset("sobel", 7);
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

  function use(rows) {
    kernel = rows;
    controls.presets.set(nameOfKernel(kernel));
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
    dab: (x, y) => publish(withCell(kernel, x, y, value)),
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
      options: kernelNames(),
      value: nameOfKernel(kernel),
      change: (name) => publish(kernelPreset(name, kernel.length)),
    }),
    side: choice({
      label: "Cells",
      options: kernelSides(),
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
