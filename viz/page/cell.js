// The cell: values and gradients of its graph for one unit, from the table of viz.page.equations.
const OPS = { add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b, neg: (a) => -a, positive: (a) => Number(a > 0),
  tanh: Math.tanh, sigmoid: (a) => 0.5 * Math.tanh(0.5 * a) + 0.5, exp: Math.exp, sqrt: Math.sqrt, relu: (a) => (a <= 0 ? 0 : a),
  log: Math.log, sin: Math.sin, cos: Math.cos, greater: (a, b) => Number(a > b), at_least: (a, b) => Number(a >= b), where: (c, a, b) => (c === 0 ? b : a) };
const evaluate = (e, values) => (Array.isArray(e) ? OPS[e[0]](...e.slice(1).map((a) => evaluate(a, values))) : typeof e === "string" ? values[e] : e);
function forward(layer, u, t) {
  const values = {};
  for (const [id, source] of layer.equations.forward) {
    if ("key" in source) values[id] = value(layer, byKey(layer, source.key), t, u);
    else if ("before" in source) values[id] = value(layer, byKey(layer, source.before), before(layer, t), u);
    else if ("own" in source) values[id] = source.own[u];
    else if ("inner" in source) values[id] = layer.inner[source.inner][t * layer.units.length + u];
    else values[id] = evaluate(source.is, values);
  }
  return values;
}
function backward(layer, values, u, t) {
  const { backward: ways, starts } = layer.equations, d = {};
  for (const id in starts) d[id] = value(layer, byKey(layer, starts[id]), t, u);
  for (const [id, parts] of ways) if (id in d) for (const [source, e] of parts) if (!(source in starts)) d[source] = (d[source] ?? 0) + d[id] * evaluate(e, values);
  return d;
}
function updateCell() {
  const layer = L(), { u, t } = here, section = document.querySelector(`[data-level="cell"][data-layer="${here.layer}"]`);
  const values = forward(layer, u, t), back = section.querySelector(".back"), turned = here.gradient && back;
  const numbers = turned ? backward(layer, values, u, t) : values, p = turned ? `b${here.layer}` : `c${here.layer}`;
  for (const figure of section.querySelectorAll("figure")) figure.classList.toggle("on", (figure === back) === Boolean(turned));
  for (const s of layer.states) {
    numbers[`state:${s}`] = numbers[layer.equations.makers[s]];
    if (!turned) numbers[`previous:${s}`] = value(layer, byKey(layer, s), before(layer, t), u);
  }
  for (const id in numbers) {
    const name = slug(id), node = $(`${p}-${name}`), title = node && node.querySelector("title");
    write($(`${p}-value:${name}`), (turned ? plain : signed)(numbers[id]), 1);
    if (title) title.textContent = title.textContent.replace(/(value|gradient) \S+$/, `$1 ${exact(numbers[id])}`);
  }
  write($(`${p}-numbers`), `values at t = ${t}: unit ${layer.units[u]}`);
}

