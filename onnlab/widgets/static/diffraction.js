import { chart, ticks } from "./charts.js";
import { AREA, SIZE, clamp, discShare, fft, fft2, field, largest } from "./lib.js";
import { choice, expose, frame, initial, number, picture, quantity, redraw, share, slider } from "./ui.js";

const PADDED = 2 * SIZE; // darkness around the window, so that light which leaves it is gone
const INNER = 0.6; // of the radius: where the ring and the bar between the slits begin
const PARAXIAL_TOLERANCE = 1; // radians
const SHAPES = { circle: "Circle", square: "Square", slits: "Two slits", ring: "Ring" };
const DEFAULTS = {
  shape: "circle",
  radius: 2e-4,
  distance: 0.02,
  wavelength: 532e-9,
  pitch: 1e-5,
  tone: "root",
};

// How intensities between 0 and 1 are shown, and the ticks of their axis.
const TONES = {
  linear: [
    (v) => v,
    [
      [0, "0"],
      [0.5, "0.5"],
      [1, "1"],
    ],
  ],
  root: [
    Math.sqrt,
    [
      [0, "0"],
      [0.1, "0.1"],
      [0.5, "0.5"],
      [1, "1"],
    ],
  ],
  log: [
    (v) => Math.max(0, 1 + Math.log10(Math.max(v, 1e-9)) / 4),
    [
      [1e-4, "10⁻⁴"],
      [1e-2, "10⁻²"],
      [1, "1"],
    ],
  ],
};

/** Transmission of the opening: cells on its rim are partly open, by the share of their area. */
export function aperture({ shape, radius, pitch }) {
  const open = { circle: discShare, square: rectangle, ring: hollow(discShare), slits: hollowInX }[shape];
  const out = new Float64Array(AREA);
  for (let row = 0; row < SIZE; row++) {
    for (let column = 0; column < SIZE; column++) {
      const [y, x] = [row - SIZE / 2, column - SIZE / 2];
      out[row * SIZE + column] = open(Math.abs(y), Math.abs(x), radius / pitch);
    }
  }
  return out;
}

const covered = (v, half) => Math.min(2 * half, clamp(half - v + 0.5));
const rectangle = (y, x, a) => covered(y, a) * covered(x, a);
const hollow = (shape) => (y, x, a) => shape(y, x, a) - shape(y, x, INNER * a);
const hollowInX = (y, x, a) => covered(y, a) * (covered(x, a) - covered(x, INNER * a));

/** Distance up to which the transfer function of the padded window is sampled finely enough. */
export function criticalDistance({ pitch, wavelength }) {
  return ((PADDED * pitch ** 2) / wavelength) * Math.sqrt(Math.max(0, 1 - (wavelength / (2 * pitch)) ** 2));
}

/** The method that onnlab.optics.propagate takes by itself. */
export function chooseMethod({ pitch, wavelength, distance }) {
  if (distance <= criticalDistance({ pitch, wavelength })) return "angular_spectrum";
  const diagonal = Math.SQRT2 * SIZE * pitch;
  const error = ((2 * Math.PI) / wavelength) * (diagonal ** 4 / (8 * distance ** 3));
  return error <= PARAXIAL_TOLERANCE ? "fresnel" : "angular_spectrum";
}

// The transfer function is even in both frequencies: a wave and its mirror images are computed once.
function angularSpectrum({ pitch, wavelength, distance }) {
  const out = field(PADDED);
  const step = wavelength / (PADDED * pitch); // directions: frequencies times the wavelength
  const limit = 1 / Math.hypot((2 * distance) / (PADDED * pitch), 1);
  const k = (2 * Math.PI) / wavelength;
  for (let m = 0; m <= PADDED / 2; m++) {
    for (let n = 0; n <= PADDED / 2; n++) {
      const [a, b] = [m * step, n * step];
      if ((a / limit) ** 2 + b ** 2 > 1 || (b / limit) ** 2 + a ** 2 > 1) continue;
      const phase = k * distance * Math.sqrt(1 - a ** 2 - b ** 2);
      const [re, im] = [Math.cos(phase), Math.sin(phase)];
      const [y, x] = [(PADDED - m) % PADDED, (PADDED - n) % PADDED];
      for (const i of [m * PADDED + n, m * PADDED + x, y * PADDED + n, y * PADDED + x]) {
        out.re[i] = re;
        out.im[i] = im;
      }
    }
  }
  return out;
}

// The transform of the sampled impulse response, one axis at a time. Its constant phase is left out: no
// intensity shows it.
function fresnel({ pitch, wavelength, distance }) {
  const axis = { re: new Float64Array(PADDED), im: new Float64Array(PADDED) };
  for (let i = 0; i < PADDED; i++) {
    const x = (i < SIZE ? i : i - PADDED) * pitch;
    const phase = (Math.PI * x ** 2) / (wavelength * distance);
    const amplitude = pitch / Math.sqrt(wavelength * distance);
    axis.re[i] = amplitude * Math.cos(phase);
    axis.im[i] = amplitude * Math.sin(phase);
  }
  fft(axis, PADDED);
  const out = field(PADDED);
  for (let y = 0; y < PADDED; y++) {
    for (let x = 0; x < PADDED; x++) {
      out.re[y * PADDED + x] = axis.re[y] * axis.re[x] - axis.im[y] * axis.im[x];
      out.im[y * PADDED + x] = axis.re[y] * axis.im[x] + axis.im[y] * axis.re[x];
    }
  }
  return out;
}

