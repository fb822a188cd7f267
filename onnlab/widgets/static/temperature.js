import { chart, pullable, ticks } from "./charts.js";
import { largest, unpackBlock } from "./lib.js";
import { choice, expose, frame, initial, number, picture, redraw, share, slider } from "./ui.js";

const [COLD, HOT] = [0.5, 50];
const TAKES = { given: "As it was", teacher: "As the teacher", flat: "Knows nothing", sure: "Sure of the label" };
const SURE = 10; // the logit of the label of a student that is sure of it; the others are zero
const DEFAULTS = {
  teacher: [[3, 0.5, -1]],
  student: [[2, 1, 0.1]],
  labels: [0],
  images: { shape: [0, 28, 28] },
  temperature: 4,
  shown: 0,
};

const sum = (values) => values.reduce((total, v) => total + v, 0);
const norm = (values) => Math.sqrt(sum(values.map((v) => v ** 2)));
const centred = (values) => values.map((v) => v - sum(values) / values.length);

/** Logarithms of the softmax of logits over a temperature. */
export function logShares(logits, T) {
  const top = largest(logits);
  const log = Math.log(sum(logits.map((z) => Math.exp((z - top) / T))));
  return logits.map((z) => (z - top) / T - log);
}

/** Divergence of the student's softened shares from the teacher's. */
export function divergence(teacher, student, T) {
  const [p, q] = [logShares(teacher, T), logShares(student, T)];
  return sum(p.map((log, c) => Math.exp(log) * (log - q[c])));
}

/** All that a page shows of two answers. */
export function compare(teacher, student, label, T) {
  const shares = [teacher, student].map((z) => logShares(z, T).map(Math.exp));
  const away = centred(student).map((z, c) => z - centred(teacher)[c]);
  const kl = divergence(teacher, student, T);
  return {
    shares,
    kl,
    loss: T ** 2 * kl,
    limit: sum(away.map((v) => v ** 2)) / (2 * away.length),
    crossEntropy: -logShares(student, 1)[label],
    gradient: shares[1].map((q, c) => T * (q - shares[0][c])),
    gradientLimit: away.map((v) => v / away.length),
  };
}

// Ends of the axis of the logits: even numbers, with room to pull.
function reach(rows) {
  const all = rows.flat();
  const [low, high] = [Math.min(...all, -2), Math.max(...all, 4)];
  return { from: 2 * Math.floor((low - 2) / 2), to: 2 * Math.ceil((high + 2) / 2) };
}

