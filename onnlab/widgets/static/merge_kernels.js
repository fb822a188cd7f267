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
import { fft2, field, largest, shifted } from "./lib.js";
import { SMALL, paintable, sketch } from "./paint.js";
import { choice, expose, frame, h, initial, number, picture, redraw, share, slider } from "./ui.js";

const N = SMALL.size;
const ROOMS = { all: "For all kernels", one: "For one kernel", none: "None" };
const start = () => ["blur", "blur", "sobel"].map((name) => kernelPreset(name, 5));
const DEFAULTS = { kernels: start(), room: "all" };

/** Side of the canvas: the image, and zeros behind it for the reach of all kernels, of one, or of none. */
export const canvasOf = (kernels, room) =>
  N + { all: kernels.length, one: 1, none: 0 }[room] * (kernels[0].length - 1);

/** An image of N x N pixels in the first corner of a canvas of P x P. */
export function padded(values, P) {
  const out = new Float64Array(P * P);
  for (let y = 0; y < N; y++) out.set(values.subarray(y * N, (y + 1) * N), y * P);
  return out;
}

/** The first N x N samples of a canvas of P x P. */
export function cropped(values, P) {
  const out = new Float64Array(N * N);
  for (let y = 0; y < N; y++) out.set(values.subarray(y * P, y * P + N), y * N);
  return out;
}

/** One layer on a canvas whose opposite sides meet: correlation, as deep learning means convolution. */
export function correlate(values, P, kernel) {
  const out = new Float64Array(P * P);
  const middle = (kernel.length - 1) / 2;
  kernel.forEach((row, i) =>
    row.forEach((weight, j) => {
      if (weight === 0) return;
      const [dy, dx] = [i - middle + P, j - middle + P];
      for (let y = 0; y < P; y++) {
        const source = ((y + dy) % P) * P;
        for (let x = 0; x < P; x++) out[y * P + x] += weight * values[source + ((x + dx) % P)];
      }
    }),
  );
  return out;
}

/** The kernel that does what some kernels do one after the other: their full convolution. */
export function mergeKernels(kernels) {
  return kernels.reduce((a, b) => {
    const out = Array.from({ length: a.length + b.length - 1 }, () => Array(a.length + b.length - 1).fill(0));
    a.forEach((row, i) =>
      row.forEach((v, j) => b.forEach((other, k) => other.forEach((w, l) => (out[i + k][j + l] += v * w)))),
    );
    return out;
  });
}

/** Transfer function of a kernel on a canvas of P x P, zero frequency first. */
export function transferOf(kernel, P) {
  const out = field(P);
  const middle = (kernel.length - 1) / 2;
  const place = (i) => (middle - i + kernel.length * P) % P;
  kernel.forEach((row, i) => row.forEach((v, j) => (out.re[place(i) * P + place(j)] += v)));
  fft2(out, P);
  return out;
}

/** Transform, multiply once, transform back: the whole canvas of P x P. */
export function filterOnce(canvas, P, transfer) {
  const u = field(P);
  u.re.set(canvas);
  fft2(u, P);
  for (let i = 0; i < P * P; i++) {
    const re = u.re[i] * transfer.re[i] - u.im[i] * transfer.im[i];
    u.im[i] = u.re[i] * transfer.im[i] + u.im[i] * transfer.re[i];
    u.re[i] = re;
  }
  fft2(u, P, true);
  return u.re;
}

/** Layer by layer with room for all, and all at once with the room that is left. */
export function compute(values, kernels, room) {
  const roomy = canvasOf(kernels, "all");
  let layer = padded(values, roomy);
  const steps = kernels.map((kernel) => cropped((layer = correlate(layer, roomy, kernel)), roomy));
  const P = canvasOf(kernels, room);
  const merged = mergeKernels(kernels);
  const transfer = transferOf(merged, P);
  const canvas = filterOnce(padded(values, P), P, transfer);
  const product = cropped(canvas, P);
  const difference = product.map((v, i) => v - steps.at(-1)[i]);
  return { steps, P, merged, transfer, canvas, product, difference };
}

const size = (values) => largest(values.map(Math.abs));

