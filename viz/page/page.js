const LEVELS = ["network", "unrolled", "cell", "units", "unit", "neuron", "attention"].filter((l) => document.querySelector(`[data-level="${l}"]`));
const here = { n: facts.n, level: LEVELS[0], layer: 0, u: 0, t: facts.t, neuron: 0, gradient: false };
let began = false;
const L = () => facts.layers[here.layer];

function updateUnrolled() {
  const { first: base, width, rows } = facts.unrolled;
  const start = Math.min(Math.max(here.t - (width >> 1), 0), facts.T - width);
  const padded = facts.padded[here.n];
  for (let c = 0; c < width; c++) {
    const t = start + c, at = (name) => $(`r-${name}-${base + c}`);
    write($(`r-step:${base + c}`), facts.steps?.[t] ?? `t = ${t}`);
    for (const row of rows) {
      const group = at(row.id);
      if (group && !row.steps) group.classList.toggle("padded", start + width < facts.T);  // it comes after the last step
      if (!group || !row.steps) continue;
      group.classList.toggle("now-column", t === here.t); group.classList.toggle("padded", padded.includes(t));
      group.dataset.t = t;
      if (row.kind === "input" || row.kind === "output") {
        const text = (row.kind === facts.labelled && label(t)) || "";
        write(group, text || sub(row.label, t));
        tip(group, `${row.kind} at t = ${t}${text && `: ${text}`}`);
      } else tip(group, `${row.name}, t = ${t}`);
      const layer = facts.layers.find((l) => l.row === row.id), bar = at(`gradient:${row.id}`);
      if (bar && layer && layer.norms) {
        bar.classList.toggle("quiet", !here.gradient);
        paintSize(bar, layer.norms[t]);
        tip(bar, `|dL/dh| at t = ${t}: ${exact(layer.norms[t])}`);
      }
    }
  }
  for (const layer of facts.layers) for (const s of layer.states) {
    const ends = [start, start + width - 1], [begin, end] = layer.step > 0 ? ends : ends.reverse();
    write($(`r-initial:${layer.row}:${s}`), begin === (layer.step > 0 ? 0 : facts.T - 1) ? layer.starts[s] : sub(s, begin - layer.step));
    write($(`r-final:${layer.row}:${s}`), sub(s, end));
  }
  updateSays(start);
  $("window").textContent = width < facts.T ? `Steps ${start} to ${start + width - 1} of 0 to ${facts.T - 1}; the window follows the slider.` : "";
}

