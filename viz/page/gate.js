// The gate neuron: its terms as bars, the largest first, and in order as a table (viz.page.gate).
const HALF = 50, INVERSE = { "σ": [(v) => v * (1 - v), (v) => Math.log(v / (1 - v))], tanh: [(v) => 1 - v * v, Math.atanh], "": [() => 1, (v) => v] };
function terms(layer, a, u, t) {
  return ["x", "h"].filter((g) => a.weights[g]).flatMap((g) => layer.drawn[g].map((_, s) => {
    const k = slot(layer, g, u, s), w = a.weights[g][u * layer.drawn[g].length + s], v = input(layer, g, k, t);
    return { g, s, k, w, v, product: w * v };
  }));
}
function longest(layer, a, u) {
  a.longest ??= new Map();
  if (!a.longest.has(u)) {
    let most = Math.abs(a.bias[u]);
    for (let t = 0; t < facts.T; t++) for (const { product } of terms(layer, a, u, t)) if (Number.isFinite(product)) most = Math.max(most, Math.abs(product));
    a.longest.set(u, most || 1);
  }
  return a.longest.get(u);
}
function restByValue(a, v, known) {
  const [slope, inverse] = INVERSE[a.operation] ?? [() => 0];
  return slope(v) > 1e-5 ? inverse(v) - known : NaN;
}
const total = (all) => all.reduce((sum, term) => sum + term.product, 0);
const look = (chip, k) => { chip.className = `s${k}`; };
function bar(svg, v, most) {
  const long = HALF * (Number.isFinite(v) ? Math.min(Math.abs(v) / most, 1) : 1), rect = svg.firstElementChild;
  svg.setAttribute("class", v > 0 ? "plus" : "minus");
  rect.setAttribute("x", `${v > 0 ? HALF : HALF - long}%`); rect.setAttribute("width", `${long}%`);
}
function writeRow(row, v, most, unknown = false) {
  row.cells[row.cells.length - 2].textContent = unknown ? "?" : signed(v);
  bar(row.querySelector("svg"), v, most);
  row.querySelector("svg").classList.toggle("quiet", unknown);
}
function updateBars(table, layer, a, u, t, found, v) {
  const most = longest(layer, a, u), ranked = [...found].sort((p, q) => Math.abs(q.product) - Math.abs(p.product)), row = (name) => table.querySelector(`.${name}`);
  table.querySelectorAll(".term").forEach((tr, r) => {
    const { g, k, w, v, product } = ranked[r], group = g === "x" ? "x" : layer.states[0], [name, weight] = tr.querySelectorAll("b");
    name.textContent = called(layer, g, k); look(name, bin(v, layer.limits[group]));
    weight.textContent = signed(w); look(weight, bin(w, layer.limit));
    tr.cells[1].textContent = signed(v);
    writeRow(tr, product, most);
  });
  let sum = total(ranked) + a.bias[u];
  if (row("smaller")) writeRow(row("smaller"), total(ranked.slice(a.rows)), most);
  writeRow(row("bias"), a.bias[u], most);
  if (row("missing")) {
    const rest = v === undefined ? NaN : restByValue(a, v, sum);
    writeRow(row("missing"), rest, most, Number.isNaN(rest));
    sum += rest;
  }
  writeRow(row("total"), sum, most, row("missing") && Number.isNaN(sum));
  if (row("gate")) row("gate").cells[1].textContent = plain(v);
  row("most").textContent = plain(most);
}
function updateTerms(table, layer, a, u, found, v) {
  const cell = (name) => table.querySelector(`.${name}`);
  found.forEach(({ g, k, w, v, product }, r) => {
    [called(layer, g, k), exact(w), exact(v), exact(product)].forEach((text, c) => { table.tBodies[0].rows[r].cells[c].textContent = text; });
  });
  cell("bias").textContent = exact(a.bias[u]);
  cell("sum").textContent = exact(total(found) + a.bias[u]);
  if (cell("out")) cell("out").textContent = exact(v);
}
function updateNeuron() {
  const layer = L(), { u, t } = here;
  document.querySelectorAll(`[data-level="neuron"][data-layer="${here.layer}"] .dot`).forEach((dot, n) => {
    dot.classList.toggle("shown", n === here.neuron);
    if (n !== here.neuron) return;
    const a = layer.neurons[n], found = terms(layer, a, u, t), v = a.value ? value(layer, byKey(layer, a.value), t, u) : undefined;
    dot.querySelector(".unit").textContent = layer.units[u];
    updateBars(dot.querySelector(".bars"), layer, a, u, t, found, v);
    updateTerms(dot.querySelector(".terms"), layer, a, u, found, v);
  });
}
