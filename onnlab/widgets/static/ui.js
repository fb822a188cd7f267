// What the explorables share on a page: state, pictures, painting, controls, and one calm style.
import { AREA, SIZE, TABLES, bars, digit, pack, paintComplex, paintValues, star, unpack } from "./lib.js";
import { STYLE } from "./style.js";

// State ------------------------------------------------------------------------------------------------

/** Exchange state with the model: at most one message in `delay` milliseconds, no answer to our own. */
export function share(model, delay = 120) {
  const waiting = new Map();
  const ours = new Map();
  const handlers = [];
  let timer = null;
  const flush = () => {
    clearTimeout(timer);
    timer = null;
    if (waiting.size === 0) return;
    for (const [name, make] of waiting) {
      ours.set(name, make());
      model.set(name, ours.get(name));
    }
    waiting.clear();
    model.save_changes();
  };
  return {
    flush,
    put(name, make) {
      waiting.set(name, make);
      timer ??= setTimeout(flush, delay);
    },
    on(name, react) {
      const handler = () => {
        const value = model.get(name);
        if (value === ours.get(name)) return;
        ours.delete(name);
        waiting.delete(name);
        react(value);
      };
      model.on(`change:${name}`, handler);
      handlers.push([name, handler]);
    },
    stop() {
      flush();
      for (const [name, handler] of handlers) model.off(`change:${name}`, handler);
    },
  };
}

/** A redraw that happens once before the next frame, however often it is asked for. */
export function redraw(draw) {
  let wanted = null;
  const now = () => {
    if (wanted === null) return;
    cancelAnimationFrame(wanted);
    wanted = null;
    draw();
  };
  return { now, soon: () => (wanted ??= requestAnimationFrame(now)) };
}

// Elements ---------------------------------------------------------------------------------------------

/** Make an element: attributes, listeners (as `onclick`), children. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// Random, for every explorable on a page has its own copy of this file.
const unique = () => `onn-${Math.random().toString(36).slice(2)}`;

/** Write a quantity with an SI prefix: quantity(5.32e-7, "m") is "532 nm". */
export function quantity(value, unit, digits = 3) {
  const power = value === 0 ? 0 : Math.min(3, Math.max(-9, 3 * Math.floor(Math.log10(Math.abs(value) * 1.0001) / 3)));
  const prefix = { "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k" }[power];
  return `${number(value / 10 ** power, digits)} ${prefix}${unit}`;
}

/** Write a number with so many significant digits and a true minus sign. */
export const number = (value, digits = 3) => String(Number(value.toPrecision(digits))).replace("-", "−");

const KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown", " ", "Enter"];
const keep = (event) => KEYS.includes(event.key) && event.stopPropagation();

/** The outline of an explorable: heading, pictures, what they say, controls, help, and a voice for screen readers. */
export function frame(el, { title, help, layout = "", reset }) {
  const live = h("p", { class: "onn-live", role: "status", "aria-live": "polite" });
  const pictures = h("div", { class: `onn-pictures ${layout}` });
  const facts = h("dl", { class: "onn-facts" });
  const controls = h("div", { class: "onn-controls" });
  const root = h(
    "div",
    // A notebook must not take the keys that move sliders and brushes for its own.
    { class: "onn", role: "group", "aria-label": title, "data-lm-suppress-shortcuts": "true", onkeydown: keep },
    h("style", {}, STYLE),
    h(
      "div",
      { class: "onn-head" },
      h("p", { class: "onn-title" }, title),
      h("button", { type: "button", class: "onn-button", onclick: reset }, "Reset"),
    ),
    pictures,
    facts,
    controls,
    h("p", { class: "onn-help" }, help),
    live,
  );
  el.replaceChildren(root);
  let timer = null;
  const news = new Map();
  return {
    pictures,
    /** Lay out controls, row by row. */
    control: (...rows) => controls.append(...rows.map((row) => h("div", {}, ...row.map((c) => c.node)))),
    /** Show named values below the pictures. */
    tell(entries) {
      const nodes = entries.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
      facts.replaceChildren(...nodes);
    },
    /** Say sentences to screen readers, once things are at rest: the last one about each topic. */
    say(topic, sentence) {
      news.set(topic, sentence);
      clearTimeout(timer);
      timer = setTimeout(() => {
        live.textContent = [...news.values()].join(" ");
        news.clear();
      }, 500);
    },
    close() {
      clearTimeout(timer);
      el.replaceChildren();
    },
  };
}