function updateUnit() {
  const layer = L(), { u, t } = here, p = `u${here.layer}`, j = layer.units[u], at = (name) => $(`${p}-${name}`);
  write(at("cluster_unit"), `${layer.kind} unit ${j}${layer.names.units[j] ? `: ${layer.names.units[j]}` : ""}   ` + (layer.H > 1 ? `(one of ${layer.H}: 0 to ${layer.H - 1})` : "(the only one)") + layer.suffix);
  for (const g of ["x", "h"]) layer.drawn[g].forEach((name, s) => {
    const k = slot(layer, g, u, s), v = input(layer, g, k, t), label = called(layer, g, k), node = at(name);
    const own = g === "h" && k === j;
    write(node, label); tip(node, `${label}${g === "h" ? ` at ${layer.at}` : ""}${own ? ", this unit itself" : ""} = ${exact(v)}`);
    paintSigned(node, v, layer.limits[g === "x" ? "x" : layer.states[0]]);
    shape(node).style.stroke = own ? "var(--accent)" : ""; shape(node).style.strokeWidth = own ? 2.2 : 0.8;
    write(at(`value:${name}`), signed(v));
    for (const a of layer.neurons) if (a.weights[g]) {
      const w = a.weights[g][u * layer.drawn[g].length + s], edge = at(`${name}--${a.slug}`), line = edge && edge.querySelector("path");
      if (!line) continue;
      tip(edge, `weight of ${label} into ${a.name} = ${exact(w)}`);
      line.style.stroke = facts.colours.line[bin(w, layer.limit)];
      if (facts.marks) line.style.strokeDasharray = w < 0 ? "5,2" : "none";
      line.style.strokeWidth = 0.25 + layer.thick * (Number.isFinite(w) ? Math.min(Math.abs(w) / layer.limit, 1) : 1);
    }
  });
  for (const g of ["x", "h"]) write(at(`in:${g}more`), `${layer.size[g] - layer.drawn[g].length} more, ‖w‖ = ${plain(layer.rest[g][u])}`);
  for (const [name, key] of layer.shown) {
    const q = byKey(layer, key), v = value(layer, q, t, u);
    write(at(name), plain(v), 1); tip(at(name), `${q.label}, value ${exact(v)}`);
  }
  layer.states.forEach((s, k) => {
    const q = byKey(layer, s), v = value(layer, q, t, u), node = at(`state:${s}`), g = here.gradient && gradientOf(layer, s);
    if (g) paintSize(node, Math.abs(value(layer, g, t, u))); else paintSigned(node, v, layer.limits[s]);
    tip(node, `${k ? "private memory" : "output"} ${s} = ${exact(v)}` + (g ? `, ∂L/∂${s} = ${exact(value(layer, g, t, u))}` : ""));
    write(at(`value:state:${s}`), signed(v));
    const own = at(`value:before:${s}`), delay = own?.textContent.includes(layer.delay) ? `, ${layer.delay}` : "";
    write(own, `its own ${sub(s, layer.before)} = ${signed(value(layer, q, before(layer, t), u))}${delay}`);
  });
  for (const { id, name, given } of layer.parameters) {
    const v = given ? layer.given[name][t] : layer.picture.own[name][u];
    write(at(id), `${name} ${signed(v)}`);
    tip(at(id), given ? `${name}, a column of x, the same for all units, value ${exact(v)}` : `own parameter ${name} = ${exact(v)}`);
  }
  for (const [key, limit] of [["w", layer.limit], ...Object.entries(layer.limits)]) {
    const round = exact(limit);
    write(at(`key:${key}:low`), `−${round}`); write(at(`key:${key}:high`), `+${round}`);
  }
  write(at("key:x:title"), `fill: x at t = ${t}`);
  const last = before(layer, t), left = last < 0 ? `${t - layer.step} (left: ${layer.begins})`.replace("-", "−") : `${last} (left)`;
  for (const s of layer.states) write(at(`key:${s}:title`), `fill: ${s} at t = ${left} and ${t} (right)`);
}

const SVG = "http://www.w3.org/2000/svg";
function updateInfo(say) {
  const layer = L(), info = $("info");
  const j = layer.units[here.u], own = layer.names.units[j];
  $("who").textContent = `${layer.kind} unit ${j}${own ? ` (${own})` : ""}, layer ${layer.k}${layer.suffix}, t = ${here.t}`;
  info.replaceChildren();
  for (const q of layer.quantities) {
    if (q.kind === "gradient" && !here.gradient) continue;
    const group = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd"), small = document.createElement("span");
    small.textContent = q.kind === "gradient" ? "" : ` ${q.label}`; dt.append(q.key, small); dd.dataset.q = q.key; dd.textContent = exact(value(layer, q, here.t, here.u));
    const svg = document.createElementNS(SVG, "svg"), line = document.createElementNS(SVG, "polyline"), now = document.createElementNS(SVG, "line");
    const all = Array.from({ length: facts.T }, (_, t) => value(layer, q, t, here.u)), fine = all.filter(Number.isFinite);
    const low = Math.min(...fine), high = Math.max(...fine), span = high - low || 1, n = Math.max(facts.T - 1, 1);
    svg.setAttribute("viewBox", "0 0 100 24"); svg.setAttribute("preserveAspectRatio", "none"); svg.setAttribute("aria-hidden", "true");
    line.setAttribute("points", all.map((v, t) => `${((100 * t) / n).toFixed(2)},${(22 - (20 * (v - low)) / span || 12).toFixed(2)}`).join(" "));
    for (const end of ["x1", "x2"]) now.setAttribute(end, (100 * here.t) / n);
    now.setAttribute("y1", 0); now.setAttribute("y2", 24);
    svg.append(line, now);
    const drawn = document.createElement("dd");
    drawn.className = "line"; drawn.append(svg); group.append(dt, dd, drawn); info.append(group);
  }
  if (say) $("said").textContent = `${$("who").textContent}: ` + layer.quantities.filter((q) => q.kind !== "gradient").map((q) => `${q.key} ${signed(value(layer, q, here.t, here.u))}`).join(", ");
}

