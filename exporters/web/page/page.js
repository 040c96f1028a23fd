/* Reads digits in the browser. Four parts: a hash, the network, pictures, the page. No part sends anything anywhere.

   The parts above the page work without one, so that `import` in node or in another page gives `Network`, `prepare` and `sha256`. */

// ---------------------------------------------------------------- a hash

/** Return the SHA-256 of bytes as hexadecimal digits: the browser's own, or ours where it keeps that from pages without https. */
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return slowSha256(bytes);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The same in JavaScript (FIPS 180-4). */
export function slowSha256(bytes) {
  const [fraction, primes] = [(x) => ((x - Math.floor(x)) * 2 ** 32) >>> 0, []];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const k = Int32Array.from(primes, (p) => fraction(Math.cbrt(p)));
  const h = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));
  const padded = new Uint8Array(((bytes.length + 72) >> 6) << 6);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(padded.length - 4, bytes.length << 3);
  const w = new Int32Array(64);
  const turned = (x, by) => (x >>> by) | (x << (32 - by));
  for (let at = 0; at < padded.length; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + 4 * i);
    for (let i = 16; i < 64; i++) {
      const s0 = turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ (w[i - 15] >>> 3);
      const s1 = turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ (w[i - 2] >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], last = h[7];
    for (let i = 0; i < 64; i++) {
      const t1 = (last + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
      const t2 = ((turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      last = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    [a, b, c, d, e, f, g, last].forEach((value, i) => (h[i] = (h[i] + value) >>> 0));
  }
  return h.map((word) => word.toString(16).padStart(8, "0")).join("");
}

// ---------------------------------------------------------------- the network

/** Why the page does not answer, in words for the person who looks at it. */
export class Refusal extends Error {}

/** A network, after it has passed its self-test. */
export class Network {
  /** Fetch and check the files beside `base`, a URL that ends in a slash. Throws Refusal. */
  static async fetch(base) {
    const [about, module, golden] = await Promise.all(["model.json", "model.wasm", "golden.bin"].map((name) => fetched(new URL(name, base))));
    let facts;
    try {
      facts = JSON.parse(new TextDecoder().decode(about));
    } catch {
      throw new Refusal("model.json is damaged.");
    }
    return Network.open(facts, module, golden);
  }

  /** Check files that are here already: `about` as parsed from model.json, the others as bytes. Throws Refusal. */
  static async open(about, module, golden) {
    for (const [file, bytes] of [["model.wasm", module], ["golden.bin", golden]]) {
      const [expected, found] = [about.sha256?.[file], await sha256(bytes)];
      if (found !== expected)
        throw new Refusal(`${file} is not the file that was proven: its SHA-256 is ${found.slice(0, 12)}… and not ${String(expected).slice(0, 12)}….`);
    }
    if (typeof WebAssembly === "undefined") throw new Refusal("This browser has no WebAssembly, or its settings block it.");
    let exports;
    try {
      ({ instance: { exports } } = await WebAssembly.instantiate(module, {}));
    } catch (error) {
      throw new Refusal(`This browser does not run the network: WebAssembly is blocked here, or too old (${error.message}).`);
    }
    const network = new Network(about, exports);
    network.selfTest(golden);
    return network;
  }

  constructor(about, exports) {
    this.about = about;
    this.exports = exports;
    this.classes = exports.classes();
    this.pixels = new Uint8Array(exports.memory.buffer, exports.pixels(), 784);
    this.answer = new Float32Array(exports.memory.buffer, exports.logits(), this.classes);
  }

  /** Return the logits of 784 pixels: Float32Array. The pixels are 28 rows of 28 bytes, bright ink on a dark ground. */
  logits(pixels) {
    this.pixels.set(pixels);
    this.exports.run();
    return this.answer.slice();
  }

  /** Answer the golden inputs. Throws Refusal unless each answer is PyTorch's, near enough to its logits, and has the very bits of the file that was proven.

      `golden` holds, one after the other: the pixels of each input; PyTorch's logits; the logits that the module gave where it was proven. */
  selfTest(golden) {
    const { inputs, tolerance } = this.about.golden;
    const numbers = new DataView(golden.buffer, golden.byteOffset, golden.byteLength);
    const number = (i) => numbers.getFloat32(784 * inputs + 4 * i, true);
    const size = inputs * this.classes;
    if (!(inputs > 0) || golden.length !== 784 * inputs + 8 * size) throw new Refusal("Self-test failed: golden.bin has the wrong length.");
    for (let input = 0; input < inputs; input++) {
      const logits = this.logits(golden.subarray(784 * input, 784 * (input + 1)));
      const expected = Array.from(logits, (_, i) => number(this.classes * input + i));
      const which = `Self-test failed: on golden input ${input + 1} of ${inputs} the network`;
      if (best(logits) !== best(expected)) throw new Refusal(`${which} answers ${best(logits)}, and PyTorch ${best(expected)}.`);
      const distance = Math.max(...expected.map((value, i) => Math.abs(value - logits[i])));
      if (!(distance <= tolerance)) throw new Refusal(`${which} is ${distance.toPrecision(2)} away from PyTorch; at most ${tolerance.toPrecision(2)} is allowed.`);
      if (logits.some((value, i) => !Object.is(value, number(size + this.classes * input + i))))
        throw new Refusal(`${which} does not give the bits that it gave where it was proven.`);
    }
  }
}

async function fetched(url) {
  const name = url.pathname.split("/").pop();
  let reply;
  try {
    reply = await fetch(url, { credentials: "same-origin" });
    if (reply.ok) return new Uint8Array(await reply.arrayBuffer());
  } catch {
    reply = null;
  }
  throw new Refusal(`${name} cannot be loaded${reply ? ` (the server answers ${reply.status})` : ""}. Are all of the folder's files on the server?`);
}

/** Return the index of the largest value; of equal ones, the first. */
export function best(values) {
  let index = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[index]) index = i;
  return index;
}

/** Return the probabilities that logits stand for: softmax. */
export function probabilities(logits) {
  const top = Math.max(...logits);
  const shares = Array.from(logits, (value) => Math.exp(value - top));
  const sum = shares.reduce((a, b) => a + b);
  return shares.map((share) => share / sum);
}

// ---------------------------------------------------------------- pictures

/* mnist_edge/image in JavaScript: the same steps under the same names, which docs/pictures.md explains, with Pillow's arithmetic, so that the
   same picture gives the same 28×28. A plane is {width, height, data}, a byte a pixel; a mask is a plane of 0 and 1. */

const SIZE = 28;
const BOX = 20;
const MIDDLE = 14;
const FINE = 4;
const MIN_STROKE = 2.4;
const WORKING_SIDE = 400;
const MAX_PIXELS = 4096 * 4096;
const MIN_LENGTH = 8;
const MIN_WIDTH = 4;
const MIN_STRENGTH = 24;
const PAPER_WINDOW = 0.24;
const SOFT_EDGE = 2;
const CLEAR_POLARITY = 0.4;
const TINY = 64;

/** Why a picture is not read, in words for the person whose picture it is. */
export class PictureError extends Error {}

/** Find the digit in a picture and place it as MNIST would have.

    `picture` is {width, height, data}, data in RGBA as canvases give it; `ink` is "auto", "dark" or "light".
    Return {pixels: 784 bytes, box: [left, top, right, bottom] in the picture, ink, warnings}. Throws PictureError. */
export function prepare(picture, ink = "auto") {
  const { width, height } = picture;
  if (width * height > MAX_PIXELS) throw new PictureError(`Too many pixels (${width}×${height}); at most 4096×4096 are read.`);
  if (Math.max(width, height) < MIN_LENGTH || Math.min(width, height) < MIN_WIDTH) throw new PictureError(`${width}×${height} pixels are too few for a digit.`);
  const planes = opaque(picture);
  const placed = asPlacedByMnist(planes, ink);
  if (placed) return placed;
  const { plane, sign } = findPolarity(planes);
  const likelier = sign <= 0;
  const inks = ink !== "auto" ? [ink === "dark"] : Math.abs(sign) >= CLEAR_POLARITY ? [likelier] : [likelier, !likelier];
  const found = findDigit(denoise(plane), inks);
  const [top, bottom, left, right] = found.box;
  const [across, down] = [width / plane.width, height / plane.height];
  return {
    pixels: place(fit(thicken(found.drawing, found.pen))).data,
    box: [Math.floor(left * across), Math.floor(top * down), Math.min(width, Math.ceil(right * across)), Math.min(height, Math.ceil(bottom * down))],
    ink: found.dark ? "dark" : "light",
    warnings: findDoubts(found),
  };
}

const newPlane = (width, height) => ({ width, height, data: new Uint8Array(width * height) });

function mapped({ width, height, data }, change) {
  const result = newPlane(width, height);
  for (let i = 0; i < data.length; i++) result.data[i] = change(data[i], i);
  return result;
}

const inverted = (plane) => mapped(plane, (value) => 255 - value);

/** Round to the nearest, even if it is a tie, as Python does. */
function rounded(x) {
  const floor = Math.floor(x);
  return x - floor === 0.5 ? floor + (floor & 1) : Math.round(x);
}

/** Return the value that `share` of the bytes do not exceed, 0 for none; of those only where the mask is `wanted`, if there is a mask. */
function quantile(values, share, mask = null, wanted = 1) {
  const counts = new Uint32Array(1024);
  let count = 0;
  for (let i = 0; i < values.length; i++)
    if (!mask || mask.data[i] === wanted) {
      counts[values[i]]++;
      count++;
    }
  for (let i = 0, sum = 0; i < counts.length; i++) if ((sum += counts[i]) >= share * count) return i;
  return 0;
}

const median = (values) => (quantile(values, 0.5) + quantile(values, 0.5 + 0.5 / Math.max(1, values.length))) / 2;

const least = (values) => values.reduce((a, b) => Math.min(a, b));
const largest = (values) => values.reduce((a, b) => Math.max(a, b));

/** Return the pixels of a plane's four borders. */
function bordersOf({ width, height, data }) {
  const borders = [...data.subarray(0, width), ...data.subarray(width * (height - 1))];
  for (let y = 0; y < height; y++) borders.push(data[y * width], data[(y + 1) * width - 1]);
  return borders;
}

/** Return a part of a plane; beyond the edges it is `outside`. */
function part(plane, top, bottom, left, right, outside = 0) {
  const result = newPlane(right - left, bottom - top);
  if (outside) result.data.fill(outside);
  const [from, to] = [Math.max(0, left), Math.min(plane.width, right)];
  for (let y = Math.max(0, top); y < Math.min(plane.height, bottom); y++)
    result.data.set(plane.data.subarray(y * plane.width + from, y * plane.width + to), (y - top) * result.width + from - left);
  return result;
}

/** Return a plane with a margin that mirrors it. */
function mirrored(plane, margin) {
  const { width, height } = plane;
  const result = newPlane(width + 2 * margin, height + 2 * margin);
  const inside = (i, size) => (i < 0 ? -1 - i : i >= size ? 2 * size - 1 - i : i);
  const columns = Array.from({ length: result.width }, (_, x) => inside(x - margin, width));
  for (let y = 0, to = 0; y < result.height; y++) {
    const row = inside(y - margin, height) * width;
    for (let x = 0; x < result.width; x++) result.data[to++] = plane.data[row + columns[x]];
  }
  return result;
}

// ---- decoding: an opaque picture, not larger than needed

/** Return a picture's red, green and blue planes, put on a ground where it is transparent, the longer side at most WORKING_SIDE. */
function opaque({ width, height, data }) {
  let planes = [0, 1, 2, 3].map((channel) => {
    const plane = newPlane(width, height);
    for (let i = 0, from = channel; i < plane.data.length; i++, from += 4) plane.data[i] = data[from];
    return plane;
  });
  const isTransparent = planes[3].data.some((value) => value < 255);
  if (Math.max(width, height) > WORKING_SIDE) {
    if (isTransparent) planes = weighted(planes, (value, alpha) => divided255(value * alpha));
    planes = planes.map(smaller);
    if (isTransparent) planes = weighted(planes, (value, alpha) => (alpha === 0 || alpha === 255 ? value : Math.min(255, Math.floor((255 * value) / alpha))));
  }
  const alpha = planes.pop();
  if (!isTransparent) return planes;
  const ground = groundOf(planes, alpha);
  return planes.map((plane, channel) => mapped(plane, (value, i) => {
    const share = alpha.data[i] * 128;
    const sum = value * share + ground[channel] * (255 * 128 - share) + (0x80 << 7);
    return (sum + (sum >> 8)) >> 15;
  }));
}

const divided255 = (product) => (product + 128 + ((product + 128) >> 8)) >> 8;
const weighted = (planes, weigh) => planes.map((plane, i) => (i === 3 ? plane : mapped(plane, (value, at) => weigh(value, planes[3].data[at]))));

/** Return the colour to put behind a transparent picture: where most of it is transparent, as unlike the ink as can be; else as the rest. */
function groundOf(planes, alpha) {
  if (median(alpha.data) < 128) {
    let [ink, weight] = [0, 0];
    alpha.data.forEach((opacity, i) => {
      ink += ((planes[0].data[i] + planes[1].data[i] + planes[2].data[i]) / 3) * opacity;
      weight += opacity;
    });
    return ink / Math.max(1, weight) < 128 ? [255, 255, 255] : [0, 0, 0];
  }
  return planes.map((plane) => Math.trunc(median(plane.data.filter((_, i) => alpha.data[i] >= 128))));
}

function smaller(plane) {
  const longer = Math.max(plane.width, plane.height);
  const [width, height] = [plane.width, plane.height].map((side) => Math.max(1, rounded((side * WORKING_SIDE) / longer)));
  const [fx, fy] = [Math.trunc(plane.width / width / 2) || 1, Math.trunc(plane.height / height / 2) || 1];
  return resized(reduced(plane, fx, fy), width, height, box, plane.width / fx, plane.height / fy);
}

// ---- Pillow's arithmetic

/** Return a plane with the mean of each block of fx × fy pixels, as Image.reduce gives it. */
function reduced(plane, fx, fy) {
  if (fx === 1 && fy === 1) return plane;
  const { width, height, data } = plane;
  const result = newPlane(Math.ceil(width / fx), Math.ceil(height / fy));
  for (let y = 0, to = 0; y < result.height; y++)
    for (let x = 0; x < result.width; x++, to++) {
      const [right, bottom] = [Math.min(width, (x + 1) * fx), Math.min(height, (y + 1) * fy)];
      const count = (right - x * fx) * (bottom - y * fy);
      let sum = count >> 1;
      for (let row = y * fy; row < bottom; row++) for (let i = row * width + x * fx, end = row * width + right; i < end; i++) sum += data[i];
      result.data[to] = Math.floor((sum * Math.floor(Math.fround(2 ** 24 / count))) / 2 ** 24);
    }
  return result;
}

const box = { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) };
const bicubic = {
  support: 2,
  weight(x) {
    x = Math.abs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
  },
};

/** Return a plane in another size, as Image.resize gives it: weights of 22 bits, in two passes. The plane may end within its last pixel. */
function resized(plane, width, height, filter, fullWidth = plane.width, fullHeight = plane.height) {
  const passes = [
    (of) => (width === of.width && fullWidth === of.width ? of : pass(of, width, of.height, false, weightsFor(of.width, fullWidth, width, filter))),
    (of) => (height === of.height && fullHeight === of.height ? of : pass(of, of.width, height, true, weightsFor(of.height, fullHeight, height, filter))),
  ];
  const isDownFirst = height < plane.height && plane.height - height > 2 * (plane.width - width); // found by trying: so does Pillow 13
  return (isDownFirst ? passes.reverse() : passes).reduce((of, step) => step(of), plane);
}

/** Return a plane resized along rows or down columns. */
function pass(plane, width, height, isDown, weights) {
  const step = isDown ? plane.width : 1;
  const result = newPlane(width, height);
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++, to++) {
      const { first, shares } = weights[isDown ? y : x];
      let sum = 1 << 21;
      for (let i = 0, at = isDown ? first * step + x : y * plane.width + first; i < shares.length; i++, at += step) sum += plane.data[at] * shares[i];
      result.data[to] = Math.min(255, Math.max(0, sum >> 22));
    }
  return result;
}

