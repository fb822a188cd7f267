import { AREA, SIZE, fft2, field, largest, shifted } from "./lib.js";
import { sketch } from "./paint.js";
import { choice, expose, frame, h, initial, number, picture, redraw, share, slider } from "./ui.js";

const DEFAULTS = { size: 32, other: "sample" };
const LEAST = 4;
const DECADES = 6; // of intensity that the spectrum shows
const OTHERS = { sample: "Every n-th pixel", average: "Average", maximum: "Maximum" };

/** Whether a pool to m samples keeps frequency k (a number of periods): the Nyquist sample of an even m falls. */
export const keeps = (k, m) => m === SIZE || 2 * Math.abs(k) < m;

/** Shrink an image to m x m samples by keeping the middle of its spectrum; also the kept share of it. */
export function spectralPool(values, m) {
  const u = field(SIZE);
  u.re.set(values);
  fft2(u, SIZE);
  const spectrum = shifted(u.re.map((re, i) => re ** 2 + u.im[i] ** 2));
  const low = field(m);
  let kept = 0;
  for (let ky = -Math.floor(m / 2); ky < m / 2; ky++) {
    for (let kx = -Math.floor(m / 2); kx < m / 2; kx++) {
      if (!keeps(ky, m) || !keeps(kx, m)) continue;
      const from = ((ky + SIZE) % SIZE) * SIZE + ((kx + SIZE) % SIZE);
      const to = ((ky + m) % m) * m + ((kx + m) % m);
      // The inverse transform divides by m^2 instead of SIZE^2: this factor keeps the brightness.
      low.re[to] = u.re[from] * (m / SIZE) ** 2;
      low.im[to] = u.im[from] * (m / SIZE) ** 2;
      kept += u.re[from] ** 2 + u.im[from] ** 2;
    }
  }
  fft2(low, m, true);
  const total = spectrum.reduce((sum, v) => sum + v, 0);
  return { pooled: low.re, spectrum, kept: total ? kept / total : 1 };
}

const REDUCE = {
  sample: (block) => block[0],
  average: (block) => block.reduce((sum, v) => sum + v, 0) / block.length,
  maximum: (block) => Math.max(...block),
};

/** Shrink an image to m x m samples by one value of each block; blocks overlap if m does not divide. */
export function blockPool(values, m, how) {
  const starts = Array.from({ length: m }, (_, i) => Math.floor((i * SIZE) / m));
  const ends = Array.from({ length: m }, (_, i) => Math.ceil(((i + 1) * SIZE) / m));
  const out = new Float64Array(m * m);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < m; j++) {
      const block = [];
      for (let y = starts[i]; y < ends[i]; y++) {
        for (let x = starts[j]; x < ends[j]; x++) block.push(values[y * SIZE + x]);
      }
      out[i * m + j] = REDUCE[how](block);
    }
  }
  return out;
}

function render({ model, el }) {
  const first = initial(model, DEFAULTS);
  const bench = { ...first };
  const shared = share(model);
  const page = frame(el, {
    title: "Pool a picture",
    help:
      "The frame in the spectrum is what the spectral pool keeps; the rest is cut off. Taking every n-th " +
      "pixel cuts nothing off: fine patterns come back as coarse ones that were never there. Draw on the object.",
    reset() {
      object.reset();
      Object.entries(first).forEach(([name, value]) => (controls[name].set(value), put(name, value)));
    },
  });
  const object = sketch(shared, model, page, () => view.soon());
  const spectrum = picture("Spectrum", { ends: [`10⁻${"⁰¹²³⁴⁵⁶"[DECADES]}`, "1"] });
  const cut = h("div", { class: "onn-cut" });
  spectrum.stage.append(cut);
  const pooled = picture("Spectral pool", { ends: ["0", "1"] });
  const compared = picture(OTHERS[bench.other], { ends: ["0", "1"] });
  page.pictures.append(object.picture.node, spectrum.node, pooled.node, compared.node);

  let result, other;
  const view = redraw(() => {
    const m = bench.size;
    result = spectralPool(object.values, m);
    other = blockPool(object.values, m, bench.other);
    const top = Math.log10(largest(result.spectrum) || 1);
    const decades = result.spectrum.map((v) => Math.log10(v + 1e-300) - top);
    const inside = (i) => keeps(Math.floor(i / SIZE) - SIZE / 2, m) && keeps((i % SIZE) - SIZE / 2, m);
    object.picture.values(object.values, 0, 1);
    spectrum.values(decades, -DECADES, 0, Float64Array.from({ length: AREA }, (_, i) => (inside(i) ? 1 : 0.45)));
    for (const [shown, values] of [
      [pooled, result.pooled],
      [compared, other],
    ]) {
      shown.resize(m);
      shown.values(values, 0, 1);
      shown.note(`${m} × ${m}`);
    }
    describe(m);
  });

  const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
  function describe(m) {
    const low = m === SIZE ? SIZE / 2 : Math.ceil(m / 2) - 1; // the largest frequency kept
    const side = Math.min(SIZE, 2 * low + 1);
    const start = SIZE / 2 - low;
    const share = (v) => `${(100 * v) / SIZE}%`;
    Object.assign(cut.style, { left: share(start), top: share(start), width: share(side) });
    const name = OTHERS[bench.other];
    const apart = Math.sqrt(mean(result.pooled.map((v, i) => (v - other[i]) ** 2)));
    const [whole, ours, theirs] = [object.values, result.pooled, other].map((v) => number(mean(v)));
    const kept = `${number(100 * result.kept)} %`;
    compared.rename(name);
    object.picture.note(`${SIZE} × ${SIZE}`);
    spectrum.note("log scale");
    page.tell([
      ["Finest period kept", `${number(SIZE / low)} pixels`],
      ["Energy kept", kept],
      ["Mean: object, pools", `${whole}, ${ours}, ${theirs}`],
      ["Pools differ by (rms)", number(apart)],
    ]);
    pooled.describe(`Spectral pool to ${m} × ${m} samples, mean ${ours}.`);
    compared.describe(`${name}, ${m} × ${m} samples, mean ${theirs}.`);
    spectrum.describe(`Spectrum of the object; the frame keeps frequencies up to ${low} periods.`);
    page.say("result", `${m} by ${m}: ${kept} of the energy kept; the two pools differ by ${number(apart)}.`);
  }

  function put(name, value) {
    bench[name] = value;
    shared.put(name, () => bench[name]);
    view.soon();
  }
  const controls = {
    size: slider({
      label: "Size of the result",
      low: LEAST,
      high: SIZE,
      step: 1,
      value: bench.size,
      text: (m) => `${m} × ${m}`,
      change: (m) => put("size", m),
      settle: shared.flush,
    }),
    other: choice({
      label: "Compare with",
      options: OTHERS,
      value: bench.other,
      change: (name) => put("other", name),
    }),
  };
  page.control(object.controls, [controls.size, controls.other]);
  for (const name of Object.keys(DEFAULTS)) {
    shared.on(name, (value) => {
      bench[name] = value;
      controls[name].set(value);
      view.soon();
    });
  }
  expose(el, view, { object: () => object.values, pooled: () => result.pooled, compared: () => other });
  view.soon();
  return () => {
    shared.stop();
    page.close();
  };
}

export default { render };
