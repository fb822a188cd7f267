import { chart, ticks } from "./charts.js";
import { unpackBlock } from "./lib.js";
import { choice, expose, frame, h, initial, number, picture, redraw, share, slider } from "./ui.js";

const DEFAULTS = { names: [], threshold: 0.5, shown: 0 };
const LEVELS = 101; // thresholds of the curve

// Colours of pixels, apart for every colour vision and in lightness as well: found, wrongly claimed, missed.
const TINTS = { hit: [86, 180, 233], false: [213, 94, 0], missed: [240, 228, 66] };
const WORDS = { hit: "found", false: "claimed wrongly", missed: "missed" };

/** Intersection over union of the pixels of at least a threshold and a mask; two empty sets agree. */
export function iou(probabilities, mask, threshold) {
  let [both, either] = [0, 0];
  for (let i = 0; i < mask.length; i++) {
    const [claimed, true_] = [probabilities[i] >= threshold, mask[i] > 0.5];
    if (claimed && true_) both++;
    if (claimed || true_) either++;
  }
  return either ? both / either : 1;
}

/** What a claim is at one pixel: hit, false, missed, or nothing. */
export function verdict(probability, truth, threshold) {
  if (probability >= threshold) return truth > 0.5 ? "hit" : "false";
  return truth > 0.5 ? "missed" : null;
}

const mean = (values) => values.reduce((total, v) => total + v, 0) / values.length;

function render({ model, el }) {
  const first = initial(model, DEFAULTS);
  const bench = { ...first };
  const images = unpackBlock(model.get("images"));
  const masks = unpackBlock(model.get("masks"));
  const answers = unpackBlock(model.get("probabilities"));
  const [count, ny, nx] = images.shape;
  const area = ny * nx;
  const shared = share(model);
  const page = frame(el, {
    title: "Where the masks differ",
    help:
      "A pixel is claimed if its probability reaches the threshold. The score is the intersection over union, " +
      "IoU: pixels found, over those found, claimed wrongly or missed.",
    reset: () => Object.entries(show).forEach(([name, react]) => (put(name, first[name]), react(first[name]))),
  });
  const scene = picture("Image", { map: "intensity" });
  const overlays = bench.names.map((name) => picture(name));
  const difference = picture("Difference", { map: "signed", ends: ["−1", "1"] });
  const curves = chart("IoU of this image", { kinds: bench.names });
  const key = Object.entries(WORDS).map(([name, words]) =>
    h("span", {}, h("i", { class: "onn-swatch", style: `background:rgb(${TINTS[name]})` }), words),
  );
  page.pictures.append(scene.node, ...overlays.map((one) => one.node));
  if (bench.names.length > 1) page.pictures.append(difference.node);
  page.pictures.append(h("div", { class: "onn-legend" }, ...key), curves.node);
  for (const one of [scene, difference, ...overlays]) one.resize(ny, nx);
  curves.node.classList.add("onn-broad"); // under all pictures

  const probability = (i, image = bench.shown) => answers.part(i).subarray(image * area, (image + 1) * area);
  let [scores, lines, drawn] = [[], [], null];
  const view = redraw(() => {
    const [image, mask, level] = [images.part(bench.shown), masks.part(bench.shown), bench.threshold];
    scene.pixels((i) => Array(3).fill(255 * image[i]));
    overlays.forEach((shown, m) => {
      const p = probability(m);
      shown.pixels((i) => {
        const kind = verdict(p[i], mask[i], level);
        const grey = 255 * image[i];
        return [0, 1, 2].map((c) => (kind ? 0.3 * grey + 0.7 * TINTS[kind][c] : grey));
      });
    });
    const [one, last] = [probability(0), probability(bench.names.length - 1)];
    difference.values(one.map((v, i) => v - last[i]), -1, 1);
    scores = bench.names.map((_, m) =>
      Array.from({ length: count }, (_, i) => iou(probability(m, i), masks.part(i), level)),
    );
    if (drawn !== bench.shown) {
      const levels = Array.from({ length: LEVELS }, (_, i) => i / (LEVELS - 1));
      lines = bench.names.map((_, m) => levels.map((t) => [t, iou(probability(m), mask, t)]));
      drawn = bench.shown;
    }
    curves.draw({
      x: { from: 0, to: 1, ticks: ticks(0, 1), label: "threshold" },
      y: { from: 0, to: 1, ticks: ticks(0, 1) },
      lines,
      mark: level,
    });
    describe(level);
  });

  function describe(level) {
    const here = scores.map((values) => number(values[bench.shown], 3));
    const all = scores.map((values) => number(mean(values), 3));
    const entries = bench.names.map((name, m) => [`IoU, ${name}`, here[m]]);
    if (count > 1) entries.push(...bench.names.map((name, m) => [`Mean of ${count}, ${name}`, all[m]]));
    page.tell(entries);
    scene.note(`${bench.shown + 1} of ${count}`);
    scene.describe(`Image ${bench.shown + 1} of ${count}, ${ny} × ${nx} pixels.`);
    overlays.forEach((shown, m) => {
      shown.note(`IoU ${here[m]}`);
      shown.describe(`Pixels that ${bench.names[m]} found, claimed wrongly or missed: IoU ${here[m]}.`);
    });
    difference.note(`${bench.names[0]} − ${bench.names.at(-1)}`);
    difference.describe(`Probability of ${bench.names[0]} minus that of ${bench.names.at(-1)}.`);
    curves.describe(`IoU over the threshold, now ${number(level, 2)}: ${here.join(", ")}.`);
    page.say("result", `Threshold ${number(level, 2)}. ${bench.names.map((n, m) => `${n}: IoU ${here[m]}`).join(". ")}.`);
  }

  function put(name, value) {
    bench[name] = value;
    shared.put(name, () => bench[name]);
    view.soon();
  }
  const controls = {
    threshold: slider({
      label: "Threshold",
      low: 0,
      high: 1,
      step: 0.01,
      value: bench.threshold,
      text: (v) => number(v, 2),
      change: (v) => put("threshold", v),
      settle: shared.flush,
    }),
    shown: choice({
      label: "Image",
      options: Object.fromEntries(Array.from({ length: count }, (_, i) => [i, i + 1])),
      value: String(bench.shown),
      change: (i) => put("shown", Number(i)),
    }),
  };
  const show = { threshold: controls.threshold.set, shown: (i) => controls.shown.set(String(i)) };
  controls.shown.node.hidden = count < 2;
  page.control([controls.threshold, controls.shown]);
  for (const [name, react] of Object.entries(show)) {
    shared.on(name, (value) => {
      bench[name] = value;
      react(value);
      view.soon();
    });
  }
  expose(el, view, {
    scores: () => scores.flat(),
    curves: () => lines.flatMap((points) => points.map(([, v]) => v)),
  });
  view.soon();
  return () => {
    shared.stop();
    curves.close();
    page.close();
  };
}

export default { render };
