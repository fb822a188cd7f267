import { chart, ticks } from "./charts.js";
import { expose, frame, h, initial, number, picture, quantity, redraw, share, slider, toggle } from "./ui.js";

const DEFAULTS = { side: 3e-3, kernel_size: 0.3e-3, gap: 0.05e-3, pixel: 5e-6, mac: 30.85e-12, parallel: true };
const ROUNDING = 1e-9; // as in Python: 1.0 mm / 0.1 mm is ten
const DRAWN = 720; // pixels of the drawing
const LEAST_SIGN = 12; // pixels of a site that is large enough for its sign
const COLOURS = { plus: "#d55e00", minus: "#0072b2", alone: "#8b949e", chip: "#e4e8ec", ink: "#1f2328" };

/** Ends of the sliders, the same as in Python. */
export const LIMITS = {
  side: [1e-3, 1e-2],
  kernel_size: [1e-4, 1e-3],
  gap: [0, 5e-4],
  pixel: [2e-6, 2e-5],
  mac: [1e-13, 1e-10],
};

const whole = (quotient) => Math.floor(quotient * (1 + ROUNDING));

/** Sites of a square chip, row by row, as edges [top, left, bottom, right] in metres from its middle, and pairs. */
export function layout({ side, kernel_size: size, gap }) {
  const n = whole((side + gap) / (size + gap));
  const place = (i) => (i - (n - 1) / 2) * (size + gap);
  const rectangles = Array.from({ length: n * n }, (_, i) => {
    const [y, x] = [place(Math.floor(i / n)), place(i % n)];
    return [y - size / 2, x - size / 2, y + size / 2, x + size / 2];
  });
  const even = n - (n % 2);
  const across = Array.from({ length: (n * even) / 2 }, (_, i) => {
    const first = Math.floor((2 * i) / even) * n + ((2 * i) % even);
    return [first, first + 1];
  });
  const last = Array.from({ length: n % 2 ? even / 2 : 0 }, (_, i) => [(2 * i + 1) * n - 1, (2 * i + 2) * n - 1]);
  return { n, rectangles, pairs: [...across, ...last] };
}

/** The largest of some sizes whose picture has room behind one site; 0 if none. */
export function resolution({ kernel_size: size, gap, pixel }, sizes) {
  const room = whole((size + gap) / pixel);
  return sizes.findLast((n) => n <= room) ?? 0;
}

/** Joules of an image of n x n pixels: those of the camera and those of computing. */
export function energy({ macs, read, exposures }, { frame, reading }, { mac, parallel }, n, kernels) {
  const many = ([fixed, each]) => [1, n, n * n].reduce((sum, p, i) => sum + (fixed[i] + kernels * each[i]) * p, 0);
  const [fixed, each] = exposures[parallel ? 0 : 1];
  return [(fixed + kernels * each) * frame + many(read) * reading, many(macs) * mac];
}

/** The first of the sizes from which the first of two lists of energies is lower, by bisection; null if none. */
export function crossover(candidate, reference, sizes) {
  const cheaper = (i) => candidate[i] < reference[i];
  if (cheaper(0)) return sizes[0];
  let [low, high] = [0, sizes.length - 1];
  if (!cheaper(high)) return null;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    [low, high] = cheaper(middle) ? [low, middle] : [middle, high];
  }
  return sizes[high];
}

/** All that a page shows of a design. */
export function design(bench, { counts, camera, sizes }) {
  const plan = layout(bench);
  const kernels = plan.pairs.length;
  const split = (name, n) => energy(counts[name], camera, bench, n, kernels);
  const n = resolution(bench, sizes);
  const names = kernels ? ["hybrid", "digital"] : []; // a chip without a pair computes nothing
  const energies = names.map((name) => sizes.map((size) => split(name, size).reduce((a, b) => a + b)));
  return {
    ...plan,
    kernels,
    energies,
    resolution: n,
    splits: n ? names.map((name) => split(name, n)) : [],
    crossover: kernels ? crossover(...energies, sizes) : null,
  };
}

// A round length that takes a good part of the side.
function bar(side) {
  const power = 10 ** Math.floor(Math.log10(side / 3));
  return [5, 2, 1].map((n) => n * power).find((length) => length <= side / 3);
}

