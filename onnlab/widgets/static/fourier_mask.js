import { AREA, SIZE, fft2, field, largest, pack, shifted, unpack } from "./lib.js";
import { disc, paintable, sketch } from "./paint.js";
import {
  choice,
  expose,
  frame,
  initial,
  number,
  picture,
  quantity,
  redraw,
  share,
  slider,
  toggle,
} from "./ui.js";

const DEFAULTS = { pitch: 8e-6, wavelength: 532e-9, focal_length: 0.1 };
const DECADES = 6; // of intensity that the spectrum shows

// Each preset is a transmission [amplitude, phase] at a frequency: rho and theta (radians), for a cut-off.
const PRESETS = {
  open: ["Open", () => [1, 0]],
  low: ["Low", (rho, _, cut) => [rho <= cut ? 1 : 0, 0]],
  high: ["High", (rho, _, cut) => [rho > cut ? 1 : 0, 0]],
  band: ["Band", (rho, _, cut) => [rho > cut / 2 && rho <= cut ? 1 : 0, 0]],
  half: ["Half-plane π", (rho, theta) => [1, rho * Math.cos(theta) < -1e-9 ? Math.PI : 0]],
  vortex: ["Vortex", (rho, theta) => [1, rho > 0 ? theta : 0]],
  defocus: ["Defocus", (rho, _, cut) => [1, Math.PI * (rho / cut) ** 2]],
};
const CUTS = ["low", "high", "band", "defocus"]; // the presets that have a cut-off

/** A mask as one array: real and imaginary parts in turn, in the float32 that Python holds. */
export function preset(name, cut) {
  const mask = new Float32Array(2 * AREA);
  for (let i = 0; i < AREA; i++) {
    const [y, x] = [Math.floor(i / SIZE) - SIZE / 2, (i % SIZE) - SIZE / 2];
    const [amplitude, phase] = PRESETS[name][1](Math.hypot(y, x), Math.atan2(y, x), cut);
    mask[2 * i] = amplitude * Math.cos(phase);
    mask[2 * i + 1] = amplitude * Math.sin(phase);
  }
  return mask;
}

const part = (mask, offset) => new Float64Array(AREA).map((_, i) => mask[2 * i + offset]);

/**
 * The 4f system: transform, multiply by the mask, transform again.
 *
 * Two transforms forward flip the image: that is the `intensity` returned. `spectrum` is the intensity in
 * front of the mask, zero frequency in the middle; `light` is the share of it that the mask lets through.
 */
export function filter(object, mask) {
  const u = field(SIZE);
  u.re.set(object);
  fft2(u, SIZE);
  const spectrum = shifted(u.re.map((re, i) => re ** 2 + u.im[i] ** 2));
  const t = { re: shifted(part(mask, 0)), im: shifted(part(mask, 1)) };
  let [before, after] = [0, 0];
  for (let i = 0; i < AREA; i++) {
    before += u.re[i] ** 2 + u.im[i] ** 2;
    const re = (u.re[i] * t.re[i] - u.im[i] * t.im[i]) / AREA;
    u.im[i] = (u.re[i] * t.im[i] + u.im[i] * t.re[i]) / AREA;
    u.re[i] = re;
    after += (re ** 2 + u.im[i] ** 2) * AREA ** 2;
  }
  fft2(u, SIZE);
  return {
    intensity: u.re.map((re, i) => re ** 2 + u.im[i] ** 2),
    spectrum,
    light: before ? after / before : 0,
  };
}

/** Turn a picture by half a turn about its origin sample, as the 4f system does. */
export function flipped(image) {
  const out = new Float64Array(AREA);
  for (let y = 0; y < SIZE; y++) {
    const from = ((SIZE - y) % SIZE) * SIZE;
    for (let x = 0; x < SIZE; x++) out[y * SIZE + x] = image[from + ((SIZE - x) % SIZE)];
  }
  return out;
}