function weightsFor(old, full, size, filter) {
  const scale = Math.fround(full) / size;
  const stretch = Math.max(1, scale);
  const support = filter.support * stretch;
  return Array.from({ length: size }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(old, Math.trunc(centre + support + 0.5));
    const shares = Array.from({ length: end - first }, (_, j) => filter.weight((j + first - centre + 0.5) * (1 / stretch)));
    const sum = shares.reduce((a, b) => a + b, 0) || 1;
    return { first, shares: shares.map((share) => Math.trunc((share / sum) * 2 ** 22 + (share < 0 ? -0.5 : 0.5))) };
  });
}

/** Return a plane blurred by a box that reaches `radius` pixels, `passes` times, as ImageFilter.BoxBlur and GaussianBlur do. */
function boxBlurred(plane, radius, passes = 1) {
  const whole = Math.floor(radius);
  const inner = Math.floor(Math.fround(2 ** 24 / Math.fround(Math.fround(radius * 2) + 1)));
  const outer = Math.floor((2 ** 24 - (2 * whole + 1) * inner) / 2);
  const blurredLine = (from, start, step, size, to) => {
    const at = (i) => from[start + step * Math.min(size - 1, Math.max(0, i))];
    let sum = 0;
    for (let i = -whole - 1; i < whole; i++) sum += at(i);
    for (let i = 0; i < size; i++) {
      sum += at(i + whole) - at(i - whole - 1);
      to[start + step * i] = Math.floor((sum * inner + (at(i - whole - 1) + at(i + whole + 1)) * outer + 2 ** 23) / 2 ** 24);
    }
  };
  let data = plane.data;
  for (const [lines, next, step, size] of [[plane.height, plane.width, 1, plane.width], [plane.width, 1, plane.width, plane.height]])
    for (let pass = 0; pass < passes; pass++) {
      const to = new Uint8Array(data.length);
      for (let line = 0; line < lines; line++) blurredLine(data, line * next, step, size, to);
      data = to;
    }
  return { ...plane, data };
}