const raised = (power) => [...String(power)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");

function drawPlan(context, { rectangles, pairs }, side) {
  const px = (metres) => (metres / side) * DRAWN;
  const at = (metres) => px(metres) + DRAWN / 2;
  const box = ([top, left, bottom, right]) => [at(left), at(top), px(right - left), px(bottom - top)];
  const fill = (colour, ...place) => ((context.fillStyle = colour), context.fillRect(...place));
  fill(COLOURS.chip, 0, 0, DRAWN, DRAWN);
  for (const site of rectangles) fill(COLOURS.alone, ...box(site)); // pairs are drawn over it
  Object.assign(context, { strokeStyle: COLOURS.ink, lineWidth: Math.min(3, 0.05 * box(rectangles[0])[2]) });
  for (const pair of pairs) {
    const [plus, minus] = pair.map((i) => rectangles[i]);
    fill(COLOURS.plus, ...box(plus));
    fill(COLOURS.minus, ...box(minus));
    context.strokeRect(...box([plus[0], plus[1], minus[2], minus[3]]));
    [plus, minus].map(box).forEach(([x, y, width], sign) => {
      if (width < LEAST_SIGN) return;
      const [long, thin, middle] = [width / 2, width / 10, width / 2];
      fill("#fff", x + middle - long / 2, y + middle - thin / 2, long, thin);
      if (sign === 0) fill("#fff", x + middle - thin / 2, y + middle - long / 2, thin, long);
    });
  }
}

function render({ model, el }) {
  const first = initial(model, DEFAULTS);
  const bench = { ...first };
  const given = { counts: model.get("counts"), camera: model.get("camera"), sizes: model.get("sizes") };
  const { sizes } = given;
  const shared = share(model);
  const page = frame(el, {
    title: "Design a device",
    help:
      "The sensor behind the chip is as large as the chip: each site has room for its picture, its kernel and gap " +
      "wide. Two sites make a signed kernel. Dots: pictures of this device. Upright line: from here on the hybrid " +
      "takes less energy.",
    layout: "onn-charts",
    reset: () => Object.entries(first).forEach(([name, value]) => (put(name, value), controls[name].set(bare(name)))),
  });
  const plan = picture("Chip", { size: DRAWN, smooth: true });
  const length = h("i", { style: "flex:none;background:var(--soft)" });
  const lengthText = h("span");
  const swatch = (colour, text) => h("span", {}, h("i", { class: "onn-swatch", style: `background:${colour}` }), text);
  plan.node.append(
    h("div", { class: "onn-key" }, length, lengthText),
    h(
      "div",
      { class: "onn-legend" },
      swatch(COLOURS.plus, "+ PSF"),
      swatch(COLOURS.minus, "− PSF"),
      swatch(COLOURS.alone, "no partner"),
    ),
  );
  const kinds = ["hybrid", "digital"];
  const curves = chart("Energy per image", { kinds, note: "µJ" });
  const split = chart("Where it goes", { kinds });
  curves.node.classList.remove("onn-wide"); // it fits beside the chip
  page.pictures.append(plan.node, curves.node, split.node);

  let result;
  const view = redraw(() => {
    result = design(bench, given);
    drawPlan(plan.context, result, bench.side);
    drawCurves();
    drawSplit();
    describe();
  });

  const logs = (n, joules) => [Math.log2(n), Math.log10(1e6 * joules)];
  const total = ([camera, computing]) => camera + computing;
  function drawCurves() {
    const lines = result.energies.map((values) => values.map((v, i) => logs(sizes[i], v)));
    const heights = lines.flat().map(([, v]) => v);
    const [low, high] = heights.length
      ? [Math.floor(Math.min(...heights)), Math.ceil(Math.max(...heights))]
      : [0, 4];
    const decades = Array.from({ length: high - low + 1 }, (_, i) => low + i);
    const octaves = Array.from({ length: 20 }, (_, i) => i).filter((v) => 2 ** v >= sizes[0] && 2 ** v <= sizes.at(-1));
    curves.draw({
      x: {
        from: Math.log2(sizes[0]),
        to: Math.log2(sizes.at(-1)),
        ticks: octaves.map((v) => [v, 2 ** v]),
        label: "pixels along a side",
      },
      y: { from: low, to: high, ticks: decades.map((v) => [v, v < 4 ? number(10 ** v) : `10${raised(v)}`]) },
      lines,
      dots: result.splits.map((parts) => logs(result.resolution, total(parts))),
      mark: result.crossover && Math.log2(result.crossover),
    });
  }

  function drawSplit() {
    const top = result.splits.length ? Math.max(...result.splits.flat()) : 1e-6;
    const unit = top < 2e-3 ? ["µJ", 1e6] : ["mJ", 1e3];
    split.note(unit[0]);
    split.draw({
      x: { from: -0.5, to: 1.5, ticks: ["camera", "computing"].map((part, i) => [i, part]), label: picturesText() },
      y: { from: 0, to: top * unit[1], ticks: ticks(0, top * unit[1]) },
      bars: result.splits.length ? result.splits.map((parts) => parts.map((v) => v * unit[1])) : [[0, 0]],
    });
  }

  const picturesText = () => (result.resolution ? `${result.resolution} × ${result.resolution} pixels` : "too coarse");
  function crossoverText() {
    if (result.crossover === null) return result.kernels ? "no size here" : "no pair";
    return result.crossover === sizes[0] ? `${sizes[0]} or less` : `${result.crossover} pixels`;
  }

  function describe() {
    const { n, kernels } = result;
    const [hybrid, digital] = kinds.map((_, i) => (result.splits[i] ? quantity(total(result.splits[i]), "J") : "none"));
    const readings = 2 * kernels * result.resolution ** 2;
    page.tell([
      ["Sites", `${n} × ${n}`],
      ["Signed kernels", String(kernels)],
      ["Each picture", picturesText()],
      ["Readings", readings.toLocaleString("en-GB")],
      ["Hybrid", hybrid],
      ["Digital", digital],
      ["Hybrid takes less from", crossoverText()],
      ["Chip filled", `${number((100 * n * n * bench.kernel_size ** 2) / bench.side ** 2)} %`],
    ]);
    const scale = bar(bench.side);
    length.style.width = `${(100 * scale) / bench.side}%`;
    lengthText.textContent = quantity(scale, "m");
    plan.note(`${quantity(bench.side, "m")} a side`);
    plan.describe(`Chip of ${quantity(bench.side, "m")} a side, ${n} × ${n} sites: ${kernels} pairs of plus and minus.`);
    curves.describe(`Energy over image size. The hybrid takes less from: ${crossoverText()}.`);
    split.describe(`Energy at ${picturesText()}. Hybrid: ${hybrid}. Digital: ${digital}.`);
    const sentence = `${kernels} kernels, ${picturesText()}. Hybrid ${hybrid}, digital ${digital}.`;
    page.say("result", `${sentence} Hybrid takes less from: ${crossoverText()}.`);
  }

  function put(name, value) {
    const [low, high] = LIMITS[name] ?? [];
    bench[name] = low === undefined ? value : Math.min(high, Math.max(low, value)); // Python has the same ends
    shared.put(name, () => bench[name]);
    view.soon();
  }
  // Bare sliders count in units in which steps are whole or half numbers; that of the MAC in powers of ten.
  const units = { side: 1e3, kernel_size: 1e6, gap: 1e6, pixel: 1e6 };
  const toBare = (name, value) => (name === "mac" ? Math.log10(value) : value * units[name]);
  const fromBare = (name, value) => (name === "mac" ? 10 ** value : value / units[name]);
  const bare = (name) => (name === "parallel" ? bench.parallel : toBare(name, bench[name]));
  const control = (name, label, step) =>
    slider({
      label,
      low: Number(toBare(name, LIMITS[name][0]).toPrecision(12)),
      high: Number(toBare(name, LIMITS[name][1]).toPrecision(12)),
      step,
      value: bare(name),
      text: (v) => (name === "mac" ? `${number(1e12 * 10 ** v)} pJ` : quantity(fromBare(name, v), "m")),
      change: (v) => put(name, fromBare(name, v)),
      settle: shared.flush,
    });
  const controls = {
    side: control("side", "Side of the chip", 0.05),
    kernel_size: control("kernel_size", "Kernel", 5),
    gap: control("gap", "Gap", 5),
    pixel: control("pixel", "Pixel of the sensor", 0.25),
    mac: control("mac", "Energy of a MAC", 0.01),
    parallel: toggle({
      label: "One exposure for all",
      value: bench.parallel,
      change: (on) => (put("parallel", on), shared.flush()),
    }),
  };
  page.control([controls.side, controls.kernel_size, controls.gap], [controls.pixel, controls.mac, controls.parallel]);
  for (const name of Object.keys(DEFAULTS)) {
    shared.on(name, (value) => {
      bench[name] = value;
      controls[name].set(bare(name));
      view.soon();
    });
  }
  expose(el, view, {
    rectangles: () => result.rectangles.flat(),
    pairs: () => result.pairs.flat(),
    energies: () => result.energies.flat(),
    splits: () => result.splits.flat(),
    result: () => [result.kernels, result.resolution, result.crossover ?? NaN],
  });
  view.soon();
  return () => {
    shared.stop();
    [curves, split].forEach((one) => one.close());
    page.close();
  };
}

export default { render };