/** Intensity behind an opening that a plane wave of intensity 1 falls on, at the distance of `bench`. */
export function diffract(opening, bench) {
  const u = field(PADDED);
  for (let y = 0; y < SIZE; y++) u.re.set(opening.subarray(y * SIZE, (y + 1) * SIZE), y * PADDED);
  fft2(u, PADDED);
  const transfer = chooseMethod(bench) === "fresnel" ? fresnel(bench) : angularSpectrum(bench);
  for (let i = 0; i < u.re.length; i++) {
    const re = u.re[i] * transfer.re[i] - u.im[i] * transfer.im[i];
    u.im[i] = u.re[i] * transfer.im[i] + u.im[i] * transfer.re[i];
    u.re[i] = re;
  }
  fft2(u, PADDED, true);
  const intensity = new Float64Array(AREA);
  for (let i = 0; i < intensity.length; i++) {
    const j = Math.floor(i / SIZE) * PADDED + (i % SIZE);
    intensity[i] = u.re[j] ** 2 + u.im[j] ** 2;
  }
  return intensity;
}

const REGIMES = [
  [10, "shadow"],
  [0.5, "Fresnel"],
  [0, "Fraunhofer"],
];

function render({ model, el }) {
  const first = initial(model, DEFAULTS);
  const bench = { ...first };
  const shared = share(model);
  const page = frame(el, {
    title: "Diffraction behind an opening",
    help:
      "A plane wave of intensity 1 falls on the opening from behind. Move the distance slowly and watch " +
      "the shadow dissolve.",
    layout: "onn-profile",
    reset: () => Object.entries(first).forEach(([name, value]) => (show(name, value), put(name, value))),
  });
  const opening = picture("Opening", { ends: ["closed", "open"] });
  const screen = picture("Intensity", { ends: ["0", "peak"] });
  const profile = chart("Profile", { note: "intensity / peak" });
  page.pictures.append(opening.node, screen.node, profile.node);

  let transmission, intensity, cut;
  const view = redraw(() => {
    const wanted = [bench.shape, bench.radius, bench.pitch].join();
    if (cut !== wanted) transmission = aperture(bench);
    cut = wanted;
    intensity = diffract(transmission, bench);
    const peak = largest(intensity);
    const [tone, levels] = TONES[bench.tone];
    const shown = intensity.map((v) => tone(v / peak));
    opening.values(transmission, 0, 1);
    screen.values(shown, 0, 1);
    const middle = (SIZE / 2) * SIZE;
    const step = bench.pitch * 1e3;
    const reach = (SIZE / 2) * step;
    profile.draw({
      x: { from: -reach, to: reach, ticks: ticks(-reach, reach), label: "x (mm)" },
      y: { from: 0, to: 1, ticks: levels.map(([v, text]) => [tone(v), text]) },
      lines: [Array.from(shown.subarray(middle, middle + SIZE), (v, i) => [i * step - reach, v])],
    });
    describe(peak);
  });

  function describe(peak) {
    const { radius, distance, wavelength, pitch, shape } = bench;
    const fresnelNumber = radius ** 2 / (wavelength * distance);
    const regime = REGIMES.find(([above]) => fresnelNumber >= above)[1];
    const method = chooseMethod(bench) === "fresnel" ? "Fresnel" : "angular spectrum";
    const away = quantity(distance, "m");
    const width = quantity(SIZE * pitch, "m");
    const name = SHAPES[shape].toLowerCase();
    const order = number(fresnelNumber);
    opening.note(`↔ ${width}`);
    screen.note(`after ${away}`);
    page.tell([
      ["Fresnel number a²/λz", `${order} (${regime})`],
      ["Peak", `${number(peak)} × incident`],
      ["Method", method],
      ["Critical distance", quantity(criticalDistance(bench), "m")],
    ]);
    opening.describe(`Opening: ${name}, half width ${quantity(radius, "m")}, in a window ${width} wide.`);
    screen.describe(`Intensity ${away} behind the opening: ${regime} region, peak ${number(peak)}.`);
    profile.describe(`Intensity along the horizontal line through the middle, ${width} long.`);
    page.say("result", `${name}, ${away}: Fresnel number ${order}, peak ${number(peak)}, ${method}.`);
  }

  const put = (name, value) => {
    bench[name] = value;
    shared.put(name, () => bench[name]);
    view.soon();
  };
  // The slider of the distance moves in powers of ten.
  const inner = (name, value) => (name === "distance" ? Math.log10(value) : value);
  const length = (name, label, low, high, step) =>
    slider({
      label,
      low: inner(name, low),
      high: inner(name, high),
      step,
      value: inner(name, bench[name]),
      text: (v) => quantity(name === "distance" ? 10 ** v : v, "m"),
      change: (v) => put(name, name === "distance" ? 10 ** v : v),
      settle: shared.flush,
    });
  const controls = {
    shape: choice({ label: "Opening", options: SHAPES, value: bench.shape, change: (v) => put("shape", v) }),
    tone: choice({
      label: "Brightness",
      options: { linear: "Linear", root: "Root", log: "Log" },
      value: bench.tone,
      change: (v) => put("tone", v),
    }),
    distance: length("distance", "Distance z", 1e-3, 0.5, 0.005),
    radius: length("radius", "Half width a", 3e-5, 5e-4, 1e-5),
    wavelength: length("wavelength", "Wavelength λ", 4e-7, 7e-7, 1e-9),
  };
  page.control([controls.shape, controls.tone], [controls.distance, controls.radius, controls.wavelength]);
  const show = (name, value) => controls[name]?.set(inner(name, value)); // the pitch has no control
  for (const name of Object.keys(DEFAULTS)) {
    shared.on(name, (value) => {
      bench[name] = value;
      show(name, value);
      view.soon();
    });
  }
  expose(el, view, { aperture: () => transmission, intensity: () => intensity });
  view.soon();
  return () => {
    shared.stop();
    profile.close();
    page.close();
  };
}

export default { render };