// Pictures ---------------------------------------------------------------------------------------------

/** A captioned canvas of size x size samples, with a colour key if its `ends` are named. */
export function picture(title, { alt = title, map = "intensity", ends = null, size = SIZE, smooth = false } = {}) {
  const canvas = h("canvas", { width: size, height: size, role: "img", "aria-label": alt });
  if (smooth) canvas.classList.add("onn-smooth");
  const stage = h("div", { class: "onn-stage" }, canvas);
  const [low, high] = (ends ?? ["", ""]).map((text) => h("span", {}, text));
  const note = h("span", { class: "onn-note" });
  const caption = h("figcaption", {}, h("span", { class: "onn-name" }, title), note);
  const node = h("figure", {}, caption, stage);
  if (ends) node.append(h("div", { class: "onn-key" }, low, h("i", { style: `background:${gradient(map)}` }), high));
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  return {
    node,
    canvas,
    stage,
    context,
    note: (text) => (note.textContent = text),
    describe: (text) => canvas.setAttribute("aria-label", text),
    ends: (first, last) => ((low.textContent = first), (high.textContent = last)),
    /** Draw real values between `from` and `to`; `brightness` (optional, 0 to 1 a sample) dims them. */
    values(array, from, to, brightness = null) {
      paintValues(image.data, array, map, from, to);
      if (brightness) for (let i = 0; i < 4 * array.length; i++) if (i % 4 < 3) image.data[i] *= brightness[i >> 2];
      context.putImageData(image, 0, 0);
    },
    complex(array) {
      paintComplex(image.data, array);
      context.putImageData(image, 0, 0);
    },
  };
}

function gradient(map) {
  const stops = TABLES[map].match(/.{6}/g).map((colour) => `#${colour}`);
  // From -pi to pi: the table of the wheel starts at zero.
  const half = stops.length / 2;
  const order = map === "phase" ? [...stops.slice(half), ...stops.slice(0, half + 1)] : stops;
  return `linear-gradient(90deg,${order.join()})`;
}

/** A line over a distance with labelled axes, drawn in the colours of the page. */
export function plot(title, note) {
  const area = h("div", { class: "onn-plot" });
  area.innerHTML = '<svg role="img"></svg>';
  const svg = area.firstChild;
  const caption = h("figcaption", {}, h("span", { class: "onn-name" }, title), h("span", { class: "onn-note" }, note));
  const node = h("figure", { class: "onn-wide" }, caption, area);
  const [left, right, top, bottom] = [36, 8, 8, 36];
  let last = null;
  /** Draw values from 0 to 1 at positions from -reach to reach; `ticks` are pairs of such a value and its text. */
  function draw(values, { reach, label, ticks }) {
    last = [values, { reach, label, ticks }];
    const [width, height] = [Math.max(200, area.clientWidth), Math.max(120, area.clientHeight)];
    const px = (x) => left + ((x + reach) / (2 * reach)) * (width - left - right);
    const py = (v) => height - bottom - v * (height - top - bottom);
    const parts = [];
    for (const [v, text] of ticks) {
      parts.push(`<path class="onn-grid" d="M${left} ${py(v)}H${width - right}"/>`);
      parts.push(`<text x="${left - 6}" y="${py(v) + 4}" text-anchor="end">${text}</text>`);
    }
    const step = 10 ** Math.floor(Math.log10(reach)) * (reach / 10 ** Math.floor(Math.log10(reach)) < 4 ? 1 : 2);
    for (let i = -Math.floor(reach / step); i * step <= reach; i++) {
      parts.push(`<path class="onn-grid" d="M${px(i * step)} ${height - bottom}v4"/>`);
      parts.push(`<text x="${px(i * step)}" y="${height - bottom + 17}" text-anchor="middle">${number(i * step)}</text>`);
    }
    parts.push(`<text x="${px(0)}" y="${height - 2}" text-anchor="middle">${label}</text>`);
    const at = (v, i) => `${px((i / (values.length / 2) - 1) * reach).toFixed(1)} ${py(v).toFixed(1)}`;
    const line = Array.from(values, (v, i) => (i ? "L" : "M") + at(v, i));
    parts.push(`<path class="onn-line" d="${line.join("")}"/>`);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.innerHTML = parts.join("");
  }
  const observer = new ResizeObserver(() => last && draw(...last));
  observer.observe(area);
  return { node, draw, describe: (text) => svg.setAttribute("aria-label", text), close: () => observer.disconnect() };
}