function updateStrip() {
  const layer = L(), q = byKey(layer, here.gradient && gradientOf(layer, layer.states[0]) ? `∂L/∂${layer.states[0]}` : layer.states[0]);
  document.querySelectorAll(".strip button").forEach((b, t) => {
    const v = value(layer, q, t, here.u);
    b.className = q.kind === "gradient" ? `m${sizeBin(Math.abs(v))}` : `s${bin(v, layer.limits[layer.states[0]])}`;
    if (t === here.t) b.setAttribute("aria-current", "step"); else b.removeAttribute("aria-current");
  });
  const strip = document.querySelector(".strip"), now = strip && strip.children[here.t];
  if (now) {  // it follows the step; the page itself does not scroll
    strip.scrollLeft = now.offsetLeft - strip.offsetLeft - (strip.clientWidth - now.offsetWidth) / 2;
    strip.scrollTop = now.offsetTop - strip.offsetTop - (strip.clientHeight - now.offsetHeight) / 2;
  }
}

// The one key of gradients, beside their switch.
function beginGradients() {
  const [low, ramp, high, odd] = $("gradient-key").children, [least, most] = facts.scale, { size } = facts.colours;
  low.textContent = `≤ ${power(least)}`; high.textContent = power(most);
  ramp.style.background = `linear-gradient(to right, ${size.slice(0, facts.bins).join(",")})`;
  odd.hidden = facts.layers.every((layer) => layer.quantities.every((q) => q.kind !== "gradient" || q.a.every(Number.isFinite)));
  odd.firstElementChild.style.background = size[facts.bins];
  for (const e of document.querySelectorAll('[id^="r-key:g"], [id="r-key:not-finite"]')) if (/^r-key:(g\d|gradient:|not)/.test(e.id)) e.classList.add("quiet");
}

function nameSteps() {
  document.querySelectorAll(".strip button").forEach((b, t) => {
    b.firstElementChild.textContent = label(t) ?? t;
    b.setAttribute("aria-label", `step ${t}` + (label(t) === undefined ? "" : `, ${facts.labelled} ${label(t)}`));
  });
}

function show(change = {}, say = true) {
  Object.assign(here, change);
  if ("n" in change) { take(here.n); nameSteps(); }
  here.t = Math.min(Math.max(here.t, 0), facts.T - 1);
  here.u = Math.min(here.u, L().units.length - 1);
  here.neuron = Math.min(here.neuron, L().neurons.length - 1);
  for (const s of document.querySelectorAll("section")) {
    s.classList.toggle("shown", s.dataset.level === here.level && (s.dataset.layer ?? String(here.layer)) === String(here.layer));
  }
  document.documentElement.dataset.at = here.level;
  for (const b of $("levels").children) { if (b.dataset.level === here.level) b.setAttribute("aria-current", "page"); else b.removeAttribute("aria-current"); }
  $("time").value = here.t; $("gradient").checked = here.gradient; $("gradient-key").hidden = !here.gradient;
  $("step").textContent = `${here.t} of 0 to ${facts.T - 1}` + (label(here.t) !== undefined ? ` · ${facts.labelled} ${label(here.t)}` : "") + (facts.steps ? ` · ${facts.steps[here.t]}` : "") + (facts.padded[here.n].includes(here.t) ? " · padding" : "");
  $("sequence").value = here.n; $("layer").value = here.layer; $("unit").value = L().units[here.u]; $("unit").max = L().H - 1;
  if ($("neuron").dataset.layer !== String(here.layer)) {
    $("neuron").replaceChildren(...L().neurons.map((a, n) => new Option(a.name, n)));
    $("neuron").dataset.layer = here.layer;
  }
  $("neuron").value = here.neuron;
  for (const e of document.querySelectorAll(".now")) e.textContent = here.t;
  updateUnrolled(); updateCell(); updateUnits(); updateUnit(); updateNeuron(); updateAttention(); updateStrip(); updateInfo(say); resize();
  if (began) writeLink();
  if (here.level === "unrolled" && ("t" in change || "level" in change)) centre(document.querySelector("section.shown .now-column"));
}
function go(level, change = {}) { show({ ...change, level }); }
function opens(group, label, action) {
  if (!group) return;
  group.classList.add("go"); group.setAttribute("tabindex", "0"); group.setAttribute("role", "button");
  group.setAttribute(group.querySelector("text") ? "aria-description" : "aria-label", label);  // its text and values are its name
  group.addEventListener("click", action);
  group.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); action(); } });
}