function gaussianBlurred(plane, radius) {
  const f = Math.fround;
  const variance = f(f(f(radius) * f(radius)) / 3);
  const length = f(Math.sqrt(12 * variance + 1));
  const l = Math.floor((length - 1) / 2);
  const a = f(f(f(2 * l + 1) * f(f(l * (l + 1)) - f(3 * variance))) / f(6 * f(variance - (l + 1) * (l + 1))));
  return boxBlurred(plane, f(l + a), 3);
}

/** Return the largest of each `window` successive pixels, along rows or down columns; the plane gets shorter by window - 1. */
function runningMax(plane, window, isDown) {
  const { width, height } = plane;
  let data = plane.data;
  for (let reach = 1; reach < window; ) {
    const step = Math.min(reach, window - reach);
    data = largerOf(data, (isDown ? width : 1) * step);
    reach += step;
  }
  return part({ width, height, data }, 0, isDown ? height - window + 1 : height, 0, isDown ? width : width - window + 1);
}

function largerOf(data, offset) {
  const result = new Uint8Array(data.length);
  for (let i = 0, end = data.length - offset; i < end; i++) result[i] = Math.max(data[i], data[i + offset]);
  return result;
}

const dilated = (plane, window) => runningMax(runningMax(plane, window, true), window, false);

/** Return a mask with a margin of `reach`, larger by `reach` pixels on every side. */
function grown(mask, reach) {
  const margin = 2 * reach;
  return dilated(part(mask, -margin, mask.height + margin, -margin, mask.width + margin), margin + 1);
}

// ---- ink

/** Return the plane in which ink differs most from paper, and how clearly it is lighter there; below 0 darker. */
function findPolarity(planes) {
  const [red, green, blue] = planes.map((plane) => plane.data);
  const isGrey = red.every((value, i) => value === green[i] && value === blue[i]);
  const used = isGrey ? planes.slice(0, 1) : planes;
  const factor = Math.ceil(Math.max(used[0].width, used[0].height) / 72);
  const small = used.map((plane) => reduced(plane, factor, factor));
  const cubes = small.map(cubedDifference);
  const spread = cubes.map((cube) => cube.reduce((sum, value) => sum + Math.abs(value), 0));
  const chosen = spread.findIndex((value) => value >= 0.95 * Math.max(...spread));
  const { data } = small[chosen];
  const [low, high] = [quantile(data, 0.02), quantile(data, 0.98)];
  const borders = bordersOf(small[chosen]);
  const say = largest(borders) - least(borders) < MIN_STRENGTH ? 0.6 : 0.3;
  const sum = cubes[chosen].reduce((a, b) => a + b, 0);
  const sign = sum / Math.max(spread[chosen], 1e-9) + (say * (low + high - 2 * quantile(borders, 0.5))) / (high - low + 1);
  return { plane: used[chosen], sign };
}

