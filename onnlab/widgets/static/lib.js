// What the explorables share, without a page: Fourier transforms, colours, test objects, packed numbers.

export const SIZE = 128; // samples along each side of every picture, as in Python
export const AREA = SIZE * SIZE;

// Fourier transform ------------------------------------------------------------------------------------

const plans = new Map();

function plan(n) {
  if (!plans.has(n)) {
    const bits = Math.log2(n);
    const order = new Uint32Array(n);
    for (let i = 0; i < n; i++) order[i] = (order[i >> 1] >> 1) | ((i & 1) << (bits - 1));
    const angles = Float64Array.from({ length: n }, (_, i) => (2 * Math.PI * i) / n);
    plans.set(n, { fast: Number.isInteger(bits), order, cos: angles.map(Math.cos), sin: angles.map(Math.sin) });
  }
  return plans.get(n);
}

// All columns of an n x width array at once: the innermost loop runs through memory that lies together.
function transformColumns(re, im, n, width, sign) {
  const { fast, order, cos, sin } = plan(n);
  if (!fast) return sumColumns(re, im, n, width, sign);
  for (let i = 0; i < n; i++) {
    if (order[i] > i) for (const a of [re, im]) swapRows(a, i * width, order[i] * width, width);
  }
  for (let half = 1; half < n; half *= 2) {
    for (let k = 0; k < half; k++) {
      const c = cos[(k * n) / (2 * half)];
      const s = sign * sin[(k * n) / (2 * half)];
      for (let row = k; row < n; row += 2 * half) {
        for (let p = row * width, q = p + half * width, end = p + width; p < end; p++, q++) {
          const x = c * re[q] - s * im[q];
          const y = c * im[q] + s * re[q];
          re[q] = re[p] - x;
          im[q] = im[p] - y;
          re[p] += x;
          im[p] += y;
        }
      }
    }
  }
}

// For sizes that are no power of two, which are small here: the sum that defines the transform.
function sumColumns(re, im, n, width, sign) {
  const { cos, sin } = plan(n);
  const [x, y] = [re.slice(), im.slice()];
  re.fill(0);
  im.fill(0);
  for (let k = 0; k < n; k++) {
    for (let j = 0; j < n; j++) {
      const c = cos[(j * k) % n];
      const s = sign * sin[(j * k) % n];
      for (let p = k * width, q = j * width, end = p + width; p < end; p++, q++) {
        re[p] += c * x[q] - s * y[q];
        im[p] += c * y[q] + s * x[q];
      }
    }
  }
}

function swapRows(a, p, q, n) {
  for (const end = p + n; p < end; p++, q++) {
    const kept = a[p];
    a[p] = a[q];
    a[q] = kept;
  }
}

function transpose(a, n) {
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const kept = a[i * n + j];
      a[i * n + j] = a[j * n + i];
      a[j * n + i] = kept;
    }
  }
}

/** Transform n samples in place, as numpy.fft.fft does. */
export const fft = ({ re, im }, n) => transformColumns(re, im, n, 1, -1);

/** Transform an n x n field in place, as numpy.fft.fft2 does: zero frequency first, 1/n^2 on the way back. */
export function fft2({ re, im }, n, inverse = false) {
  for (let axis = 0; axis < 2; axis++) {
    transformColumns(re, im, n, n, inverse ? 1 : -1);
    transpose(re, n);
    transpose(im, n);
  }
  if (inverse) for (let i = 0; i < n * n; i++) ((re[i] /= n * n), (im[i] /= n * n));
}

/** A complex n x n field of zeros. */
export const field = (n) => ({ re: new Float64Array(n * n), im: new Float64Array(n * n) });

/** Move the origin from the corner to the middle; for an even n the same step moves it back. */
export function shifted(a, n = SIZE) {
  const out = new Float64Array(n * n);
  const half = Math.ceil(n / 2);
  for (let y = 0; y < n; y++) {
    for (let x = 0; x < n; x++) out[y * n + x] = a[((y + half) % n) * n + ((x + half) % n)];
  }
  return out;
}

/** Largest value of an array: Math.max would need each as an argument. */
export const largest = (a) => a.reduce((m, v) => (v > m ? v : m), -Infinity);

// Openings ---------------------------------------------------------------------------------------------

/** The value, or 0 or 1 if it is beyond. */
export const clamp = (v) => Math.min(1, Math.max(0, v));