function begin() {
  document.documentElement.classList.add("js");
  for (const svg of document.querySelectorAll(".sheet > svg")) svg.setAttribute("role", "group");  // its parts can be opened
  const NAMES = { network: "Network", unrolled: "Unrolled", cell: "Cell", units: "Layer", unit: "Unit", neuron: "Neuron", attention: "Attention" };
  for (const level of LEVELS) {
    const b = document.createElement("button");
    b.type = "button"; b.textContent = NAMES[level]; b.dataset.level = level; b.addEventListener("click", () => go(level));
    $("levels").append(b);
  }
  opensOutputs();
  if (facts.attention) {
    const { place, row } = facts.attention, says = "attention: the states that an output attends to";
    opens($(`n-layer${place}`), says, () => go("attention"));
    for (let c = 0; c < facts.unrolled.width; c++) {
      const group = $(`r-${row}-${facts.unrolled.first + c}`);
      opens(group, says, () => go("attention", { t: Number(group.dataset.t) }));
    }
  }
  const after = (level) => LEVELS[LEVELS.indexOf(level) + 1];
  facts.layers.forEach((layer, n) => {
    if (layer.step > 0) opens($(`n-layer${layer.place}`), `layer ${layer.k}, ${layer.kind} of ${layer.H} units: unrolled in time`, () => go("unrolled", { layer: n }));
    for (let c = 0; c < facts.unrolled.width; c++) {
      const group = $(`r-${layer.row}-${facts.unrolled.first + c}`);
      opens(group, `open layer ${layer.name} at this step`, () => go(after("unrolled"), { layer: n, t: Number(group.dataset.t) }));
    }
    layer.neurons.forEach((a, k) => opens($(`u${n}-${a.slug}`), `open the ${a.name}`, () => go("neuron", { neuron: k })));
    openUnits(layer, n);
    for (const p of [`c${n}`, `b${n}`]) {
      opens($(`${p}-cluster_cell`), `open layer ${layer.k}: its ${layer.H} units`, () => go("units", { layer: n }));
      layer.neurons.forEach((a, k) => opens($(`${p}-${a.slug}`), `open the ${a.name}`, () => go("neuron", { neuron: k })));
    }
  });
  $("time").addEventListener("input", (e) => show({ t: Number(e.target.value) }));
  $("layer").addEventListener("change", (e) => show({ layer: Number(e.target.value), neuron: 0 }));
  $("sequence").addEventListener("change", (e) => show({ n: Number(e.target.value) }));
  $("neuron").addEventListener("change", (e) => show({ neuron: Number(e.target.value) }));
  $("unit").addEventListener("change", (e) => {
    const u = L().units.indexOf(Number(e.target.value));
    if (u < 0) { e.target.setCustomValidity(`unit ${e.target.value} is not on this page`); e.target.reportValidity(); return; }
    e.target.setCustomValidity(""); show({ u });
  });
  $("gradient").addEventListener("change", (e) => show({ gradient: e.target.checked }));
  $("theme").value = document.documentElement.dataset.theme ?? "";
  $("theme").addEventListener("change", (e) => { document.documentElement.dataset.theme = e.target.value; });
  for (const b of document.querySelectorAll(".strip button")) b.addEventListener("click", () => show({ t: Number(b.dataset.t) }));
  document.addEventListener("keydown", (e) => {
    if (e.key === "Escape") { go(here.level === "attention" ? "network" : LEVELS[Math.max(0, LEVELS.indexOf(here.level) - 1)]); return; }
    if (["INPUT", "SELECT"].includes(e.target.tagName) && e.target.type !== "checkbox") return;
    if (e.ctrlKey || e.metaKey || e.altKey || zoomKey(e)) return;
    if (e.key === "p" || e.key === "P") { play(); return; }
    const t = { ArrowLeft: here.t - 1, ArrowRight: here.t + 1, Home: 0, End: facts.T - 1 }[e.key];
    if (t !== undefined) { e.preventDefault(); show({ t }); }
  });
  beginZoom(); beginGradients(); beginPlay();
  show(readLink(), false);
  began = true;
}
unpacked($("blob").textContent).then((bytes) => { unpackLayers(bytes); take(facts.n); begin(); });
