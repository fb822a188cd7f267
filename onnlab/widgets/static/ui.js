// What the explorables share on a page: state, elements, pictures and controls.
import { SIZE, TABLES, paintComplex, paintValues } from "./lib.js";
import { STYLE } from "./style.js";

// State ------------------------------------------------------------------------------------------------

/** The values of a model under the names of `defaults`, which stand in for what it does not have. */
export const initial = (model, defaults) =>
  Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, model.get(name) ?? value]));

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

/** Let scripts read, as `el.onnlab[name]`, copies of the very numbers behind the pictures. */
export function expose(el, view, arrays) {
  const read = (array) => ({ enumerable: true, get: () => (view.now(), Float64Array.from(array())) });
  const getters = Object.entries(arrays).map(([name, array]) => [name, read(array)]);
  el.onnlab = Object.defineProperties({}, Object.fromEntries(getters));
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
export const unique = () => `onn-${Math.random().toString(36).slice(2)}`;

/** Write a quantity with an SI prefix: quantity(5.32e-7, "m") is "532 nm". */
export function quantity(value, unit, digits = 3) {
  const shown = Math.abs(Number(value.toPrecision(digits))); // 999.9 nm is written as 1 µm
  const power = shown === 0 ? 0 : Math.min(3, Math.max(-9, 3 * Math.floor((Math.log10(shown) + 1e-9) / 3)));
  const prefix = { "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k" }[power];
  return `${number(value / 10 ** power, digits)} ${prefix}${unit}`;
}

/** Write a number with so many significant digits and a true minus sign. */
export const number = (value, digits = 3) => String(Number(value.toPrecision(digits))).replaceAll("-", "−");

// A notebook must not take the keys that move sliders and brushes for its own.
function keepKeys(event) {
  if (/^(Arrow\w+|Page\w+|Home|End|Enter| )$/.test(event.key)) event.stopPropagation();
}

/** The card of an explorable, with what is in it; the explorable is what screen readers call `label`. */
export function card(el, label, ...parts) {
  const attributes = { class: "onn", role: "group", "aria-label": label };
  const keys = { "data-lm-suppress-shortcuts": "", onkeydown: keepKeys };
  el.replaceChildren(h("div", { ...attributes, ...keys }, h("style", {}, STYLE), ...parts));
}

/** The outline of most explorables: heading, pictures, facts, controls, help, and a voice for screen readers. */
export function frame(el, { title, help, layout = "", reset }) {
  const live = h("p", { class: "onn-live", role: "status", "aria-live": "polite" });
  const pictures = h("div", { class: `onn-pictures ${layout}` });
  const facts = h("dl", { class: "onn-facts" });
  const controls = h("div", { class: "onn-controls" });
  const button = h("button", { type: "button", class: "onn-button", onclick: reset }, "Reset");
  const head = h("div", { class: "onn-head" }, h("p", { class: "onn-title" }, title), button);
  card(el, title, head, pictures, facts, controls, h("p", { class: "onn-help" }, help), live);
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

/** A captioned canvas of so many samples, with a colour key if its `ends` are named. */
export function picture(title, { map = "intensity", ends = null, size = SIZE, smooth = false } = {}) {
  const canvas = h("canvas", { role: "img", "aria-label": title });
  if (smooth) canvas.classList.add("onn-smooth");
  const stage = h("div", { class: "onn-stage" }, canvas);
  const [low, high] = (ends ?? ["", ""]).map((text) => h("span", {}, text));
  const { caption, note, rename } = captioned(title);
  const node = h("figure", {}, caption, stage);
  const scale = h("i", { style: `background:${gradient(map)}` });
  if (ends) node.append(h("div", { class: "onn-key" }, low, scale, high));
  const context = canvas.getContext("2d");
  let image;
  function resize(height, width = height) {
    if (canvas.height === height && canvas.width === width && image) return;
    Object.assign(canvas, { height, width });
    canvas.style.aspectRatio = `${width} / ${height}`;
    image = context.createImageData(width, height);
  }
  resize(size);
  return {
    node,
    canvas,
    stage,
    context,
    note,
    rename,
    resize,
    describe: (text) => canvas.setAttribute("aria-label", text),
    ends: (first, last) => ((low.textContent = first), (high.textContent = last)),
    /** Draw real values between `from` and `to`; `brightness` (optional, 0 to 1 a sample) dims them. */
    values(array, from, to, brightness = null) {
      paintValues(image.data, array, map, from, to);
      if (brightness) {
        for (let i = 0; i < 4 * array.length; i++) if (i % 4 < 3) image.data[i] *= brightness[i >> 2];
      }
      context.putImageData(image, 0, 0);
    },
    complex(array) {
      paintComplex(image.data, array);
      context.putImageData(image, 0, 0);
    },
    /** Draw pixels: `colour(i)` is [red, green, blue] of sample i. */
    pixels(colour) {
      for (let i = 0; i < image.data.length / 4; i++) image.data.set([...colour(i), 255], 4 * i);
      context.putImageData(image, 0, 0);
    },
  };
}

/** A caption of a name and a note, and functions that change them. */
export function captioned(title, text = "") {
  const [name, note] = [h("span", { class: "onn-name" }, title), h("span", { class: "onn-note" }, text)];
  const caption = h("figcaption", {}, name, note);
  return { caption, note: (words) => (note.textContent = words), rename: (words) => (name.textContent = words) };
}

function gradient(map) {
  const stops = TABLES[map].match(/.{6}/g).map((colour) => `#${colour}`);
  // From -pi to pi: the table of the wheel starts at zero.
  const half = stops.length / 2;
  const order = map === "phase" ? [...stops.slice(half), ...stops.slice(0, half + 1)] : stops;
  return `linear-gradient(90deg,${order.join()})`;
}

// Controls ---------------------------------------------------------------------------------------------

/** A slider. `text` words the value; `low`, `high`, `step` and `value` are those of the bare slider. */
export function slider({ label, low, high, step, value, text, change, settle = () => {} }) {
  const id = unique();
  const output = h("span", { "aria-hidden": "true" }); // a screen reader has the same words from the slider
  const input = h("input", { type: "range", id, min: low, max: high, step });
  const node = h("div", { class: "onn-slider" }, h("label", { for: id }, label), output, input);
  const show = (number) => {
    output.textContent = text(number);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => (show(input.valueAsNumber), change(input.valueAsNumber)));
  input.addEventListener("change", settle);
  const set = (number) => ((input.value = number), show(number)); // the words hold even between two steps
  set(value);
  return { node, set, show: (on) => (node.hidden = !on) };
}

/** One of a few: radio buttons in a row. `options` has a text for each value; null as value selects none. */
export function choice({ label, options, value, change }) {
  const name = unique();
  const radio = (key) => h("input", { type: "radio", name, value: key, onclick: () => change(key) });
  const inputs = Object.keys(options).map(radio);
  const labels = Object.values(options).map((text, i) => h("label", {}, inputs[i], text));
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