function cubedDifference(plane) {
  const radius = Math.floor(Math.max(plane.width, plane.height) / 8);
  const margin = Math.min(2 * radius, plane.width, plane.height);
  const around = part(boxBlurred(mirrored(plane, margin), radius), margin, margin + plane.height, margin, margin + plane.width);
  return Float64Array.from(plane.data, (value, i) => (value - around.data[i]) ** 3);
}

function denoise(plane) {
  const { width, height, data } = plane;
  if (Math.max(width, height) <= TINY) return plane;
  const bends = [];
  for (let y = 0; y < height; y += 3)
    for (let i = y * width + 1, end = (y + 1) * width - 1; i < end; i++) bends.push(Math.abs(data[i + 1] + data[i - 1] - 2 * data[i]));
  const noise = quantile(bends, 0.5) / 2.6;
  return noise < 1.5 ? plane : gaussianBlurred(plane, Math.min(2.5, Math.max(0.8, noise / 4)));
}

function inkStrength(plane, isDark) {
  const upright = isDark ? plane : inverted(plane);
  const paper = closing(upright, Math.max(3, Math.trunc(Math.max(plane.width, plane.height) * PAPER_WINDOW)));
  if (evenGround(upright, paper)) paper.data.fill(largest(paper.data));
  return mapped(upright, (value, i) => Math.floor(((paper.data[i] - value) * 255) / Math.max(paper.data[i], 64)));
}

/** Return the morphological closing by a square: what is dark and too narrow for it disappears. */
function evenGround(plane, { width, height, data }) {
  const [ground, ink] = [largest(data), least(plane.data)];
  if (least(data) > ink + MIN_STRENGTH || ground - ink <= 2 * MIN_STRENGTH) return false;
  const isGround = mapped({ width, height, data }, (value) => value >= ground - MIN_STRENGTH / 2);
  const borders = bordersOf(isGround);
  if (borders.filter(Boolean).length < (Math.max(width, height) <= TINY ? 0.5 : 1) * borders.length) return false;
  const near = part(grown(isGround, SOFT_EDGE), SOFT_EDGE, SOFT_EDGE + height, SOFT_EDGE, SOFT_EDGE + width);
  return data.every((value, i) => value <= ink + MIN_STRENGTH || near.data[i]);
}

function closing(plane, window) {
  const margin = Math.min(window - 1, plane.width, plane.height);
  return inverted(dilated(inverted(dilated(mirrored(plane, margin), margin + 1)), margin + 1));
}

/** Return the threshold that parts bytes into two classes as far apart as can be (Otsu, 1979); of equally good ones, the middle. */
function otsu(values) {
  const counts = new Float64Array(256);
  for (const value of values) counts[value]++;
  const mass = counts.reduce((sum, count, i) => sum + count * i, 0);
  let [below, massBelow, top] = [0, 0, 0];
  const between = Array.from(counts, (count, i) => {
    below += count;
    massBelow += count * i;
    const value = (massBelow * values.length - mass * below) ** 2 / Math.max(below * (values.length - below), 1);
    top = Math.max(top, value);
    return value;
  });
  const good = between.flatMap((value, i) => (value >= top * (1 - 1e-9) ? [i] : []));
  return Math.trunc(good.reduce((a, b) => a + b) / good.length);
}

// ---- connected pieces

/** Find the pieces of a mask whose pixels touch at a side or a corner; `strength` is weighed as their ink. */
function findPieces(mask, strength) {
  const { width, height } = mask;
  const runs = [];
  let above = 0;
  for (let y = 0; y < height; y++) {
    const first = runs.length;
    for (let x = 0; x < width; x++) {
      if (!mask.data[y * width + x]) continue;
      const run = { y, start: x, end: x, ink: 0, parent: runs.length };
      for (; run.end < width && mask.data[y * width + run.end]; run.end++) run.ink += strength.data[y * width + run.end];
      x = run.end;
      runs.push(run);
      for (let i = above; i < first && runs[i].start <= run.end; i++) if (runs[i].end >= run.start) join(runs, i, runs.length - 1);
    }
    above = first;
  }
  const numbers = new Map();
  const pieces = [];
  runs.forEach((run, i) => {
    const root = rootOf(runs, i);
    if (!numbers.has(root)) {
      numbers.set(root, pieces.length);
      pieces.push({ top: run.y, bottom: run.y + 1, left: run.start, right: run.end, ink: 0 });
    }
    run.piece = numbers.get(root);
    const piece = pieces[run.piece];
    piece.bottom = run.y + 1;
    piece.left = Math.min(piece.left, run.start);
    piece.right = Math.max(piece.right, run.end);
    piece.ink += run.ink;
  });
  for (const piece of pieces) {
    piece.height = piece.bottom - piece.top;
    piece.width = piece.right - piece.left;
    piece.borders = [piece.top === 0, piece.left === 0, piece.bottom === height, piece.right === width].filter(Boolean).length;
  }
  return { width, height, runs, pieces };
}

function rootOf(runs, i) {
  while (runs[i].parent !== i) i = runs[i].parent = runs[runs[i].parent].parent;
  return i;
}

function join(runs, a, b) {
  const [x, y] = [rootOf(runs, a), rootOf(runs, b)];
  runs[Math.max(x, y)].parent = Math.min(x, y);
}

/** Return the mask of the pieces that `isChosen` says of. */
function maskOf({ width, height, runs }, isChosen) {
  const mask = newPlane(width, height);
  for (const { y, start, end, piece } of runs) if (isChosen(piece)) mask.data.fill(1, y * width + start, y * width + end);
  return mask;
}

const cropped = (mask, [top, bottom, left, right]) => part(mask, top, bottom, left, right);
const boxOf = (pieces) => [
  Math.min(...pieces.map((p) => p.top)), Math.max(...pieces.map((p) => p.bottom)),
  Math.min(...pieces.map((p) => p.left)), Math.max(...pieces.map((p) => p.right)),
];

// ---- the digit

function findDigit(plane, inks) {
  const found = [];
  let nothing = "";
  for (const dark of inks) {
    const strength = inkStrength(plane, dark);
    if (strength.data.every((value) => value < MIN_STRENGTH)) {
      nothing ||= "No ink found: nothing stands out from the background.";
      continue;
    }
    const { all, level } = piecesOfInk(strength);
    const chosen = chooseDigit(all);
    const mask = maskOf(all, (piece) => chosen[piece]);
    const digitBox = boxOf(all.pieces.filter((_, i) => chosen[i]));
    const drawing = cutOut(strength, mask, level, digitBox);
    const one = { dark, plane: dark ? plane : inverted(plane), strength, all, chosen, mask, box: digitBox, drawing, pen: strokeWidth(drawing) / FINE };
    const reason = whyNoDigit(one);
    if (!reason) found.push(one);
    else nothing ||= `No digit found, only ${reason}.`;
  }
  if (!found.length) throw new PictureError(nothing);
  const cost = (one) => one.pen * (one.dark === inks[0] ? 1 : 1.5);
  return found.reduce((a, b) => (cost(b) < cost(a) ? b : a));
}

