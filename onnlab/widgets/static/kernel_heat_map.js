import { chart, ticks } from "./charts.js";
import { largest, unpackBlock } from "./lib.js";
import { choice, expose, frame, h, initial, number, picture, redraw, share, slider, toggle } from "./ui.js";

const DEFAULTS = { labels: [], steps: [], shown: 0, centre: true, order: "class" };
const DECADES = 4; // of eigenvalues that the plot shows
const VIVID = 0.99; // share of the entries that are no larger than the last colour

const mean = (values) => values.reduce((total, v) => total + v, 0) / values.length;

/** Take off what all examples have in common: HKH, with H the identity less 1/n. */
export function centred(K, n) {
  const rows = Float64Array.from({ length: n }, (_, i) => mean(K.subarray(i * n, (i + 1) * n)));
  const columns = new Float64Array(n);
  K.forEach((v, i) => (columns[i % n] += v / n));
  const all = mean(rows);
  return K.map((v, i) => v - rows[Math.floor(i / n)] - columns[i % n] + all);
}

/** The kernel of the labels: 1 for two examples of one class, else 0. */
export function labelKernel(labels) {
  return Float64Array.from(labels.flatMap((a) => labels.map((b) => (a === b ? 1 : 0))));
}

/** Cosine between two kernels. */
export function alignment(K, other) {
  let [product, size, otherSize] = [0, 0, 0];
  K.forEach((v, i) => ((product += v * other[i]), (size += v ** 2), (otherSize += other[i] ** 2)));
  return product / Math.max(Math.sqrt(size * otherSize), 1e-300);
}

/** The examples in the order in which they are shown: as they came, or class by class. */
export function ordered(labels, order) {
  const places = labels.map((_, i) => i);
  return order === "class" ? places.sort((a, b) => labels[a] - labels[b] || a - b) : places;
}

const quantile = (values, share) => Float64Array.from(values).sort()[Math.floor(share * (values.length - 1))];