// Area of the circle of radius r within the rectangle from the origin to (y, x), odd in both.
function areaFromOrigin(y, x, r) {
  const opposite = (u) => Math.sqrt((r - u) * (r + u));
  const underArc = (u) => (u * opposite(u) + r ** 2 * Math.asin(u / r)) / 2;
  const [height, width] = [Math.min(r, Math.abs(y)), Math.min(r, Math.abs(x))];
  // Left of this place the rectangle is lower than the arc; right of it the arc is the limit.
  const meets = Math.min(opposite(height), width);
  return Math.sign(y) * Math.sign(x) * (height * meets + underArc(width) - underArc(meets));
}

/** Share of the cell at (y, x) that lies within a circle about the origin; all in cells. */
export function discShare(y, x, r) {
  const [top, bottom, left, right] = [y - 0.5, y + 0.5, x - 0.5, x + 0.5];
  const beside = areaFromOrigin(top, right, r) + areaFromOrigin(bottom, left, r);
  return clamp(areaFromOrigin(bottom, right, r) + areaFromOrigin(top, left, r) - beside);
}

// Colours: those of onnlab.viz -------------------------------------------------------------------------

// Evenly spaced, as hexadecimal RGB. The wheel of phases starts at zero and closes on itself.
export const TABLES = {
  intensity:
    "0000040403120b0724150b37210c4a2e0a5a3c09654a0c6b57106d63146e70196e7d1e6d89226a962766a32b61af315c" +
    "bb3755c63e4dd14644db4f3be35932eb6528f1711ef67f14f98d0afb9c06fcab0ffbba1ff9ca32f5d949f2e865f3f586" +
    "fcffa4",
  phase:
    "c68129c68e37c39b49bfa75db8b172afba87a4c19c99c6b08dc8c382c7d378c3e071beea6eb6f16dacf470a1f37496ef" +
    "788ae77d7edd8273d08769c18c60b19158a095528f9b4d7fa04b6fa64a60ac4b52b24f44b85538bd5e2dc26824c57422",
  signed: "003a5c0072b2f7f7f7d55e006e2c00",
};

const STEPS = 256;
const luts = new Map();

/** The 256 colours of a map as bytes R, G, B: linear between the entries of its table. */
export function colours(name) {
  if (!luts.has(name)) {
    const table = TABLES[name].match(/../g).map((byte) => parseInt(byte, 16));
    const closed = name === "phase";
    const spans = table.length / 3 - (closed ? 0 : 1);
    const lut = new Uint8ClampedArray(3 * STEPS);
    for (let i = 0; i < STEPS; i++) {
      const place = (i / (closed ? STEPS : STEPS - 1)) * spans;
      const low = Math.min(Math.floor(place), spans - 1);
      for (let c = 0; c < 3; c++) {
        const next = table[(3 * (low + 1) + c) % table.length];
        lut[3 * i + c] = table[3 * low + c] + (place - low) * (next - table[3 * low + c]);
      }
    }
    luts.set(name, lut);
  }
  return luts.get(name);
}

/** Write real values as pixels: `low` and below is the first colour of the map, `high` and above the last. */
export function paintValues(pixels, values, map, low, high) {
  const lut = colours(map);
  const scale = high > low ? (STEPS - 1) / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    const step = 3 * Math.min(STEPS - 1, Math.max(0, Math.round((values[i] - low) * scale)));
    pixels[4 * i] = lut[step];
    pixels[4 * i + 1] = lut[step + 1];
    pixels[4 * i + 2] = lut[step + 2];
    pixels[4 * i + 3] = 255;
  }
}

/** Write complex values as pixels: phase as hue, amplitude (up to one) as brightness. */
export function paintComplex(pixels, { re, im }) {
  const lut = colours("phase");
  for (let i = 0; i < re.length; i++) {
    const amplitude = Math.min(1, Math.hypot(re[i], im[i]));
    const step = 3 * (Math.round((Math.atan2(im[i], re[i]) / (2 * Math.PI) + 1) * STEPS) % STEPS);
    for (let c = 0; c < 3; c++) pixels[4 * i + c] = amplitude * lut[step + c];
    pixels[4 * i + 3] = 255;
  }
}

// Test objects: amplitudes between 0 and 1 --------------------------------------------------------------