function piecesOfInk(strength) {
  const above = (limit) => findPieces(mapped(strength, (value) => (value > limit ? 1 : 0)), strength);
  let level = Math.max(otsu(strength.data), MIN_STRENGTH / 2);
  let all = above(level);
  const first = { all, level };
  for (let i = 0; i < 2; i++) {
    if (!isNet(all, strongest(all))) return { all, level };
    const higher = otsu(strength.data.filter((value) => value > level));
    if (higher <= level || strength.data.every((value) => value <= higher)) break;
    level = higher;
    all = above(level);
  }
  return isNet(all, strongest(all)) ? first : { all, level };
}

function isNet(all, number) {
  const piece = all.pieces[number];
  if (piece.borders < 2) return false;
  const mask = cropped(maskOf(all, (one) => one === number), boxOf([piece]));
  const ink = mask.data.reduce((a, b) => a + b, 0);
  return Math.max(all.width, all.height) <= TINY || ink / mask.data.length < 0.2 || Math.max(...strokesMet(mask)) > 3;
}

/** Return the piece that is most likely the digit: much ink, near the centre, off the borders, not tiny, no rule, no frame. */
function strongest(all) {
  const { width, height, pieces } = all;
  const score = pieces.map((p) => {
    const [x, y] = [(p.left + p.right) / (2 * width) - 0.5, (p.top + p.bottom) / (2 * height) - 0.5];
    const large = Math.min(1, Math.max(p.height, p.width) / (0.1 * Math.min(height, width)));
    return p.ink * Math.exp(-(x * x + y * y) / 0.35 ** 2) * large * (p.width > 4 * p.height ? 0.2 : 1) * 0.25 ** p.borders;
  });
  for (;;) {
    const top = best(score);
    const inside = framed(all, top);
    if (!inside.some(Boolean)) return top;
    inside.forEach((isInside, i) => { if (!isInside) score[i] = 0; });
  }
}

/** Return which pieces lie inside a piece, if that is a frame around them: hollow, and they large enough to be what it frames. */
function framed({ runs, pieces }, number) {
  const frame = pieces[number];
  const inside = pieces.map((p) => isAround(frame, p) && p.height >= 0.25 * frame.height);
  const [marginX, marginY] = [frame.width / 5, frame.height / 5];
  const isFilled = inside.some(Boolean) && runs.some((run) => run.piece === number && run.y > frame.top + marginY && run.y < frame.bottom - marginY
    && run.end > frame.left + marginX && run.start < frame.right - marginX);
  return isFilled ? inside.map(() => false) : inside;
}

const isAround = (outer, inner) => outer.top < inner.top && outer.bottom > inner.bottom && outer.left < inner.left && outer.right > inner.right;

/** Return which pieces are the digit: the strongest, and fragments near it, such as the flag of a 5. */
function chooseDigit(all) {
  const { width, height, pieces } = all;
  const main = strongest(all);
  const chosen = pieces.map((_, i) => i === main);
  const tiny = Math.max(width, height) <= TINY ? 1 : 0;
  for (;;) {
    const [top, bottom, left, right] = boxOf(pieces.filter((_, i) => chosen[i]));
    const side = Math.max(bottom - top, right - left, Math.floor(Math.max(width, height) / 2) * tiny);
    const more = pieces.map((p, i) => {
      if (chosen[i] || p.ink < 0.02 * pieces[main].ink || p.borders > tiny) return false;
      const [gapY, gapX] = [Math.max(p.top - bottom, top - p.bottom), Math.max(p.left - right, left - p.right)];
      const isAboveOrBelow = gapX <= 0 && gapY <= 0.4 * side;
      const isBeside = gapX > 0 && gapX <= 0.2 * side && gapY <= 0.1 * side;
      const isAnother = gapX > -0.15 * Math.min(p.width, right - left) && p.height >= 0.5 * (bottom - top);
      const isUnderline = p.width > 4 * p.height && p.top - bottom > 0.06 * side && p.width > 0.5 * (right - left);
      return (isAboveOrBelow || isBeside) && !(isAnother || isUnderline || isAround(p, { top, bottom, left, right }));
    });
    if (!more.some(Boolean)) return chosen;
    more.forEach((isMore, i) => { if (isMore) chosen[i] = true; });
  }
}

/** Return the reasons to doubt that there is one whole digit. */
function findDoubts({ all, chosen, box: [top, bottom, left, right], pen, mask }) {
  const [height, width] = [bottom - top, right - left];
  const own = all.pieces.filter((_, i) => chosen[i]);
  const ink = own.reduce((sum, p) => sum + p.ink, 0);
  const isAlike = (p, i) => p.ink >= 0.3 * ink && p.height >= 0.5 * height && p.borders === 0 && !chosen[i] && !isAround(p, { top, bottom, left, right });
  if (all.pieces.some(isAlike) || width > 2 * height) return ["More than one digit? This page reads one at a time, the most central."];
  if (pen > 6) return ["Probably not a digit: the ink is a patch more than a line."];
  const paper = mapped(part(mask, top - 1, bottom + 1, left - 1, right + 1), (value, i) => {
    const [x, y] = [i % (width + 2), Math.floor(i / (width + 2))];
    return value && x > 0 && y > 0 && x <= width && y <= height ? 0 : 1;
  });
  const holes = findPieces(paper, paper).pieces.filter((p) => p.borders === 0 && p.ink >= 0.01 * width * height).length;
  if (holes > 2) return [`Probably not a digit: its lines enclose ${holes} areas.`];
  const isFilled = height >= 0.9 * all.height && width >= 0.9 * all.width;
  if (Math.max(all.height, all.width) > TINY && own.some((p) => p.borders) && !isFilled) return ["The digit reaches the border; part of it may be missing."];
  return [];
}

// ---- is it one? mnist_edge/image/limits.py says how each limit was found

function whyNoDigit({ all, chosen, box: [top, bottom, left, right], mask, plane, strength, pen }) {
  const pieces = all.pieces;
  const own = pieces.filter((_, i) => chosen[i]);
  const ink = quantile(strength.data, 0.6, mask);
  const main = own[best(own.map((p) => p.ink))];
  const length = Math.max(main.height, main.width);
  const digit = cropped(mask, [top, bottom, left, right]);
  const [fewer, more] = strokesMet(digit).sort((a, b) => a - b);
  const paper = quantile(strength.data, 0.5, mask, 0) / ink;
  const others = pieces.filter((p, i) => !chosen[i] && p.borders === 0).map((p) => p.ink).sort((a, b) => b - a).slice(0, 5);
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const timesOther = pieces.length < 20 || !others.length ? Infinity : own.reduce((sum, p) => sum + p.ink, 0) / mean(others);
  const shape = () => ((right - left) / (bottom - top) > 3 ? "a line" : pen > 7 ? "a filled patch" : "");
  const specks = () => (own.length > 12 || timesOther < 8 ? "specks" : "");
  const strokes = () => (fewer > 3 || more > 4.5 ? "noise or a pattern" : "");
  if (Math.max(all.width, all.height) <= TINY)
    return (paper > 0.15 ? "paper or noise" : likeness(plane) < 0.2 ? "noise" : "") || strokes() || (length < 5 ? "specks" : "") || specks() || shape();
  if (paper > 0.2) return "paper or noise";
  const ring = grown(digit, 6);
  const inner = grown(digit, 4);
  const isRing = (i) => {
    const [x, y] = [(i % ring.width) - 2, Math.floor(i / ring.width) - 2];
    return ring.data[i] && !(x >= 0 && y >= 0 && x < inner.width && y < inner.height && inner.data[y * inner.width + x]);
  };
  const around = (of, outside) => part(of, top - 6, bottom + 6, left - 6, right + 6, outside).data.filter((_, i) => isRing(i));
  const darkness = quantile(plane.data, 0.6, mask);
  const planeAround = around(plane, 255);
  if (planeAround.filter((value) => value <= darkness).length / planeAround.length > 0.15) return "a filled patch, or a pen too broad for the picture";
  if (quantile(around(strength, 0), 0.5) / ink > 0.18) return "a shadow";
  const isCentral = left <= all.width / 2 && all.width / 2 <= right && top <= all.height / 2 && all.height / 2 <= bottom;
  return strokes() || (length < 8 || length / Math.min(all.width, all.height) < 0.04 ? "specks" : "") || specks()
    || (own.some((p) => p.borders) && !isCentral ? "something that reaches in from the border" : "") || shape();
}

