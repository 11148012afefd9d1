"use strict";
const $ = (id) => document.getElementById(id);
const facts = JSON.parse($("facts").textContent);
const TYPES = { f4: Float32Array, f8: Float64Array, u2: Uint16Array, i4: Int32Array };

// Arrays are stored in planes of bytes, deflated, in base 85 (viz.page.packed).
const SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
async function unpacked(text) {
  const digit = new Map([...SIGNS].map((sign, k) => [sign, k])), full = text.padEnd(5 * Math.ceil(text.length / 5), "~");
  const packed = new Uint8Array((full.length / 5) * 4), view = new DataView(packed.buffer);
  for (let k = 0; k < full.length; k += 5) {
    let word = 0;
    for (let i = k; i < k + 5; i++) word = word * 85 + digit.get(full[i]);
    view.setUint32((k / 5) * 4, word);
  }
  const bytes = packed.subarray(0, packed.length - (full.length - text.length));
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer());
}
function array(bytes, [offset, length, type]) {
  const width = TYPES[type].BYTES_PER_ELEMENT, out = new Uint8Array(length * width);
  for (let b = 0; b < width; b++) for (let k = 0; k < length; k++) out[k * width + b] = bytes[offset + b * length + k];
  return new TYPES[type](out.buffer);
}
function unpackLayers(bytes) {
  const read = (place) => place && array(bytes, place), every = (o) => { for (const name in o) o[name] = read(o[name]); };
  for (const layer of facts.layers) {
    layer.units = read(layer.units);
    for (const run of layer.runs) {
      for (const name of ["x", "h", "norms", "earlier"]) run[name] = read(run[name]);
      every(run.initial); every(run.inner); every(run.given); every(run.quantities);
    }
    every(layer.slots); every(layer.rest); every(layer.picture.own);
    for (const a of layer.neurons) { a.bias = read(a.bias); every(a.weights); }
    for (const [, source] of layer.equations.forward) if (source.own) source.own = read(source.own);
  }
  if (facts.says) for (const run of facts.says.runs) for (const name of ["places", "values", "targets"]) run[name] = read(run[name]);
  if (facts.attention) for (const run of facts.attention.runs) run.weights = read(run.weights);
}
// The numbers of sequence n of the page take the places from which all levels read.
function take(n) {
  here.n = n;
  for (const layer of facts.layers) {
    const { quantities, ...others } = layer.runs[n];
    Object.assign(layer, others);
    layer.quantities.forEach((q, k) => { q.a = quantities[k]; });
    for (const a of layer.neurons) a.longest = undefined;
  }
  for (const part of [facts.says, facts.attention]) if (part) Object.assign(part, part.runs[n]);
}
const label = (t) => (facts.labels && here.n === facts.n ? facts.labels[t] : undefined);  // only the sequence that is shown first has labels
// Numbers as viz.draw.notation writes them.
function exact(v) {
  if (Number.isNaN(v)) return "nan";
  if (!Number.isFinite(v)) return v < 0 ? "-inf" : "inf";
  if (v === 0) return Object.is(v, -0) ? "-0" : "0";
  return general(v, 7);
}
function general(v, digits) {
  const [mantissa, exponent] = v.toExponential(digits - 1).split("e");
  const e = Number(exponent);
  if (e >= -4 && e < digits) return trim(v.toFixed(Math.max(0, digits - 1 - e)));
  return `${trim(mantissa)}e${e < 0 ? "-" : "+"}${String(Math.abs(e)).padStart(2, "0")}`;
}
const trim = (s) => (s.includes(".") ? s.replace(/0+$/, "").replace(/\.$/, "") : s);
function signed(v) {
  if (!Number.isFinite(v)) return (v > 0 ? "+" : "") + exact(v).replace("-", "−");
  const m = Math.abs(v), plus = v < 0 ? "−" : "+";
  if (m < 0.0005) return "0";
  if (m < 100) return plus + m.toFixed(m < 0.1 ? 3 : 2);
  const [mantissa, e] = m.toExponential(0).split("e+");
  return `${plus}${mantissa}e+${e.padStart(2, "0")}`;
}
const plain = (v) => (Number.isFinite(v) && v !== 0 ? general(v, 3) : exact(v)).replace("-", "−");
const power = (v) => (v === 1 ? "1" : `1e${Math.round(Math.log10(v))}`.replace("-", "−"));
const slug = (name) => name.replace(/[^A-Za-z0-9_.:-]+/g, "-");
const sub = (name, index) => name + String(index).replace(/[0-9t+-]/g, (c) => "₀₁₂₃₄₅₆₇₈₉ₜ₊₋"["0123456789t+-".indexOf(c)]);
const called = (layer, g, k) => layer.names[g === "x" ? "inputs" : "units"][k] ?? sub(g === "x" ? "x" : layer.states[0], k);  // its name, or x and h with a number
const unitName = (layer, j) => layer.names.units[j] ?? `unit ${j}`;
const bin = (v, limit) => {
  if (!Number.isFinite(v)) return facts.bins;
  return Math.floor(Math.min(Math.max(0.5 + (0.5 * v) / limit, 0), 1) * (facts.bins - 1) + 0.5);
};
const sizeBin = (v, [low, high] = facts.scale) =>  // one scale of gradients for all levels
  !Number.isFinite(v) ? facts.bins : v > 0 ? Math.floor(Math.min(Math.max(Math.log(v / low) / Math.log(high / low), 0), 1) * (facts.bins - 1) + 0.5) : 0;

const start = (layer, s, j) => (layer.initial[s] ? layer.initial[s][j] : 0);  // initial state of unit j
const value = (layer, q, t, u) => (t < 0 ? start(layer, q.key, layer.units[u]) : q.a[t * layer.units.length + u]);
const byKey = (layer, key) => layer.quantities.find((q) => q.key === key);
const gradientOf = (layer, key) => byKey(layer, `∂L/∂${key}`);
const before = (layer, t) => layer.earlier[t] - 1;  // the step that step t takes its states from, -1 for the initial states
const output = (layer, j, t) => (t < 0 ? start(layer, layer.states[0], j) : layer.h[t * layer.H + j]);  // of any unit
const input = (layer, g, k, t) => (g === "x" ? layer.x[t * layer.D + k] : output(layer, k, before(layer, t)));
const slot = (layer, g, u, s) => layer.slots[g][u * (layer.slots[g].length / layer.units.length) + s];

// Parts of a figure, found by the names that the views give them.
const shape = (group) => group && group.querySelector("path, polygon, ellipse");
function write(group, text, line = 0) { const e = group && group.querySelectorAll("text")[line]; if (e) e.textContent = text; }
function tip(group, text) { const e = group && group.querySelector("title"); if (e) e.textContent = text; }
function paint(group, fill, ink) {
  if (!group) return;
  for (const e of group.querySelectorAll("path, polygon, ellipse")) if (e.getAttribute("fill") !== "none") e.style.fill = fill;
  for (const e of group.querySelectorAll("text")) e.style.fill = ink;
}
const mix = (from, to, share) => {
  const part = (colour, p) => parseInt(colour.slice(1 + 2 * p, 3 + 2 * p), 16);
  return `rgb(${[0, 1, 2].map((p) => Math.round(part(from, p) + (part(to, p) - part(from, p)) * share)).join(",")})`;
};
const paintSigned = (group, v, limit) => { const k = bin(v, limit); paint(group, facts.colours.signed[k], facts.colours.signedInk[k]); };
const paintSize = (group, v) => { const k = sizeBin(v); paint(group, facts.colours.size[k], facts.colours.sizeInk[k]); };