// A digit of MNIST (number 1619 of the test part of mnist-mini; licence: onnlab/data/LICENSE-mnist-mini),
// 28 x 28 bytes in base64. Python reads it from this line.
export const DIGIT =
  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB5/6UAAAAAAABG/rMAAAAAAAAAAAAAAAAAAAAAg/6ZAAAAAAAAav75" +
  "MgAAAAAAAAAAAAAAAAAAANj+aQAAAAAAAIz+8CUAAAAAAAAAAAAAAAAAAA7h/lQAAAAAAFXp/tcAAAAAAAAAAAAAAAAAAAA6" +
  "/v4uAAAAAAi6/v7OAAAAAAAAAAAAAAAAAAAAOv7+CQAAAACS/v7+eAAAAAAAAAAAAAAAAAAAAJb+/gkAAAB/+/7+7xYAAAAA" +
  "AAAAAAAAAAAAAACZ/v4JAABc9v7+/rUAAAAAAAAAAAAAAAAAAAAAafH+KAAb9P7+/v6WAAAAAAAAAAAAAAAAAAAAAACh/qlk" +
  "9P7+/v78RgAAAAAAAAAAAAAAAAAAAAAARLD9/v71p/7+ygAAAAAAAAAAAAAAAAAAAAAAAAAAY7GSI27+/pQAAAAAAAAAAAAA" +
  "AAAAAAAAAAAAAAAAAADO/v6DAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAgv7bCwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAK7+" +
  "0gAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACb/nwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAuf5zAAAAAAAAAAAAAAAAAAAA" +
  "AAAAAAAAAAAAAM7+cwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADC/nMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAG8BzAAAA" +
  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

const digitBytes = () => Uint8Array.from(atob(DIGIT), (c) => c.charCodeAt(0));

/** The digit as it is, in the middle of 32 x 32 pixels. */
export function smallDigit() {
  const out = new Float64Array(32 * 32);
  digitBytes().forEach((v, i) => (out[(Math.floor(i / 28) + 2) * 32 + (i % 28) + 2] = Math.fround(v / 255)));
  return out;
}

/** The digit, enlarged four times with linear interpolation, in the middle of the window. */
export function digit() {
  const bytes = digitBytes();
  const out = new Float64Array(AREA);
  const neighbours = (i) => {
    const place = Math.max(0, (i + 0.5) / 4 - 0.5);
    const low = Math.floor(place);
    return [low, Math.min(low + 1, 27), place - low];
  };
  for (let y = 0; y < 112; y++) {
    const [top, bottom, v] = neighbours(y);
    for (let x = 0; x < 112; x++) {
      const [left, right, h] = neighbours(x);
      const upper = (1 - h) * bytes[28 * top + left] + h * bytes[28 * top + right];
      const lower = (1 - h) * bytes[28 * bottom + left] + h * bytes[28 * bottom + right];
      out[(y + 8) * SIZE + x + 8] = Math.fround(((1 - v) * upper + v * lower) / 255);
    }
  }
  return out;
}

/** Groups of three bars with periods of 16, 8 and 4 samples, upright and lying. */
export function bars() {
  const out = new Float64Array(AREA);
  for (const [period, top] of [
    [16, 14],
    [8, 68],
    [4, 102],
  ]) {
    const reach = 2.5 * period;
    for (let a = 0; a < reach; a++) {
      if (a % period >= period / 2) continue;
      for (let b = 0; b < reach; b++) {
        out[(top + b) * SIZE + 38 - reach / 2 + a] = 1;
        out[(top + a) * SIZE + 90 - reach / 2 + b] = 1;
      }
    }
  }
  return out;
}

/** A Siemens star with 16 spokes. */
export function star() {
  const out = new Float64Array(AREA);
  for (let y = -56; y <= 56; y++) {
    for (let x = -56; x <= 56; x++) {
      const inside = Math.hypot(x, y) <= 56 && Math.cos(16 * Math.atan2(y, x)) >= 0;
      out[(y + 64) * SIZE + x + 64] = inside ? 1 : 0;
    }
  }
  return out;
}

// Packed numbers ---------------------------------------------------------------------------------------

/** Numbers from raw float32 bytes, or null for none: then the default holds. */
export function unpack(view) {
  if (!view || view.byteLength === 0) return null;
  const { buffer, byteOffset, byteLength } = view;
  return Float64Array.from(new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength)));
}

/** Numbers as raw float32 bytes; an empty array says: the default. */
export const pack = (values) => new DataView(Float32Array.from(values).buffer);

/** A tensor of any shape as Python packs it: { shape, values }, with `part(i)`, its i-th slice. */
export function unpackBlock(block) {
  const values = unpack(block?.data) ?? new Float64Array(0);
  const shape = block?.shape ?? [0];
  const size = shape.slice(1).reduce((product, n) => product * n, 1);
  return { shape, values, part: (i) => values.subarray(i * size, (i + 1) * size) };
}