/** Return how far neighbouring pixels are alike: the mean of their correlations along rows and columns. */
function likeness({ width, height, data }) {
  const mean = data.reduce((a, b) => a + b, 0) / data.length;
  const values = Float64Array.from(data, (value) => value - mean);
  let [spread, down, along] = [0, 0, 0];
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i++) {
      spread += values[i] ** 2;
      if (y) down += values[i] * values[i - width];
      if (x) along += values[i] * values[i - 1];
    }
  return (down / ((height - 1) * width) + along / (height * (width - 1))) / (2 * Math.max(1e-9, spread / data.length));
}

// ---- strokes

/** Return how many strokes a row and a column of the mask meet, on average. */
function strokesMet({ width, height, data }) {
  let [along, down] = [0, 0];
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i++)
      if (data[i]) {
        if (x === 0 || !data[i - 1]) along++;
        if (y === 0 || !data[i - width]) down++;
      }
  return [along / height, down / width];
}

/** Return the digit alone, its longer side 80: ink 255, paper 0, and the soft edge between. */
function cutOut(strength, mask, level, [top, bottom, left, right]) {
  const area = [Math.max(0, top - 1), Math.min(mask.height, bottom + 1), Math.max(0, left - 1), Math.min(mask.width, right + 1)];
  const full = quantile(strength.data, 0.6, mask);
  const low = 0.35 * level;
  const scale = 255 / Math.max(1, full - low);
  const near = grown(cropped(mask, area), 1);
  const [nearHere, clear] = [part(near, 1, near.height - 1, 1, near.width - 1), cropped(strength, area)];
  const fine = scaled(mapped(clear, (value, i) => Math.min(255, Math.max(0, (value - low) * scale)) * nearHere.data[i]), BOX * FINE);
  const ridge = Math.max(1, quantile(fine.data.filter((value) => value > MIN_STRENGTH), 0.9));
  return mapped(fine, (value) => Math.min(255, Math.floor((value * 255) / ridge)));
}

/** Return the mean width of the strokes, in pixels: twice the area over the outline's length (Cauchy's and Crofton's formula). */
function strokeWidth(drawing) {
  const { width, data } = part(drawing, -1, drawing.height + 1, -1, drawing.width + 1);
  let [crossings, sum] = [0, 0];
  data.forEach((value, i) => {
    sum += value;
    if ((i + 1) % width && value > 127 !== data[i + 1] > 127) crossings++;
    if (i + width < data.length && value > 127 !== data[i + width] > 127) crossings++;
  });
  return (2 * sum) / 255 / Math.max(1, (crossings * Math.PI) / 4);
}

/** Return the drawing with its strokes, `pen` wide, at least MIN_STROKE wide: a thin pen would fade when scaled down. */
function thicken(drawing, pen) {
  const radius = ((MIN_STROKE - pen) * FINE) / 2;
  if (radius < 0.5) return drawing;
  const reach = Math.trunc(radius);
  const wide = part(drawing, -2 * reach, drawing.height + 2 * reach, -2 * reach, drawing.width + 2 * reach);
  const result = newPlane(drawing.width + 2 * reach, drawing.height + 2 * reach);
  for (let down = -reach; down <= reach; down++) {
    const half = Math.trunc(Math.sqrt(radius ** 2 - down ** 2));
    for (let y = 0, to = 0; y < result.height; y++)
      for (let x = 0; x < result.width; x++, to++)
        for (let i = (y + reach + down) * wide.width + x + reach - half, end = i + 2 * half; i <= end; i++)
          if (wide.data[i] > result.data[to]) result.data[to] = wide.data[i];
  }
  return result;
}

/** Return the drawing cut to its ink, its longer side 20, its brightest pixel 255. */
function fit(drawing) {
  const cut = scaled(cropped(drawing, boxAbove(drawing, 100)), BOX);
  const top = Math.max(1, ...cut.data);
  return mapped(cut, (value) => Math.floor((value * 255) / top));
}

/** Return the box of what is brighter than a level: top, bottom, left, right; null if nothing is. */
function boxAbove({ width, height, data }, level) {
  const found = [height, 0, width, 0];
  data.forEach((value, i) => {
    if (value <= level) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    found[0] = Math.min(found[0], y);
    found[1] = Math.max(found[1], y + 1);
    found[2] = Math.min(found[2], x);
    found[3] = Math.max(found[3], x + 1);
  });
  return found[1] ? found : null;
}

/** Return 28×28 with the box in it so that its centre of mass is at index 14, as near as whole pixels allow. */
function place(drawing) {
  const [row, column] = centreOfMass(drawing);
  const top = Math.min(Math.max(0, rounded(MIDDLE - row)), SIZE - drawing.height);
  const left = Math.min(Math.max(0, rounded(MIDDLE - column)), SIZE - drawing.width);
  return part(drawing, -top, SIZE - top, -left, SIZE - left);
}

function scaled(plane, longer) {
  const factor = longer / Math.max(plane.width, plane.height);
  const [width, height] = [plane.width, plane.height].map((side) => Math.max(1, rounded(side * factor)));
  return resized(plane, width, height, factor < 1 ? box : bicubic);
}

function centreOfMass({ width, data }) {
  let [mass, rows, columns] = [0, 0, 0];
  data.forEach((value, i) => {
    mass += value;
    rows += value * Math.floor(i / width);
    columns += value * (i % width);
  });
  return [rows / Math.max(1, mass), columns / Math.max(1, mass)];
}

/** Return a 28×28 picture as it is if it has been placed by MNIST's recipe already, else null. */
function asPlacedByMnist([grey, green, blue], ink) {
  if (grey.width !== SIZE || grey.height !== SIZE || grey.data.some((value, i) => value !== green.data[i] || value !== blue.data[i])) return null;
  for (const [kind, plane] of [["light", grey], ["dark", inverted(grey)]]) {
    const found = boxAbove(plane, 0);
    if ((ink !== "auto" && ink !== kind) || !found) continue;
    const [top, bottom, left, right] = found;
    const longer = Math.max(bottom - top, right - left);
    if (longer < BOX - 1 || longer > BOX || !looksWritten(plane)) continue;
    if (Math.max(...centreOfMass(plane).map((centre) => Math.abs(centre - MIDDLE))) < 0.55)
      return { pixels: plane.data, box: [left, top, right, bottom], ink: kind, warnings: [] };
  }
  return null;
}