function render({ model, el }) {
  const first = initial(model, DEFAULTS);
  const bench = { ...first };
  const images = unpackBlock(bench.images);
  const logits = reach([...bench.teacher, ...bench.student]);
  const shared = share(model);
  const page = frame(el, {
    title: "Temperature",
    help:
      "Pull the bars of the logits up and down. All the rest follows: shares at this temperature, losses, and " +
      "the gradient that each logit of the student gets. Keyboard: left and right choose a bar, up and down move it.",
    layout: "onn-charts",
    reset() {
      for (const [name, react] of Object.entries(show)) (put(name, first[name]), react(first[name]));
      controls.take.set("given");
    },
  });
  const digit = picture("Digit", { size: 28 });
  digit.node.classList.add("onn-small");
  digit.node.hidden = images.shape[0] === 0;
  const charts = {
    teacher: chart("Teacher's logits"),
    student: chart("Student's logits"),
    shares: chart("Shares at T", { kinds: ["teacher", "student"] }),
    gradient: chart("Gradient per logit", { kinds: ["with T²", "without"] }),
    loss: chart("Loss over T", { kinds: ["T² KL", "KL"] }),
  };
  page.pictures.append(digit.node, ...Object.values(charts).map((one) => one.node));

  const row = (name) => bench[name][bench.shown];
  const chosen = { teacher: null, student: null };
  let result;
  const view = redraw(() => {
    const [teacher, student, label] = [row("teacher"), row("student"), bench.labels[bench.shown]];
    const T = bench.temperature;
    result = compare(teacher, student, label, T);
    if (images.shape[0]) {
      digit.resize(images.shape[1], images.shape[2]);
      digit.values(images.part(bench.shown), 0, 1);
      digit.note(`label ${label}`);
      digit.describe(`Digit ${bench.shown + 1} of ${images.shape[0]}, labelled ${label}.`);
    }
    const classes = teacher.map((_, c) => c);
    const x = { from: -0.5, to: classes.length - 0.5, ticks: classes.map((c) => [c, c]), label: "class" };
    const y = { ...logits, ticks: ticks(logits.from, logits.to) };
    charts.teacher.draw({ x, y, bars: [teacher], chosen: chosen.teacher });
    charts.student.draw({ x, y, bars: [null, student], chosen: chosen.student });
    charts.shares.draw({ x, y: { from: 0, to: 1, ticks: ticks(0, 1) }, bars: result.shares });
    const bare = result.gradient.map((v) => v / T ** 2);
    const steep = largest([...result.gradient, ...bare].map(Math.abs)) || 1;
    charts.gradient.draw({ x, y: { from: -steep, to: steep, ticks: ticks(-steep, steep) }, bars: [result.gradient, bare] });
    drawLoss(teacher, student, T);
    describe(label, T);
  });

  function drawLoss(teacher, student, T) {
    const [cold, hot] = [Math.log10(COLD), Math.log10(HOT)];
    const places = Array.from({ length: 81 }, (_, i) => cold + ((hot - cold) * i) / 80);
    const kl = places.map((v) => divergence(teacher, student, 10 ** v));
    const loss = places.map((v, i) => 100 ** v * kl[i]);
    const top = 1.05 * Math.max(...loss, result.limit) || 1;
    charts.loss.draw({
      x: { from: cold, to: hot, ticks: [0.5, 1, 4, 10, 50].map((v) => [Math.log10(v), v]), label: "T" },
      y: { from: 0, to: top, ticks: ticks(0, top) },
      lines: [loss, kl].map((values) => places.map((v, i) => [v, values[i]])),
      level: result.limit,
      mark: Math.log10(T),
    });
  }

  function describe(label, T) {
    const value = {
      doubt: `${number(100 * (1 - largest(result.shares[0])))} %`,
      kl: number(result.kl),
      loss: number(result.loss),
      limit: number(result.limit),
    };
    page.tell([
      ["KL", value.kl],
      ["T² KL", value.loss],
      ["T² KL for T → ∞", value.limit],
      [`Cross entropy, label ${label}`, number(result.crossEntropy)],
      ["Teacher, all but its first", value.doubt],
      ["Gradient with T²", number(norm(result.gradient))],
      ["Gradient without", number(norm(result.gradient) / T ** 2)],
      ["With T² for T → ∞", number(norm(result.gradientLimit))],
    ]);
    charts.shares.note(`T = ${number(T)}`);
    const shares = result.shares.map((values) => values.map((v) => number(100 * v, 2)).join(", "));
    charts.shares.describe(`Shares in per cent. Teacher: ${shares[0]}. Student: ${shares[1]}.`);
    charts.gradient.describe(`Gradient with T squared: ${result.gradient.map((v) => number(v, 2)).join(", ")}.`);
    charts.loss.describe(`T squared KL is ${value.loss} at T = ${number(T)}; its limit is ${value.limit}.`);
    page.say("result", `T = ${number(T)}: KL ${value.kl}, times T squared ${value.loss}, limit ${value.limit}.`);
  }

  function put(name, value) {
    bench[name] = value;
    shared.put(name, () => bench[name]);
    view.soon();
  }
  const putRow = (name, values) => put(name, bench[name].map((old, i) => (i === bench.shown ? values : old)));
  for (const name of ["teacher", "student"]) {
    const owner = name === "teacher" ? "Teacher" : "Student";
    pullable(charts[name], {
      label: `${owner}'s logits. Left and right choose a class, up and down change its logit.`,
      step: 0.25,
      bars: () => row(name).length,
      value: (c) => row(name)[c],
      pull(c, value) {
        const inside = Math.min(logits.to, Math.max(logits.from, Math.round(20 * value) / 20));
        putRow(name, row(name).map((old, i) => (i === c ? inside : old)));
        controls.take.set(null);
      },
      done: shared.flush,
      moved: (c) => ((chosen[name] = c), view.soon()),
      where: (c) => `${owner}, class ${c}: ${number(row(name)[c])}.`,
      say: page.say,
    });
  }
  const takes = {
    given: () => first.student[bench.shown],
    teacher: () => [...row("teacher")],
    flat: () => row("student").map(() => 0),
    sure: () => row("student").map((_, c) => (c === bench.labels[bench.shown] ? SURE : 0)),
  };
  const show = {
    temperature: (T) => controls.temperature.set(Math.log2(T)),
    shown: (index) => controls.shown.set(String(index)),
    teacher: () => controls.take.set(null),
    student: () => controls.take.set(null),
  };
  const controls = {
    temperature: slider({
      label: "Temperature T",
      low: Math.log2(COLD),
      high: Math.log2(HOT),
      step: 0.01,
      value: Math.log2(bench.temperature),
      text: (v) => number(2 ** v),
      change: (v) => put("temperature", 2 ** v),
      settle: shared.flush,
    }),
    shown: choice({
      label: "Digit, by its label",
      options: Object.fromEntries(bench.labels.map((label, i) => [i, label])),
      value: String(bench.shown),
      change: (index) => (put("shown", Number(index)), controls.take.set(null)),
    }),
    take: choice({
      label: "Student",
      options: TAKES,
      value: "given",
      change: (name) => putRow("student", takes[name]()),
    }),
  };
  controls.shown.node.hidden = bench.labels.length < 2;
  page.control([controls.temperature, controls.shown], [controls.take]);
  for (const [name, react] of Object.entries(show)) {
    shared.on(name, (value) => {
      bench[name] = value;
      react(value);
      view.soon();
    });
  }
  expose(el, view, {
    teacher: () => row("teacher"),
    student: () => row("student"),
    shares: () => result.shares.flat(),
    gradient: () => result.gradient,
    losses: () => [result.kl, result.loss, result.crossEntropy, result.limit],
  });
  view.soon();
  return () => {
    shared.stop();
    Object.values(charts).forEach((one) => one.close());
    page.close();
  };
}

export default { render };
