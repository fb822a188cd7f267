import { chart, ticks } from "./charts.js";
import { AREA, SIZE, discShare, fft2, field, shifted, unpackBlock } from "./lib.js";
import { choice, expose, frame, h, initial, number, picture, quantity, redraw, share, slider } from "./ui.js";

const ACROSS = 63; // cells along the diameter of the lens, as in Python
const SIDE = 64; // of the screen, and of the middle of the PSF that is shown
const DECADES = 4; // of brightness that the picture of the PSF shows
const ERRORS = { noise: "Noise", levels: "Levels", shift: "Shift", defocus: "Defocus" };
const DEFAULTS = {
  table: {},
  noise: 0,
  levels: 256,
  shift: 0,
  defocus: 0,
  shown: "noise",
  diameter: 0.63e-3,
  focal_length: 0.025,
  wavelength: 532e-9,
};

const sum = (values) => values.reduce((total, v) => total + v, 0);

/** Transmission of the opening. */
export function lens() {
  const out = new Float64Array(AREA);
  return out.map((_, i) => discShare(Math.floor(i / SIZE) - SIZE / 2, (i % SIZE) - SIZE / 2, ACROSS / 2));
}

/** Errors of the phase in radians: of the lens and its focus, and the ramp that moves the spot. */
export function errors({ noise, levels, shift, defocus, diameter, focal_length, wavelength }, screen) {
  const pitch = diameter / ACROSS;
  // In turns, and without powers, so that Python and the browser round alike to the last bit.
  const scale = (-pitch * pitch) / (2 * wavelength * focal_length);
  const [phase, ramp] = [new Float64Array(AREA), new Float64Array(AREA)];
  const margin = (SIZE - SIDE) / 2;
  for (let y = -SIZE / 2; y < SIZE / 2; y++) {
    for (let x = -SIZE / 2; x < SIZE / 2; x++) {
      const i = (y + SIZE / 2) * SIZE + x + SIZE / 2;
      const turns = (y * y + x * x) * scale;
      const rounding = Math.floor(turns * levels + 0.5) / levels - turns;
      const [row, column] = [y + SIZE / 2 - margin, x + SIZE / 2 - margin];
      const inside = Math.min(row, column) >= 0 && Math.max(row, column) < SIDE;
      const rough = inside ? screen[row * SIDE + column] : 0;
      phase[i] = 2 * Math.PI * (rounding + turns * (defocus / focal_length)) + noise * rough;
      ramp[i] = ((2 * Math.PI) / (wavelength * focal_length)) * shift * (x * pitch);
    }
  }
  return { phase, ramp };
}

// Brightness in the middle of the spot over that of a perfect lens: Fourier sums at frequency zero.
function middle({ re, im }, opening) {
  return (sum(re) ** 2 + sum(im) ** 2) / sum(opening) ** 2;
}

function pupilOf(opening, phase) {
  return { re: opening.map((a, i) => a * Math.cos(phase[i])), im: opening.map((a, i) => a * Math.sin(phase[i])) };
}

/** Pupil, PSF as onnlab.optics.psf has it, Strehl ratio, and brightness at the wanted place. */
export function build(bench, screen, opening = lens()) {
  const { phase, ramp } = errors(bench, screen);
  const strehl = middle(pupilOf(opening, phase), opening);
  const pupil = pupilOf(opening, phase.map((v, i) => v + ramp[i]));
  const u = field(SIZE);
  u.re.set(shifted(pupil.re));
  u.im.set(shifted(pupil.im));
  fft2(u, SIZE);
  const light = AREA * sum(opening.map((a) => a ** 2));
  const psf = shifted(u.re.map((re, i) => (re ** 2 + u.im[i] ** 2) / light));
  return { pupil, psf, strehl, atPlace: middle(pupil, opening), peak: sum(opening) ** 2 / light };
}

/** Where the axis of an error has a size: levels double from step to step. */
export const place = (name, size) => (name === "levels" ? Math.log2(size) : size);

/** Accuracy at a size, linear between two of a curve: { mean, std, how }, or null outside. */
export function read(name, { sizes, mean, std }, size) {
  const last = sizes.length - 1;
  if (!(size >= sizes[0] && size <= sizes[last])) return null;
  const i = Math.min(last - 1, Math.max(0, sizes.findIndex((s) => s > size) - 1));
  const from = size === sizes[last] ? last - 1 : i;
  const [low, high] = [place(name, sizes[from]), place(name, sizes[from + 1])];
  const share = (place(name, size) - low) / (high - low);
  const at = (values) => values && (1 - share) * values[from] + share * values[from + 1];
  return { mean: at(mean), std: at(std), how: sizes.includes(size) ? "measured" : "interpolated" };
}