// Painting ---------------------------------------------------------------------------------------------

/**
 * Make a picture paintable with mouse, pen, finger and keyboard.
 *
 * `cells`: cells along a side. `radius()`: of the brush, in cells (0 for a single cell). `dab(x, y)`: paint around a
 * point, in cells from the top left corner. `done()`: a stroke has ended. `where(x, y)`: words for a cell.
 */
export function paintable(picture, brush) {
  const { label, radius, dab, done, where, say } = brush;
  const { canvas, stage } = picture;
  const ring = h("div", { class: "onn-ring" });
  let [x, y] = [Math.floor(brush.cells / 2), Math.floor(brush.cells / 2)];
  let pen = null; // where the pointer was last while it is down
  let held = false; // the space bar is down
  stage.append(ring);
  stage.classList.add("onn-paintable");
  for (const [name, value] of Object.entries({ tabindex: 0, role: "application", "aria-label": label })) {
    canvas.setAttribute(name, value);
  }
  canvas.setAttribute("aria-roledescription", "painting");

  function place(px, py) {
    const r = radius();
    const size = r === 0 ? 1 : 2 * r;
    const [cx, cy] = r === 0 ? [Math.floor(px) + 0.5, Math.floor(py) + 0.5] : [px, py];
    ring.style.cssText = `width:${(100 * size) / brush.cells}%;left:${(100 * cx) / brush.cells}%;top:${(100 * cy) / brush.cells}%`;
    ring.classList.toggle("onn-square", r === 0);
  }
  function at(event) {
    const box = canvas.getBoundingClientRect();
    const inside = (v, size) => Math.min(brush.cells - 1e-6, Math.max(0, (v / size) * brush.cells));
    return [inside(event.clientX - box.left, box.width), inside(event.clientY - box.top, box.height)];
  }
  function stroke(to) {
    const from = pen ?? to;
    const steps = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(0.5, radius() / 2)) || 1;
    for (let i = 1; i <= steps; i++) {
      dab(from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps);
    }
    pen = to;
  }
  function lift() {
    if (pen) done();
    pen = null;
  }
  const listeners = {
    pointerdown(event) {
      if (event.button !== 0) return;
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      stroke(at(event));
    },
    pointermove(event) {
      const point = at(event);
      place(...point);
      if (pen) {
        [x, y] = point.map(Math.floor);
        stroke(point);
      }
    },
    pointerup: lift,
    pointercancel: lift,
    keydown(event) {
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const paints = event.key === " " || event.key === "Enter";
      const [dx, dy] = moves[event.key] ?? [0, 0];
      if (!(paints || dx || dy) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const step = event.shiftKey ? Math.ceil(brush.cells / 16) : 1;
      x = Math.min(brush.cells - 1, Math.max(0, x + step * dx));
      y = Math.min(brush.cells - 1, Math.max(0, y + step * dy));
      place(x + 0.5, y + 0.5);
      if (event.key === " ") held = true;
      if (paints || held) {
        dab(x + 0.5, y + 0.5);
        done();
      }
      say("place", where(x, y));
    },
    keyup(event) {
      if (event.key === " ") held = false;
    },
    focus: () => place(x + 0.5, y + 0.5),
    blur: () => (held = false),
  };
  for (const [name, listener] of Object.entries(listeners)) canvas.addEventListener(name, listener);
  place(x + 0.5, y + 0.5);
}