function render({ model, el }) {
  const bench = initial(model, DEFAULTS);
  const given = unpack(model.get("mask"));
  const start = { cut: 10, brush: "block", size: 4, phase: Math.PI, upright: false };
  const local = { preset: null, ...start };
  let mask;

  const shared = share(model);
  const page = frame(el, {
    title: "Paint a Fourier mask",
    help:
      "Paint on the mask or on the spectrum; draw on the object. In the mask colour is phase and black is " +
      "blocked. With no mask the 4f system returns the object turned by half a turn. Keyboard: arrow keys " +
      "move, the space bar paints.",
    reset() {
      object.reset();
      Object.assign(local, start);
      controls.cut.set(start.cut);
      controls.brush.set(start.brush);
      controls.size.set(start.size);
      controls.phase.set(start.phase / Math.PI);
      controls.phase.show(false);
      controls.upright.set(start.upright);
      use(given);
      publish();
    },
  });
  const object = sketch(shared, model, page, () => view.soon());
  const spectrum = picture("Spectrum", { ends: [`10⁻${"⁰¹²³⁴⁵⁶"[DECADES]}`, "1"] });
  const plane = picture("Mask", { map: "phase", ends: ["−π", "π"] });
  const image = picture("Image", { ends: ["0", "peak"] });
  page.pictures.append(object.picture.node, spectrum.node, plane.node, image.node);

  let result;
  const view = redraw(() => {
    result = filter(object.values, mask);
    const intensity = object.values.map((v) => v ** 2);
    const peak = largest(result.intensity);
    const top = Math.log10(largest(result.spectrum) || 1);
    const decades = result.spectrum.map((v) => Math.log10(v + 1e-300) - top);
    const t = { re: part(mask, 0), im: part(mask, 1) };
    // What the mask blocks stays faintly visible, so that it can be found again.
    const brightness = t.re.map((re, i) => 0.25 + 0.75 * Math.min(1, Math.hypot(re, t.im[i])));
    object.picture.values(intensity, 0, 1);
    spectrum.values(decades, -DECADES, 0, brightness);
    plane.complex(t);
    image.values(local.upright ? flipped(result.intensity) : result.intensity, 0, peak);
    describe(peak);
  });

  const frequency = (cut) => cut / (SIZE * bench.pitch);
  const radius = (cut) => bench.wavelength * bench.focal_length * frequency(cut);
  function describe(peak) {
    const light = `${number(100 * result.light)} %`;
    const name = local.preset ? PRESETS[local.preset][0].toLowerCase() : "painted";
    object.picture.note(`↔ ${quantity(SIZE * bench.pitch, "m")}`);
    spectrum.note("log scale");
    plane.note(`↔ ${quantity(radius(SIZE), "m")}`);
    image.note(local.upright ? "upright" : "as it arrives");
    page.tell([
      ["Light through the mask", light],
      ["Peak of the image", number(peak)],
      ["Lenses", `f = ${quantity(bench.focal_length, "m")}`],
      ["Wavelength", quantity(bench.wavelength, "m")],
    ]);
    const way = local.upright ? "turned upright" : "upside down";
    image.describe(`Image behind the mask, ${way}; peak intensity ${number(peak)}.`);
    page.say("result", `Mask: ${name}. ${light} of the light passes; peak of the image ${number(peak)}.`);
  }

  /** Take a mask: a preset by its name, an array as it is, nothing for the open mask. */
  function use(source) {
    local.preset = source === null ? "open" : typeof source === "string" ? source : null;
    mask = local.preset ? preset(local.preset, local.cut) : Float32Array.from(source);
    controls.presets.set(local.preset);
    controls.cut.show(CUTS.includes(local.preset));
    view.soon();
  }
  const publish = () => shared.put("mask", () => pack(local.preset === "open" ? [] : mask));
  function take(name) {
    use(name);
    publish();
  }
  function dab(x, y) {
    const phase = local.brush === "phase" ? local.phase : 0;
    const amplitude = local.brush === "block" ? 0 : 1;
    disc(x, y, local.size, (i) => {
      mask[2 * i] = amplitude * Math.cos(phase);
      mask[2 * i + 1] = amplitude * Math.sin(phase);
    });
    use(mask);
    publish();
  }
  function where(x, y) {
    const i = 2 * (y * SIZE + x);
    const amplitude = number(Math.hypot(mask[i], mask[i + 1]), 2);
    const phase = number(Math.atan2(mask[i + 1], mask[i]) / Math.PI, 2);
    return `Mask, row ${y}, column ${x}: amplitude ${amplitude}, phase ${phase} pi.`;
  }
  const keys = "Arrow keys move the brush, the space bar paints.";
  const brush = { cells: SIZE, radius: () => local.size, dab, done: shared.flush, where, say: page.say };
  paintable(spectrum, { ...brush, label: `Spectrum under the mask. ${keys}` });
  paintable(plane, { ...brush, label: `Mask. ${keys}` });

  const controls = {
    presets: choice({
      label: "Mask",
      options: Object.fromEntries(Object.entries(PRESETS).map(([name, [text]]) => [name, text])),
      value: null,
      change: take,
    }),
    cut: slider({
      label: "Cut-off",
      low: 1,
      high: 63,
      step: 0.5,
      value: local.cut,
      text: (v) => `${number(frequency(v) / 1e3)} cycles/mm`,
      change: (v) => ((local.cut = v), take(local.preset)),
      settle: shared.flush,
    }),
    brush: choice({
      label: "Brush",
      options: { block: "Block", pass: "Pass", phase: "Phase" },
      value: local.brush,
      change: (v) => ((local.brush = v), controls.phase.show(v === "phase")),
    }),
    size: slider({
      label: "Brush radius",
      low: 0.5,
      high: 16,
      step: 0.5,
      value: local.size,
      text: (v) => quantity(radius(v), "m"),
      change: (v) => (local.size = v),
    }),
    phase: slider({
      label: "Brush phase",
      low: -1,
      high: 1,
      step: 0.05,
      value: start.phase / Math.PI,
      text: (v) => `${number(v)} π`,
      change: (v) => (local.phase = v * Math.PI),
    }),
    upright: toggle({
      label: "Show upright",
      value: false,
      change: (v) => ((local.upright = v), view.soon()),
    }),
  };
  page.control(
    [...object.controls, controls.upright],
    [controls.presets, controls.cut],
    [controls.brush, controls.size, controls.phase],
  );
  controls.phase.show(false);
  shared.on("mask", (view) => use(unpack(view)));
  for (const name of Object.keys(DEFAULTS)) {
    shared.on(name, (value) => {
      bench[name] = value;
      controls.cut.set(local.cut); // the same samples are other lengths now
      controls.size.set(local.size);
      view.soon();
    });
  }
  expose(el, view, { object: () => object.values, mask: () => mask, image: () => result.intensity });
  use(given);
  return () => {
    shared.stop();
    page.close();
  };
}

export default { render };