/** Ends of a slider: no error, and as far as the curve; without one, as far as the spot changes its form. */
export function ends(name, { table, diameter, focal_length, wavelength }) {
  const none = name === "levels" ? DEFAULTS.levels : 0;
  const sizes = table[name]?.sizes;
  if (sizes) return [Math.min(none, sizes[0]), Math.max(none, sizes.at(-1))];
  const dark = 8 * wavelength * (focal_length / diameter) ** 2; // the first zero on the axis
  const far = (8 * wavelength * focal_length * ACROSS) / (SIZE * diameter); // eight samples of the PSF
  return { noise: [0, 2], levels: [2, none], shift: [0, far], defocus: [0, dark] }[name];
}

const percent = (v) => (100 * v).toFixed(1);
const words = (name, v) =>
  ({ noise: () => `${number(v)} rad`, levels: () => String(v) })[name]?.() ?? quantity(v, "m");

function render({ model, el }) {
  const first = initial(model, DEFAULTS);
  const bench = { ...first };
  const names = Object.keys(ERRORS);
  const measured = names.filter((name) => bench.table[name]);
  const opening = lens();
  const shared = share(model);
  const page = frame(el, {
    title: "A lens as it is built",
    help:
      "Each error changes the light at once. The frame is the Airy disc at its place." +
      (measured.length
        ? " The accuracies come from a table, for each error alone: devices were built and measured at some " +
          "sizes; between two of them the accuracy is interpolated linearly."
        : ""),
    layout: "onn-profile",
    reset: () => Object.keys(controls).forEach((name) => (put(name, first[name]), show(name, first[name]))),
  });
  const pupil = picture("Lens", { map: "phase", ends: ["−π", "π"], size: SIDE });
  const spot = picture("PSF", { ends: [`10⁻${"⁰¹²³⁴"[DECADES]}`, "1"], size: SIDE });
  const airy = (1.22 * SIZE) / ACROSS; // radius of the first dark ring, in samples
  const [corner, width] = [SIDE / 2 + 0.5 - airy, 2 * airy].map((samples) => `${(100 * samples) / SIDE}%`);
  spot.stage.append(h("div", { class: "onn-cut", style: `left:${corner};top:${corner};width:${width}` }));
  const curve = chart("Accuracy (%)", { kinds: ["mean", "± std"] });
  page.pictures.append(pupil.node, spot.node);
  if (measured.length) page.pictures.append(curve.node);

  const cropped = (values) => {
    const margin = (SIZE - SIDE) / 2;
    const rows = Array.from({ length: SIDE }, (_, y) => (y + margin) * SIZE + margin);
    return Float64Array.from(rows.flatMap((start) => Array.from(values.subarray(start, start + SIDE))));
  };
  let screen = unpackBlock(model.get("screen")).values;
  let built, answers;
  const view = redraw(() => {
    built = build(bench, screen, opening);
    answers = Object.fromEntries(measured.map((name) => [name, read(name, bench.table[name], bench[name])]));
    pupil.complex({ re: cropped(built.pupil.re), im: cropped(built.pupil.im) });
    const decades = cropped(built.psf).map((v) => Math.log10(v / built.peak + 1e-300));
    spot.values(decades, -DECADES, 0);
    if (bench.table[bench.shown]) drawCurve(bench.shown, bench.table[bench.shown]);
    describe();
  });

  function drawCurve(name, { sizes, mean, std }) {
    const [factor, unit] = { noise: [1, " (rad)"], levels: [1, ""] }[name] ?? [1e6, " (µm)"];
    const along = (size) => place(name, size) * factor;
    const [from, to] = [along(sizes[0]), along(sizes.at(-1))];
    const line = (sign) => sizes.map((s, i) => [along(s), 100 * (mean[i] + (std ? sign * std[i] : 0))]);
    const band = std ? [...line(1), ...line(-1).reverse()] : null;
    const low = Math.max(0, 10 * Math.floor(Math.min(99, ...line(-1).map(([, v]) => v)) / 10));
    const doublings = Array.from({ length: Math.floor(to) }, (_, i) => [i + 1, 2 ** (i + 1)]);
    curve.draw({
      x: {
        from,
        to,
        ticks: name === "levels" ? doublings.filter(([v]) => v >= from) : ticks(from, to),
        label: `${ERRORS[name].toLowerCase()}${unit}`,
      },
      y: { from: low, to: 100, ticks: ticks(low, 100) },
      lines: [line(0), band],
      mark: answers[name] && along(bench[name]),
    });
    curve.note(`${ERRORS[name].toLowerCase()} alone`);
  }

  function describe() {
    const [strehl, here] = [number(built.strehl), number(built.atPlace)];
    const rule = Math.sin(Math.PI / bench.levels) / (Math.PI / bench.levels);
    const told = (answer) => {
      if (!answer) return "none";
      return `${percent(answer.mean)}${answer.std === null ? "" : ` ± ${percent(answer.std)}`} %`;
    };
    page.tell([
      ["Strehl ratio", strehl],
      ["Brightness at its place", here],
      ["sinc²(1/L) · e^(−σ²)", number(rule ** 2 * Math.exp(-(bench.noise ** 2)))],
      ["Airy radius", quantity((1.22 * bench.wavelength * bench.focal_length) / bench.diameter, "m")],
      ...measured.map((name) => [`${ERRORS[name]}, ${answers[name]?.how ?? "off the table"}`, told(answers[name])]),
    ]);
    const state = names.map((name) => `${ERRORS[name].toLowerCase()} ${words(name, bench[name])}`).join(", ");
    const width = quantity((SIDE * bench.wavelength * bench.focal_length * ACROSS) / (SIZE * bench.diameter), "m");
    pupil.note("phase error");
    spot.note(`↔ ${width}, log`);
    pupil.describe(`Error of the phase over the lens, with ${state}.`);
    spot.describe(`Point spread function, ${width} wide: Strehl ratio ${strehl}, ${here} at the wanted place.`);
    const answer = answers[bench.shown];
    const accuracy = answer ? ` Accuracy with ${bench.shown} alone ${told(answer)}, ${answer.how}.` : "";
    curve.describe(`Accuracy over the size of one error, ${bench.shown}.${accuracy}`);
    page.say("result", `${state}: Strehl ratio ${strehl}, ${here} at the wanted place.${accuracy}`);
  }

  function put(name, value) {
    bench[name] = value;
    shared.put(name, () => bench[name]);
    view.soon();
  }
  const error = (name, label) => {
    const [low, high] = ends(name, bench).map((size) => place(name, size));
    const size = (v) => (name === "levels" ? Math.round(2 ** v) : v);
    return slider({
      label,
      low,
      high,
      step: name === "levels" ? 1 : 10 ** (Math.floor(Math.log10(high - low)) - 2),
      value: place(name, bench[name]),
      text: (v) => words(name, size(v)),
      change(v) {
        put(name, size(v));
        if (bench.table[name] && bench.shown !== name) (put("shown", name), show("shown", name));
      },
      settle: shared.flush,
    });
  };
  const controls = {
    noise: error("noise", "Phase noise σ"),
    levels: error("levels", "Phase levels L"),
    shift: error("shift", "Lateral shift d"),
    defocus: error("defocus", "Defocus z"),
    shown: choice({
      label: "Accuracy against",
      options: Object.fromEntries(measured.map((name) => [name, ERRORS[name]])),
      value: bench.shown,
      change: (name) => put("shown", name),
    }),
  };
  const show = (name, value) => controls[name]?.set(place(name, value)); // the lens has no controls
  page.control([controls.noise, controls.levels], [controls.shift, controls.defocus]);
  if (measured.length > 1) page.control([controls.shown]);
  for (const name of Object.keys(DEFAULTS)) {
    shared.on(name, (value) => {
      bench[name] = value;
      show(name, value);
      view.soon();
    });
  }
  shared.on("screen", (block) => {
    screen = unpackBlock(block).values;
    view.soon();
  });
  expose(el, view, {
    psf: () => built.psf,
    ratios: () => [built.strehl, built.atPlace],
    accuracy: () => measured.flatMap((name) => [answers[name]?.mean ?? NaN, answers[name]?.std ?? NaN]),
  });
  view.soon();
  return () => {
    shared.stop();
    curve.close();
    page.close();
  };
}

export default { render };
