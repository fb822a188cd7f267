// Lines and bars over labelled axes, drawn in the colours of the page, and bars that can be pulled.
import { captioned, h, number } from "./ui.js";

const [LEFT, RIGHT, TOP, BOTTOM] = [40, 8, 8, 36];

/** Round numbers between two ends, with their texts. */
export function ticks(from, to) {
  const power = 10 ** Math.floor(Math.log10((to - from) / 2));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => (to - from) / n <= 5);
  const first = Math.ceil(from / step - 1e-9);
  const many = Math.floor(to / step + 1e-9) - first + 1;
  return Array.from({ length: many }, (_, i) => [(first + i) * step, number((first + i) * step)]);
}

/** A captioned chart. `kinds` names what is drawn in the first, the second and the third colour. */
export function chart(title, { note = "", kinds = [] } = {}) {
  const area = h("div", { class: "onn-plot" });
  area.innerHTML = '<svg role="img"></svg>';
  const svg = area.firstChild;
  const { caption, note: setNote } = captioned(title, note);
  const legend = kinds.map((kind, i) => h("span", {}, h("i", { class: `onn-swatch onn-kind${i}` }), kind));
  const node = h("figure", { class: "onn-wide" }, caption, area);
  if (kinds.length) node.append(h("div", { class: "onn-legend" }, ...legend));
  let last = null;
  let scale = null; // how values became places when they were last drawn

  /**
   * Draw. An axis is { from, to, ticks: [[value, text]], label }; values outside it are drawn at its ends.
   * Each of `lines` holds points [x, y], each of `dots` is one, each of `bars` a value for x = 0, 1, 2 ...; their
   * places in these lists choose the colour; null skips one. `level` is a dotted horizontal line, `mark` an upright one,
   * `chosen` a shaded bar.
   */
  function draw({ x, y, lines = [], dots = [], bars = [], level = null, mark = null, chosen = null }) {
    last = { x, y, lines, dots, bars, level, mark, chosen };
    const [width, height] = [Math.max(160, area.clientWidth), Math.max(120, area.clientHeight)];
    const within = (v, { from, to }) => (Math.min(to, Math.max(from, v)) - from) / (to - from);
    const px = (v) => LEFT + within(v, x) * (width - LEFT - RIGHT);
    const py = (v) => height - BOTTOM - within(v, y) * (height - TOP - BOTTOM);
    scale = { width, height, x, y };
    const at = (v) => v.toFixed(1);
    const parts = [];
    if (chosen !== null) {
      const [a, b] = [px(chosen - 0.5), px(chosen + 0.5)];
      parts.push(`<rect class="onn-chosen" x="${a}" y="${TOP}" width="${b - a}" height="${py(y.from) - TOP}"/>`);
    }
    for (const [v, text] of y.ticks) {
      parts.push(`<path class="onn-grid" d="M${LEFT} ${at(py(v))}H${width - RIGHT}"/>`);
      parts.push(`<text x="${LEFT - 6}" y="${at(py(v) + 4)}" text-anchor="end">${text}</text>`);
    }
    const bottom = height - BOTTOM;
    for (const [v, text] of x.ticks) {
      if (!bars.length) parts.push(`<path class="onn-grid" d="M${at(px(v))} ${bottom}v4"/>`);
      parts.push(`<text x="${at(px(v))}" y="${bottom + 17}" text-anchor="middle">${text}</text>`);
    }
    const middle = (LEFT + width - RIGHT) / 2;
    parts.push(`<text x="${middle}" y="${height - 4}" text-anchor="middle">${x.label}</text>`);
    const share = 0.8 / bars.filter(Boolean).length;
    let left = -0.4;
    bars.forEach((values, kind) => {
      if (!values) return; // this colour has no bars here
      const start = left;
      left += share;
      Array.from(values).forEach((value, i) => {
        const [a, b] = [px(i + start), px(i + start + share)];
        const [zero, end] = [py(0), py(value)];
        const box = `x="${at(a + 0.5)}" y="${at(Math.min(zero, end))}" width="${at(Math.max(1, b - a - 1))}"`;
        const tall = Math.max(0.5, Math.abs(end - zero));
        parts.push(`<rect class="onn-bar onn-kind${kind}" ${box} height="${at(tall)}"/>`);
      });
    });
    if (bars.length) parts.push(`<path class="onn-zero" d="M${LEFT} ${at(py(0))}H${width - RIGHT}"/>`);
    if (level !== null) parts.push(`<path class="onn-level" d="M${LEFT} ${at(py(level))}H${width - RIGHT}"/>`);
    if (mark !== null) parts.push(`<path class="onn-mark" d="M${at(px(mark))} ${TOP}V${bottom}"/>`);
    lines.forEach((points, kind) => {
      if (!points) return;
      const path = Array.from(points, ([a, b], i) => `${i ? "L" : "M"}${at(px(a))} ${at(py(b))}`);
      parts.push(`<path class="onn-line onn-kind${kind}" d="${path.join("")}"/>`);
    });
    dots.forEach((point, kind) => {
      if (!point) return;
      const [a, b] = [px(point[0]), py(point[1])].map(at);
      parts.push(`<circle class="onn-dot onn-kind${kind}" cx="${a}" cy="${b}" r="4.5"/>`);
    });
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.innerHTML = parts.join("");
  }
  const observer = new ResizeObserver(() => last && draw(last));
  observer.observe(area);
  return {
    node,
    area,
    svg,
    draw,
    note: setNote,
    describe: (text) => svg.setAttribute("aria-label", text),
    close: () => observer.disconnect(),
    /** The values of the axes at a place in the picture, in pixels from its top left corner. */
    values(left, top) {
      const { width, height, x, y } = scale;
      const along = (left - LEFT) / (width - LEFT - RIGHT);
      const up = (height - BOTTOM - top) / (height - TOP - BOTTOM);
      return [x.from + along * (x.to - x.from), y.from + up * (y.to - y.from)];
    },
  };
}