function render({ model, el }) {
  const first = initial(model, DEFAULTS);
  const bench = { ...first };
  const shared = share(model);
  const page = frame(el, {
    title: "A tangent kernel while it learns",
    help:
      "Each square is a pair of examples: how much learning at one moves the answer at the other. The dotted " +
      "line is the first snapshot.",
    layout: "onn-charts",
    reset: () => Object.entries(show).forEach(([name, react]) => (put(name, first[name]), react(first[name]))),
  });
  const heat = picture("Kernel", { map: "signed", ends: ["", ""] });
  const classes = h("div", { class: "onn-classes", "aria-hidden": "true" });
  heat.stage.after(classes);
  const charts = {
    spectrum: chart("Eigenvalues", { note: "over the largest", kinds: ["now", "first"] }),
    aligned: chart("Alignment with the labels"),
  };
  page.pictures.append(heat.node, ...Object.values(charts).map((one) => one.node));

  let kernels, spectra, target, curve, shownKernel;
  function load() {
    kernels = unpackBlock(model.get("kernels"));
    spectra = unpackBlock(model.get("spectra"));
    prepare();
  }
  function prepare() {
    const n = bench.labels.length;
    target = labelKernel(bench.labels);
    if (bench.centre) target = centred(target, n);
    curve = bench.steps.map((_, step) => alignment(kernelAt(step), target));
    view.soon();
  }
  function kernelAt(step) {
    const K = kernels.part(step);
    return bench.centre ? centred(K, bench.labels.length) : K;
  }
  /** Eigenvalues of a snapshot, largest first. */
  function eigenvalues(step) {
    const n = bench.labels.length;
    return spectra.part(bench.centre ? 1 : 0).subarray(step * n, (step + 1) * n);
  }

  const view = redraw(() => {
    const n = bench.labels.length;
    const places = ordered(bench.labels, bench.order);
    const K = kernelAt(bench.shown);
    shownKernel = Float64Array.from({ length: n * n }, (_, i) => K[places[Math.floor(i / n)] * n + places[i % n]]);
    const reach = quantile(shownKernel.map(Math.abs), VIVID) || 1;
    heat.resize(n);
    heat.values(shownKernel, -reach, reach);
    heat.ends(number(-reach, 2), number(reach, 2));
    heat.note(`${n} × ${n}`);
    const groups = bench.order === "class" ? [...new Set(bench.labels)].sort((a, b) => a - b) : [];
    const many = (c) => bench.labels.filter((label) => label === c).length;
    classes.replaceChildren(...groups.map((c) => h("span", { style: `flex:${many(c)}` }, String(c))));
    drawSpectrum(n);
    drawAlignment();
    describe(n, K);
  });

  function drawSpectrum(n) {
    const above = ([, v]) => v >= -DECADES; // rounding makes the last ones zero, or negative
    const points = (values) => Array.from(values, (v, i) => [i + 1, Math.log10(Math.max(v / values[0], 1e-300))]).filter(above);
    const now = eigenvalues(bench.shown);
    const powers = ["1", "10⁻¹", "10⁻²", "10⁻³", "10⁻⁴"].map((text, i) => [-i, text]);
    charts.spectrum.draw({
      x: { from: 1, to: n, ticks: ticks(1, n), label: "number" },
      y: { from: -DECADES, to: 0, ticks: powers },
      lines: [points(now), points(eigenvalues(0))],
      mark: new Set(bench.labels).size - 1,
    });
  }

  function drawAlignment() {
    const [low, high] = [Math.min(...bench.steps), Math.max(...bench.steps)];
    const bottom = Math.min(0, ...curve);
    charts.aligned.draw({
      x: { from: low, to: high > low ? high : low + 1, ticks: ticks(low, high > low ? high : low + 1), label: "step" },
      y: { from: bottom, to: 1, ticks: ticks(bottom, 1) },
      lines: [bench.steps.map((step, i) => [step, curve[i]])],
      level: curve[0],
      mark: bench.steps[bench.shown],
    });
  }

  function describe(n, K) {
    const [same, other] = [[], []];
    K.forEach((v, i) => {
      const [a, b] = [Math.floor(i / n), i % n];
      if (a !== b) (bench.labels[a] === bench.labels[b] ? same : other).push(v);
    });
    const values = eigenvalues(bench.shown);
    const few = new Set(bench.labels).size - 1;
    const total = values.reduce((sum, v) => sum + v, 0);
    const held = values.subarray(0, few).reduce((sum, v) => sum + v, 0) / total;
    const aligned = number(curve[bench.shown], 2);
    const step = bench.steps[bench.shown];
    page.tell([
      ["Alignment with the labels", aligned],
      [`Trace in the first ${few}`, `${number(100 * held, 2)} %`],
      ["Mean entry, same class", same.length ? number(mean(same), 2) : "none"],
      ["Mean entry, other class", other.length ? number(mean(other), 2) : "none"],
    ]);
    const kind = bench.centre ? "Centred kernel" : "Kernel";
    heat.describe(`${kind} of ${n} examples at step ${step}, ${bench.order === "class" ? "by class" : "as given"}.`);
    charts.spectrum.describe(`Eigenvalues at step ${step}; the first ${few} hold ${number(100 * held, 2)} per cent.`);
    charts.aligned.describe(`Alignment with the labels over the steps: ${curve.map((v) => number(v, 2)).join(", ")}.`);
    page.say("result", `Step ${step}: alignment with the labels ${aligned}.`);
  }

  function put(name, value) {
    bench[name] = value;
    shared.put(name, () => bench[name]);
    view.soon();
  }
  const controls = {
    shown: slider({
      label: "Snapshot, at step",
      low: 0,
      high: Math.max(0, bench.steps.length - 1),
      step: 1,
      value: bench.shown,
      text: (i) => number(bench.steps[i] ?? 0, 6),
      change: (i) => put("shown", i),
      settle: shared.flush,
    }),
    order: choice({
      label: "Order of the examples",
      options: { class: "By class", given: "As given" },
      value: bench.order,
      change: (name) => put("order", name),
    }),
    centre: toggle({
      label: "Centred",
      value: bench.centre,
      change: (on) => (put("centre", on), prepare()),
    }),
  };
  const show = {
    shown: controls.shown.set,
    order: controls.order.set,
    centre: (on) => (controls.centre.set(on), prepare()),
  };
  page.control([controls.shown, controls.order, controls.centre]);
  for (const [name, react] of Object.entries(show)) {
    shared.on(name, (value) => {
      bench[name] = value;
      react(value);
      view.soon();
    });
  }
  expose(el, view, { kernel: () => shownKernel, alignment: () => curve });
  load();
  return () => {
    shared.stop();
    Object.values(charts).forEach((one) => one.close());
    page.close();
  };
}

export default { render };