function looksWritten(plane) {
  const found = boxAbove(plane, 100);
  if (!found || Math.max(...plane.data) < 128) return false;
  const ink = cropped(mapped(plane, (value) => (value > 100 ? 1 : 0)), found);
  return Math.max(...strokesMet(ink)) <= 3.5 && strokeWidth(plane) <= 8.5;
}

// ---------------------------------------------------------------- the page

/** Drawings are kept at this size, black on white, whatever the screen. */
const DRAWING = 200;

/** A keyboard's pen moves by this much, and by a third of it with Shift. */
const KEY_STEP = DRAWING / 28;

/** Shows a network to a person. The document's elements are found by their ids. */
class Page {
  constructor(document, network) {
    this.network = network;
    this.element = (id) => document.getElementById(id);
    this.board = this.element("board");
    this.sheet = Object.assign(document.createElement("canvas"), { width: DRAWING, height: DRAWING });
    this.state = { strokes: [], photo: null };
    this.past = [];
    this.bars = network.about.classes.map((name) => this.newBar(document, name));
    this.cursor = null;
    this.listen(document);
    this.show();
  }

  newBar(document, name) {
    const [row, label, track, fill, value] = ["li", "span", "span", "span", "span"].map((tag) => document.createElement(tag));
    for (const [one, kind] of [[label, "label"], [track, "track"], [fill, "fill"], [value, "value"]]) one.className = kind;
    label.textContent = name;
    track.append(fill);
    row.append(label, track, value);
    this.element("bars").append(row);
    return { row, fill, value };
  }

  listen(document) {
    const { board, element } = this;
    const on = (target, kind, does) => target.addEventListener(kind, does.bind(this));
    on(board, "pointerdown", this.penDown);
    on(board, "pointermove", this.penMove);
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) on(board, kind, this.penUp);
    on(board, "keydown", this.key);
    on(board, "blur", () => this.moveCursor(null));
    on(element("undo"), "click", this.undo);
    on(element("clear"), "click", this.clear);
    on(element("file"), "change", (event) => { this.open(event.target.files[0]); event.target.value = ""; });
    on(document, "keydown", (event) => { if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") this.undo(); });
    on(document, "paste", (event) => this.openFrom(event.clipboardData, event));
    on(document, "dragover", (event) => event.preventDefault());
    on(document, "drop", (event) => { event.preventDefault(); this.openFrom(event.dataTransfer, event); });
    on(window, "resize", this.draw);
    on(window.matchMedia("(prefers-color-scheme: dark)"), "change", this.draw);
    for (const one of document.querySelectorAll("[disabled]")) one.disabled = false;
    if (!navigator.clipboard?.read) return;
    element("paste").hidden = false;
    on(element("paste"), "click", this.paste);
  }

  // ---- drawing

  get penWidth() {
    return Number(this.element("pen").value);
  }

  place(event) {
    const area = this.board.getBoundingClientRect();
    return [((event.clientX - area.left) * DRAWING) / area.width, ((event.clientY - area.top) * DRAWING) / area.height];
  }

  penDown(event) {
    if (this.pointer !== undefined || event.button !== 0) return;
    this.pointer = event.pointerId;
    this.board.setPointerCapture(event.pointerId);
    this.moveCursor(null);
    this.newStroke(this.place(event));
  }

  penMove(event) {
    if (event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) this.stroke.points.push(this.place(one));
    this.changed();
  }

  penUp(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = this.stroke = undefined;
    this.answer();
  }

  newStroke(point) {
    this.stroke = { width: this.penWidth, points: [point] };
    this.change({ strokes: [...this.state.strokes, this.stroke], photo: null });
  }

  /** Draw with the keyboard: arrows move the pen, the space bar puts it down or lifts it. */
  key(event) {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || this.pointer !== undefined) return;
    if (event.key === "Backspace") this.undo();
    else if (event.key === "Delete" || event.key === "Escape") this.clear();
    else if (event.key === " ") {
      const isDown = Boolean(this.cursor?.isDown);
      this.moveCursor({ at: this.cursor?.at ?? [DRAWING / 2, DRAWING / 4], isDown: !isDown });
      if (isDown) this.stroke = undefined;
      else this.newStroke(this.cursor.at);
      this.say(isDown ? `Pen up. ${this.spoken ?? ""}` : "Pen down.");
    } else if (direction) {
      const step = event.shiftKey ? KEY_STEP / 3 : KEY_STEP;
      const from = this.cursor?.at ?? [DRAWING / 2, DRAWING / 4];
      const at = from.map((value, axis) => Math.min(DRAWING - 10, Math.max(10, value + step * direction[axis])));
      this.moveCursor({ at, isDown: Boolean(this.cursor?.isDown) });
      if (this.cursor.isDown && this.stroke) {
        this.stroke.points.push(at);
        this.changed();
      }
    } else return;
    event.preventDefault();
  }

  moveCursor(cursor) {
    if (!cursor && this.cursor?.isDown) this.stroke = undefined;
    this.cursor = cursor;
    this.draw();
  }

  // ---- what is on the board, and what was

  change(state) {
    this.past.push(this.state);
    this.state = state;
    this.changed();
  }

  undo() {
    if (!this.past.length) return;
    this.stroke = undefined;
    if (this.cursor) this.cursor.isDown = false;
    this.state = this.past.pop();
    this.answer();
  }

  clear() {
    if (!this.state.strokes.length && !this.state.photo) return;
    this.stroke = undefined;
    if (this.cursor) this.cursor.isDown = false;
    this.change({ strokes: [], photo: null });
    this.answer();
  }