/** The samples of a size x size picture within `radius` of a point: calls `visit` with each index. */
export function disc(px, py, radius, visit) {
  for (let y = Math.max(0, Math.floor(py - radius)); y < Math.min(SIZE, py + radius); y++) {
    for (let x = Math.max(0, Math.floor(px - radius)); x < Math.min(SIZE, px + radius); x++) {
      if (Math.hypot(x + 0.5 - px, y + 0.5 - py) <= Math.max(radius, 0.71)) visit(y * SIZE + x);
    }
  }
}

// Controls ---------------------------------------------------------------------------------------------

/** A slider. `text` words the value; `low`, `high`, `step` and `value` are those of the bare slider. */
export function slider({ label, low, high, step, value, text, change, settle = () => {} }) {
  const id = unique();
  const output = h("span", { "aria-hidden": "true" }); // a screen reader has the same words from the slider
  const input = h("input", { type: "range", id, min: low, max: high, step });
  const node = h("div", { class: "onn-slider" }, h("label", { for: id }, label), output, input);
  const show = () => {
    output.textContent = text(input.valueAsNumber);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => (show(), change(input.valueAsNumber)));
  input.addEventListener("change", settle);
  const set = (number) => ((input.value = number), show());
  set(value);
  return { node, set, show: (on) => (node.hidden = !on) };
}

/** One of a few: radio buttons in a row. `options` are pairs of value and text; null as value selects none. */
export function choice({ label, options, value, change }) {
  const name = unique();
  const inputs = options.map(([key]) =>
    h("input", { type: "radio", name, value: key, onclick: () => change(key) }),
  );
  const labels = options.map(([, text], i) => h("label", {}, inputs[i], text));
  const node = h("fieldset", { class: "onn-choice" }, h("legend", {}, label), h("div", {}, ...labels));
  const set = (key) => inputs.forEach((input) => (input.checked = input.value === key));
  set(value);
  return { node, set };
}

/** Yes or no. */
export function toggle({ label, value, change }) {
  const input = h("input", { type: "checkbox" });
  input.checked = value;
  input.addEventListener("change", () => change(input.checked));
  const node = h("label", { class: "onn-toggle" }, input, label);
  return { node, set: (on) => (input.checked = on) };
}

/** The object of an imaging system: a digit, bars, a star, or what you draw; shared with Python as "object". */
export function sketch(shared, model, page, changed) {
  const sources = { digit, bars, star, blank: () => new Float64Array(AREA) };
  const shown = picture("Object", { map: "intensity", ends: ["0", "1"] });
  let pen = 1;
  let values = unpack(model.get("object")) ?? digit();
  const chooser = choice({
    label: "Object",
    options: [["digit", "Digit"], ["bars", "Bars"], ["star", "Star"], ["blank", "Blank"]],
    value: unpack(model.get("object")) ? null : "digit",
    change: take,
  });
  const pens = choice({
    label: "Pen",
    options: [["1", "Light"], ["0", "Dark"]],
    value: "1",
    change: (key) => (pen = Number(key)),
  });
  function publish(empty = false) {
    shared.put("object", () => (empty ? new DataView(new ArrayBuffer(0)) : pack(values)));
    changed();
  }
  function take(key) {
    values = sources[key]();
    chooser.set(key);
    publish(key === "digit");
  }
  paintable(shown, {
    cells: SIZE,
    label: "Object. Arrow keys move the pen, the space bar draws.",
    radius: () => 3,
    dab(x, y) {
      disc(x, y, 3, (i) => (values[i] = pen));
      chooser.set(null);
      publish();
    },
    done: shared.flush,
    where: (x, y) => `Object, row ${y}, column ${x}, brightness ${number(values[y * SIZE + x], 2)}.`,
    say: page.say,
  });
  shared.on("object", (view) => {
    values = unpack(view) ?? digit();
    chooser.set(view?.byteLength ? null : "digit");
    changed();
  });
  return {
    picture: shown,
    controls: [chooser, pens],
    reset: () => take("digit"),
    get values() {
      return values;
    },
  };
}
