// Painting with mouse, pen, finger and keyboard, and the object that imaging explorables share.
import { SIZE, bars, digit, pack, smallDigit, star, unpack } from "./lib.js";
import { choice, h, number, picture } from "./ui.js";

/**
 * Make a picture paintable with mouse, pen, finger and keyboard.
 *
 * The brush has: `label`; `cells` along a side; `radius()` in cells, 0 for a single cell; `dab(x, y)`, which
 * paints around a point, in cells from the top left corner; `done()`, called when a stroke has ended;
 * `where(x, y)`, words for a cell; `say(topic, words)`.
 */
export function paintable({ canvas, stage }, brush) {
  const ring = h("div", { class: "onn-ring" });
  let [x, y] = [Math.floor(brush.cells / 2), Math.floor(brush.cells / 2)];
  let pen = null; // where the pointer was last while it is down
  let held = false; // the space bar is down
  stage.append(ring);
  stage.classList.add("onn-paintable");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "painting");
  canvas.setAttribute("aria-label", brush.label);

  function place(px, py) {
    const r = brush.radius();
    const [cx, cy] = r === 0 ? [Math.floor(px) + 0.5, Math.floor(py) + 0.5] : [px, py];
    const share = (v) => `${(100 * v) / brush.cells}%`;
    Object.assign(ring.style, { left: share(cx), top: share(cy), width: share(r === 0 ? 1 : 2 * r) });
    ring.classList.toggle("onn-square", r === 0);
  }
  const placeAtCell = () => place(x + 0.5, y + 0.5);
  function at(event) {
    const box = canvas.getBoundingClientRect();
    const inside = (v, size) => Math.min(brush.cells - 1e-6, Math.max(0, (v / size) * brush.cells));
    return [inside(event.clientX - box.left, box.width), inside(event.clientY - box.top, box.height)];
  }
  function stroke(to) {
    const from = pen ?? to;
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const steps = Math.ceil(Math.hypot(dx, dy) / Math.max(0.5, brush.radius() / 2)) || 1;
    for (let i = 1; i <= steps; i++) brush.dab(from[0] + (dx * i) / steps, from[1] + (dy * i) / steps);
    [x, y] = to.map(Math.floor);
    pen = to;
  }
  function lift() {
    if (pen) brush.done();
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
      if (pen) stroke(point);
    },
    pointerup: lift,
    pointercancel: lift,
    pointerleave: placeAtCell,
    keydown(event) {
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const paints = event.key === " " || event.key === "Enter";
      const [dx, dy] = moves[event.key] ?? [0, 0];
      if (!(paints || dx || dy) || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const step = event.shiftKey ? Math.ceil(brush.cells / 16) : 1;
      x = Math.min(brush.cells - 1, Math.max(0, x + step * dx));
      y = Math.min(brush.cells - 1, Math.max(0, y + step * dy));
      placeAtCell();
      if (event.key === " ") held = true;
      if (paints || held) {
        brush.dab(x + 0.5, y + 0.5);
        brush.done();
      }
      brush.say("place", brush.where(x, y));
    },
    keyup(event) {
      if (event.key === " ") held = false;
    },
    focus: placeAtCell,
    blur: () => (held = false),
  };
  for (const [name, listener] of Object.entries(listeners)) canvas.addEventListener(name, listener);
  placeAtCell();
}

/** Visit the samples of size x size within `radius` of a point: at least one, by its index. */
export function disc(px, py, radius, visit, size = SIZE) {
  for (let y = Math.max(0, Math.floor(py - radius)); y < Math.min(size, py + radius); y++) {
    for (let x = Math.max(0, Math.floor(px - radius)); x < Math.min(size, px + radius); x++) {
      if (Math.hypot(x + 0.5 - px, y + 0.5 - py) <= Math.max(radius, 0.71)) visit(y * size + x);
    }
  }
}

const filled = (size, value) => new Float64Array(size * size).fill(value);
const LARGE = {
  size: SIZE,
  radius: 3,
  sources: {
    digit: ["Digit", digit],
    bars: ["Bars", bars],
    star: ["Star", star],
    blank: ["Blank", () => filled(SIZE, 0)],
  },
};

/** Objects of 32 x 32 pixels, for what happens between neighbours and at borders. */
export const SMALL = {
  size: 32,
  radius: 1,
  sources: {
    digit: ["Digit", smallDigit],
    page: ["White page", () => filled(32, 1)],
    blank: ["Blank", () => filled(32, 0)],
  },
};

/**
 * The object of an imaging system: digit, bars, star, or what you draw; shared with Python as "object".
 *
 * `kind` has its `size`, the `radius` of the pen, and `sources`, of which "digit" is the default.
 */
export function sketch(shared, model, page, changed, { size, radius, sources } = LARGE) {
  const start = sources.digit[1];
  const given = unpack(model.get("object"));
  const shown = picture("Object", { ends: ["0", "1"], size });
  let pen = 1;
  let values = Float64Array.from(given ?? start());
  const chooser = choice({
    label: "Object",
    options: Object.fromEntries(Object.entries(sources).map(([name, [text]]) => [name, text])),
    value: given ? null : "digit",
    change: (name) => publish(sources[name][1](), name),
  });
  const pens = choice({
    label: "Pen",
    options: { light: "Light", dark: "Dark" },
    value: "light",
    change: (name) => (pen = name === "light" ? 1 : 0),
  });
  function publish(array, name = null) {
    values = array;
    chooser.set(name);
    shared.put("object", () => pack(name === "digit" ? [] : values));
    changed();
  }
  paintable(shown, {
    cells: size,
    label: "Object. Arrow keys move the pen, the space bar draws.",
    radius: () => radius,
    dab(x, y) {
      disc(x, y, radius, (i) => (values[i] = pen), size);
      publish(values);
    },
    done: shared.flush,
    where: (x, y) => `Object, row ${y}, column ${x}, brightness ${number(values[y * size + x], 2)}.`,
    say: page.say,
  });
  shared.on("object", (view) => {
    values = unpack(view) ?? start();
    chooser.set(view?.byteLength ? null : "digit");
    changed();
  });
  return {
    picture: shown,
    controls: [chooser, pens],
    reset: () => (given ? publish(Float64Array.from(given)) : publish(start(), "digit")),
    get values() {
      return values;
    },
  };
}