function render({ model, el }) {
  const first = initial(model, DEFAULTS);
  let { kernels, room } = first;
  let [chosen, value] = [0, 1];
  const shared = share(model);
  const page = frame(el, {
    title: "Merge kernels",
    help:
      "Three layers, one after the other; and one product with the transfer function of all three. Paint the " +
      "kernels or the object. Keyboard: arrow keys move, the space bar paints.",
    reset() {
      object.reset();
      publish(first.kernels);
      setRoom(first.room);
    },
  });
  const cells = { map: "signed", ends: ["", ""], size: 7 * CELL, smooth: true };
  const signed = { map: "signed", ends: ["", ""], size: N };
  const object = sketch(shared, model, page, () => view.soon(), SMALL);
  const paintings = kernels.map((_, i) => picture(`Kernel ${i + 1}`, cells));
  const mergedCells = picture("Merged kernel", cells);
  const layers = kernels.map((_, i) => picture(`After ${i + 1}`, signed));
  const spectrum = picture("Transfer function", { map: "phase", ends: ["−π", "π"] });
  const whole = picture("Canvas", signed);
  const once = picture("One product", signed);
  const difference = picture("Difference", signed);
  const rows = {
    "Three kernels, and the one they make": [...paintings, mergedCells],
    "Layer by layer": [object.picture, ...layers],
    "All at once": [spectrum, whole, once, difference],
  };
  for (const [text, shown] of Object.entries(rows)) {
    page.pictures.append(h("p", { class: "onn-row" }, text), ...shown.map((one) => one.node));
  }
  const border = h("div", { class: "onn-cut" });
  whole.stage.append(border);

  let result;
  const view = redraw(() => {
    result = compute(object.values, kernels, room);
    const draw = (shown, values, reach) => {
      shown.values(values, -reach, reach);
      shown.ends(number(-reach, 2), number(reach, 2));
    };
    kernels.forEach((kernel, i) => {
      const reach = size(kernel.flat()) || 1;
      drawCells(paintings[i], kernel, "signed", -reach, reach, true);
      paintings[i].ends(number(-reach, 2), number(reach, 2));
    });
    const reach = size(result.merged.flat()) || 1;
    drawCells(mergedCells, result.merged, "signed", -reach, reach);
    mergedCells.ends(number(-reach, 2), number(reach, 2));
    mergedCells.note(`${result.merged.length} × ${result.merged.length}`);
    object.picture.values(object.values, 0, 1);
    result.steps.forEach((values, i) => draw(layers[i], values, size(values) || 1));
    const { re, im } = result.transfer;
    const gain = largest(re.map((v, i) => Math.hypot(v, im[i]))) || 1;
    spectrum.resize(result.P);
    spectrum.complex({ re: shifted(re, result.P).map((v) => v / gain), im: shifted(im, result.P).map((v) => v / gain) });
    spectrum.note(`≤ ${number(gain)}`);
    const peak = size(result.steps.at(-1)) || 1;
    const [apart, beyond] = [size(result.difference), size(result.canvas)];
    whole.resize(result.P);
    draw(whole, result.canvas, beyond || 1);
    whole.note(`${result.P} × ${result.P}`);
    Object.assign(border.style, { left: "0", top: "0", width: `${(100 * N) / result.P}%` });
    draw(once, result.product, size(result.product) || 1);
    draw(difference, result.difference, apart > 1e-9 * peak ? apart : peak);
    describe(apart, peak);
  });

  function describe(apart, peak) {
    const [reach, extra] = [(kernels.length * (kernels[0].length - 1)) / 2, result.P - N];
    const rim = Math.max(0, reach - extra);
    const [most, of] = [number(apart, 2), number(peak)];
    page.tell([
      ["Largest difference", most],
      ["Peak of the result", of],
      ["Zeros behind the image", extra],
      ["Rim that can be wrong", `${rim} pixels`],
    ]);
    difference.describe(`One product minus three layers: at most ${most}, the result being up to ${of}.`);
    whole.describe(`The whole canvas of ${result.P} × ${result.P} samples; the frame is the image.`);
    page.say("result", `Room: ${ROOMS[room]}. Largest difference ${most}, peak of the result ${of}.`);
  }

  function use(rows) {
    kernels = rows;
    controls.presets.set(nameOfKernel(kernels[chosen]));
    controls.side.set(String(kernels[0].length));
    view.soon();
  }
  function publish(rows) {
    use(rows);
    shared.put("kernels", () => kernels);
  }
  const change = (index, kernel) => publish(kernels.map((one, i) => (i === index ? kernel : one)));
  function choose(index) {
    chosen = index;
    controls.which.set(String(index));
    controls.presets.set(nameOfKernel(kernels[index]));
  }
  function setRoom(name) {
    room = name;
    controls.room.set(name);
    shared.put("room", () => room);
    view.soon();
  }
  paintings.forEach((painting, index) =>
    paintable(painting, {
      label: `Kernel ${index + 1}. Arrow keys move between cells, the space bar sets a cell to the brush.`,
      radius: () => 0,
      dab(x, y) {
        choose(index);
        change(index, withCell(kernels[index], x, y, value));
      },
      done: shared.flush,
      where: (x, y) => `Kernel ${index + 1}, row ${y + 1}, column ${x + 1}: ${number(kernels[index][y][x])}.`,
      say: page.say,
      get cells() {
        return kernels[index].length;
      },
    }),
  );

  const controls = {
    which: choice({
      label: "Kernel",
      options: { 0: "1", 1: "2", 2: "3" },
      value: "0",
      change: (index) => choose(Number(index)),
    }),
    presets: choice({
      label: "Preset",
      options: kernelNames(),
      value: nameOfKernel(kernels[0]),
      change: (name) => change(chosen, kernelPreset(name, kernels[0].length)),
    }),
    side: choice({
      label: "Cells",
      options: kernelSides(),
      value: String(kernels[0].length),
      change: (n) => publish(kernels.map((kernel) => resized(kernel, Number(n)))),
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
    room: choice({ label: "Room on the canvas", options: ROOMS, value: room, change: setRoom }),
  };
  page.control(
    [controls.which, controls.presets],
    [controls.side, controls.value],
    [...object.controls, controls.room],
  );
  shared.on("kernels", use);
  shared.on("room", (name) => {
    room = name;
    controls.room.set(name);
    view.soon();
  });
  expose(el, view, {
    object: () => object.values,
    kernels: () => kernels.flat(2),
    steps: () => result.steps.flatMap((step) => Array.from(step)),
    merged: () => result.merged.flat(),
    product: () => result.product,
    difference: () => result.difference,
  });
  view.soon();
  return () => {
    shared.stop();
    page.close();
  };
}

export default { render };