/**
 * Let the reader pull the bars of a chart with mouse, pen, finger and keyboard.
 *
 * `hand` has: `label`; `bars()`, how many; `value(i)`; `pull(i, value)`; `done()`, called when a bar is let go;
 * `step`, of the arrow keys; `moved(i)`, called when another bar is chosen; `where(i)`, words for a bar;
 * `say(topic, words)`.
 */
export function pullable({ area, svg, values }, hand) {
  let chosen = 0;
  let held = null; // the bar that the pointer holds
  area.classList.add("onn-pullable");
  area.tabIndex = 0;
  area.setAttribute("role", "application");
  area.setAttribute("aria-roledescription", "bars");
  area.setAttribute("aria-label", hand.label);
  svg.setAttribute("aria-hidden", "true");
  const inside = (i) => Math.min(hand.bars() - 1, Math.max(0, i));
  function place(event) {
    const box = area.getBoundingClientRect();
    return values(event.clientX - box.left, event.clientY - box.top);
  }
  const listeners = {
    pointerdown(event) {
      if (event.button !== 0) return;
      event.preventDefault();
      area.focus({ preventScroll: true });
      area.setPointerCapture(event.pointerId);
      const [x, y] = place(event);
      held = chosen = inside(Math.round(x));
      hand.moved(chosen);
      hand.pull(held, y);
    },
    pointermove(event) {
      if (held !== null) hand.pull(held, place(event)[1]);
    },
    pointerup: lift,
    pointercancel: lift,
    keydown(event) {
      const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
      const up = { ArrowDown: -1, ArrowUp: 1 }[event.key] ?? 0;
      if (!(along || up) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      chosen = inside(chosen + along);
      hand.moved(chosen);
      if (up) {
        hand.pull(chosen, hand.value(chosen) + up * hand.step * (event.shiftKey ? 4 : 1));
        hand.done();
      }
      hand.say("place", hand.where(chosen));
    },
    focus: () => hand.moved((chosen = inside(chosen))),
    blur: () => hand.moved(null),
  };
  function lift() {
    if (held === null) return;
    held = null;
    hand.done();
    hand.say("place", hand.where(chosen));
  }
  for (const [name, listener] of Object.entries(listeners)) area.addEventListener(name, listener);
}