  /** Draw at once, and answer when the pen rests for a moment. */
  changed() {
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.answer(), 80);
  }

  // ---- pictures

  openFrom(transfer, event) {
    const file = [...transfer.files].find((one) => one.type.startsWith("image/"));
    if (!file && !transfer.files.length) return; // text, say, for a field that has the focus
    event.preventDefault();
    this.open(file ?? transfer.files[0]);
  }

  async paste() {
    try {
      for (const item of await navigator.clipboard.read()) {
        const kind = item.types.find((type) => type.startsWith("image/"));
        if (kind) return await this.open(await item.getType(kind));
      }
      this.problem("There is no picture to paste. Copy one first.");
    } catch {
      this.problem("The browser does not let this page paste. Press Ctrl+V, or choose a file.");
    }
    return undefined;
  }

  async open(file) {
    if (!file) return;
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" });
    } catch {
      this.problem("This file is not a picture that the browser can read.");
      return;
    }
    if (bitmap.width * bitmap.height > MAX_PIXELS) {
      this.problem(`The picture has too many pixels (${bitmap.width}×${bitmap.height}); at most 4096×4096 are read.`);
      return;
    }
    const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0);
    bitmap.close();
    this.change({ strokes: [], photo: canvas });
    this.answer();
  }

  /** Return the picture that the network is asked about, as `prepare` takes it; null for an empty board. */
  picture() {
    const { strokes, photo } = this.state;
    if (!strokes.length && !photo) return null;
    if (!photo) {
      const pen = this.sheet.getContext("2d", { willReadFrequently: true });
      pen.fillStyle = "#fff";
      pen.fillRect(0, 0, DRAWING, DRAWING);
      drawStrokes(pen, strokes, "#000");
    }
    const canvas = photo ?? this.sheet;
    return canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);
  }

  // ---- the answer

  answer() {
    clearTimeout(this.timer);
    this.result = null;
    try {
      const picture = this.picture();
      if (!picture) {
        this.show();
        return;
      }
      const start = performance.now();
      const prepared = prepare(picture, this.state.photo ? "auto" : "dark");
      const middle = performance.now();
      const shares = probabilities(this.network.logits(prepared.pixels));
      this.result = { ...prepared, shares, finding: middle - start, running: this.timeOf(prepared.pixels) };
      this.show();
    } catch (error) {
      if (!(error instanceof PictureError)) throw error;
      this.show(error.message);
    }
  }

  /** Return how many milliseconds the network takes: the best of three times, each of many runs, because a browser's clock is coarse. */
  timeOf(pixels) {
    const times = Array.from({ length: 3 }, () => {
      const start = performance.now();
      for (let runs = 1; ; runs++) {
        this.network.logits(pixels);
        const time = performance.now() - start;
        if (time >= 1) return time / runs;
      }
    });
    return Math.min(...times);
  }

  problem(text) {
    this.result = null;
    this.show(text);
  }

  /** Bring everything on the page up to date. `problem` says why there is no answer. */
  show(problem = "") {
    const { result, element } = this;
    const names = this.network.about.classes;
    const top = result ? best(result.shares) : -1;
    element("digit").textContent = result ? names[top] : "–";
    element("sure").textContent = result ? `${percent(result.shares[top])} sure` : problem ? "No answer" : "Nothing drawn yet";
    element("note").textContent = problem || (result ? result.warnings.join(" ") : "");
    element("time").textContent = result ? `Finding the digit took ${milliseconds(result.finding)}, the network ${milliseconds(result.running)}.` : "";
    this.bars.forEach(({ row, fill, value }, i) => {
      row.classList.toggle("top", i === top);
      fill.style.width = result ? `${100 * result.shares[i]}%` : "0";
      value.textContent = result ? percent(result.shares[i]) : "";
    });
    const pen = element("seen").getContext("2d");
    const image = pen.createImageData(SIZE, SIZE);
    for (let i = 0; i < SIZE * SIZE; i++) image.data.fill(result ? result.pixels[i] : 0, 4 * i, 4 * i + 3).fill(255, 4 * i + 3, 4 * i + 4);
    pen.putImageData(image, 0, 0);
    element("undo").disabled = !this.past.length;
    element("clear").disabled = !this.state.strokes.length && !this.state.photo;
    this.spoken = problem || (result ? `${names[top]}, ${percent(result.shares[top])} sure. ${result.warnings.join(" ")}` : "The board is empty.");
    this.say(this.spoken);
    this.draw();
  }

  say(text) {
    if (this.element("spoken").textContent !== text) this.element("spoken").textContent = text;
  }

  /** Draw the board as it is to be seen: in the page's colours, at the screen's resolution. */
  draw() {
    const side = Math.max(1, Math.round(this.board.clientWidth * (window.devicePixelRatio || 1)));
    if (this.board.width !== side) this.board.width = this.board.height = side;
    const pen = this.board.getContext("2d");
    const colour = (name) => getComputedStyle(this.board).getPropertyValue(name);
    const { strokes, photo } = this.state;
    pen.setTransform(side / DRAWING, 0, 0, side / DRAWING, 0, 0);
    pen.clearRect(0, 0, DRAWING, DRAWING);
    if (photo) {
      const scale = DRAWING / Math.max(photo.width, photo.height);
      const [left, top] = [(DRAWING - photo.width * scale) / 2, (DRAWING - photo.height * scale) / 2];
      pen.imageSmoothingEnabled = scale < 2;
      pen.drawImage(photo, left, top, photo.width * scale, photo.height * scale);
      if (this.result) {
        const [x0, y0, x1, y1] = this.result.box.map((value) => value * scale);
        pen.strokeStyle = colour("--accent");
        pen.lineWidth = 2;
        pen.strokeRect(left + x0 - 2, top + y0 - 2, x1 - x0 + 4, y1 - y0 + 4);
      }
    }
    drawStrokes(pen, strokes, colour("--ink"));
    if (this.cursor) {
      pen.strokeStyle = colour("--accent");
      pen.lineWidth = this.cursor.isDown ? 5 : 2;
      pen.beginPath();
      pen.arc(...this.cursor.at, this.penWidth / 2 + 3, 0, 2 * Math.PI);
      pen.stroke();
    }
    this.element("hint").hidden = Boolean(photo || strokes.length || this.cursor);
  }
}

function drawStrokes(pen, strokes, colour) {
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineCap = pen.lineJoin = "round";
  for (const { width, points } of strokes) {
    pen.lineWidth = width;
    pen.beginPath();
    pen.moveTo(...points[0]);
    for (const point of points.length > 1 ? points.slice(1) : points) pen.lineTo(...point); // a line of no length is a dot
    pen.stroke();
  }
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const milliseconds = (time) => `${time.toFixed(time < 1 ? 2 : 1)} ms`;

/** The page, once it is ready; for tests and the curious. */
export let page = null;

/** Place a drawing that nobody sees, so that the browser has compiled the code when the first stroke ends. */
function warmUp() {
  const { sheet } = page;
  const pen = sheet.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, DRAWING, DRAWING);
  drawStrokes(pen, [{ width: 14, points: [[60, 40], [140, 40], [90, 160]] }], "#000");
  prepare(pen.getImageData(0, 0, DRAWING, DRAWING), "dark");
}

async function start() {
  const state = document.getElementById("state");
  const tell = (kind, text) => {
    document.documentElement.dataset.state = kind;
    state.textContent = text;
  };
  tell("loading", "Loading the network…");
  try {
    const network = await Network.fetch(new URL("./", import.meta.url));
    page = new Page(document, network);
    const { name, precision, sha256: hashes, golden } = network.about;
    document.title = `Draw a digit: ${name}`;
    document.getElementById("model").textContent = `${name}, ${precision}, SHA-256 ${hashes["model.wasm"].slice(0, 12)}…`;
    tell("ready", `Self-test passed: on ${golden.inputs} golden inputs this browser answered as PyTorch did.`);
    performance.mark("ready");
    setTimeout(warmUp, 50);
  } catch (error) {
    const why = error instanceof Refusal ? error.message : `The page has an error: ${error.message}`;
    tell("refused", `This page does not answer. ${why}`);
    if (!(error instanceof Refusal)) throw error;
  }
}

if (typeof document !== "undefined" && document.getElementById("board")) start();
