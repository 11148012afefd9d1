// The layer opened: its drawn units, one of which is the chosen one, and a tile for each unit if some are elided.
function shownUnits(layer) {
  const { units, free, first, last } = layer.picture, chosen = layer.units[here.u];
  if (free !== null && chosen >= first && chosen < layer.H - last) layer.picture.other = chosen;
  return units.map((drawn) => ({ drawn, j: drawn === free ? layer.picture.other ?? free : drawn }));
}
function unitNumbers(layer, u) {
  const all = layer.quantities.filter((q) => q.kind !== "gradient");
  return `unit ${layer.units[u]}: ` + all.map((q) => `${q.key} = ${exact(value(layer, q, here.t, u))}`).join(", ");
}
function writeNumber(node, name, v, limit, g) {
  if (!node) return;
  write(node, name); write(node, signed(v), 1);
  if (g === undefined) paintSigned(node, v, limit); else paintSize(node, Math.abs(g));
}
function updateUnits() {
  const layer = L(), { t } = here, p = `l${here.layer}`, at = (name) => $(`${p}-${name}`), first = layer.states[0], { picture, limits } = layer;
  const gradient = (s, u) => { const g = here.gradient && gradientOf(layer, s); return g ? value(layer, g, t, u) : undefined; };
  const told = (s, u) => { const g = gradient(s, u); return g === undefined ? "" : `, ∂L/∂${s} = ${exact(g)}`; };
  for (const k of picture.x) {
    writeNumber(at(`x${k}`), called(layer, "x", k), layer.x[t * layer.D + k], limits.x);
    tip(at(`x${k}`), `x${k} = ${exact(layer.x[t * layer.D + k])}`);
  }
  for (const { drawn, j } of shownUnits(layer)) {
    const u = layer.units.indexOf(j), name = `unit${drawn}`, own = input(layer, "h", j, t), h = output(layer, j, t);
    write(at(`name:${name}`), unitName(layer, j));
    const box = shape(at(`cluster_${name}`));
    box.style.strokeWidth = u === here.u ? 3.5 : 1.2; box.style.stroke = u === here.u ? "#d55e00" : "light-dark(#7cb890, #3f7a56)";
    for (const node of [at(`before${drawn}`), at(`after${drawn}`)]) if (node) shape(node).style.strokeWidth = u === here.u ? 2.4 : 1;
    at(`cluster_${name}`).setAttribute("aria-label", unitNumbers(layer, u));
    writeNumber(at(`before${drawn}`), called(layer, "h", j), own, limits[first]);
    tip(at(`before${drawn}`), `${first}${j} at ${layer.at} = ${exact(own)}`);
    writeNumber(at(`after${drawn}`), called(layer, "h", j), h, limits[first], gradient(first, u));
    tip(at(`after${drawn}`), `${first}${j} = ${exact(h)}${told(first, u)}`);
    for (const g of picture.gates) {
      const node = at(`${name}:${g.key}:gate`), v = value(layer, byKey(layer, g.key), t, u);
      if (!node) continue;
      shape(node).style.fill = mix("#FFFFFF", g.colour, 0.08 + 0.92 * (Number.isFinite(v) ? Math.min(Math.abs(v), 1) : 1));
      tip(node, `${g.name} of unit ${j}, value ${exact(v)}`);
    }
    for (const s of picture.kept) {
      const node = at(`${name}:${s}`), v = value(layer, byKey(layer, s), t, u), g = gradient(s, u);
      write(node, layer.H <= 100 ? sub(s, j) : sub(s, "t"));
      if (g === undefined) paintSigned(node, v, limits[s]); else paintSize(node, Math.abs(g));
      tip(node, `${s === first ? "output" : "private memory"} ${s} of unit ${j} = ${exact(v)}${told(s, u)}`);
      write(at(`value:${name}:${s}`), signed(v));
    }
    for (const q in picture.own) tip(at(`${name}:${q}`), `own parameter ${q} of unit ${j} = ${exact(picture.own[q][u])}`);
  }
  if (picture.free !== null) for (const row of ["unit", "before", "after"]) {
    const other = picture.other ?? picture.free, ends = [other === picture.first, other === layer.H - picture.last - 1];
    document.querySelectorAll(`[id^="${p}-dots:${row}:"]`).forEach((dots, k) => dots.classList.toggle("quiet", ends[k]));
  }
  const when = `at t = ${t} and one step ${layer.step > 0 ? "before" : "after"}`;
  for (const [key, title] of [["x", `x at t = ${t}`], ...layer.states.map((s) => [s, `${s} ${when}`])]) {
    write(at(`key:${key}:title`), title); write(at(`key:${key}:low`), `−${exact(limits[key])}`); write(at(`key:${key}:high`), `+${exact(limits[key])}`);
  }
  const section = `[data-level="units"][data-layer="${here.layer}"]`;
  document.querySelectorAll(`${section} .tile`).forEach((tile, u) => {
    const g = gradient(first, u);
    tile.className = "tile " + (g === undefined ? `s${bin(output(layer, layer.units[u], t), limits[first])}` : `m${sizeBin(Math.abs(g))}`);
    tile.setAttribute("aria-pressed", u === here.u);
    tile.setAttribute("aria-label", unitNumbers(layer, u));
  });
  document.querySelectorAll(`${section} .numbers tbody tr`).forEach((row, u) => {
    layer.quantities.forEach((q, k) => { row.cells[k + 1].textContent = exact(value(layer, q, t, u)); });
  });
}
function choose(u) {
  if (u === here.u) return;
  here.u = u;
  $("unit").value = L().units[u];
  updateUnits(); updateStrip(); updateInfo(true);
}
function openUnits(layer, n) {
  const { picture } = layer, other = (drawn) => layer.units.indexOf(drawn === picture.free ? picture.other ?? drawn : drawn);
  for (const drawn of picture.units) {
    const box = $(`l${n}-cluster_unit${drawn}`), at = (name) => document.querySelectorAll(`[id="l${n}-${name}"]`);
    const parts = [...document.querySelectorAll(`[id^="l${n}-unit${drawn}:"]:not(.edge)`), ...at(`after${drawn}`), ...at(`name:unit${drawn}`)];
    opens(box, `unit ${drawn}`, () => go("unit", { u: other(drawn) }));
    for (const part of parts) { part.classList.add("go"); part.addEventListener("click", () => go("unit", { u: other(drawn) })); }
    for (const part of [box, ...parts]) part.addEventListener("mouseenter", () => choose(other(drawn)));
    box.addEventListener("focus", () => choose(other(drawn)));
  }
  document.querySelectorAll(`[data-level="units"][data-layer="${n}"] .tile`).forEach((tile, u) => {
    tile.addEventListener("click", () => go("unit", { u }));
    for (const event of ["mouseenter", "focus"]) tile.addEventListener(event, () => choose(u));
  });
}
