// Play: one step after the other, up to the last; slowly for readers who prefer little motion.
const PACE = 500, CALM = 1500, REWRITE = 250;  // milliseconds: of a step, and after the last change before the address changes
let playing = 0, rewriting = 0;
function pause() {
  clearInterval(playing);
  playing = 0;
  $("play").textContent = "\u25B6\uFE0E"; $("play").setAttribute("aria-label", "play the steps");
}
function play() {
  if (playing) { pause(); return; }
  if (here.t === facts.T - 1) show({ t: 0 }, false);
  playing = setInterval(() => {
    show({ t: here.t + 1 }, here.t + 1 === facts.T - 1);  // only the last step is said aloud
    if (here.t === facts.T - 1) pause();
  }, matchMedia("(prefers-reduced-motion: reduce)").matches ? CALM : PACE);
  $("play").textContent = "\u275A\u275A"; $("play").setAttribute("aria-label", "pause");
}

// A link to a view: #level=unit&layer=1&unit=3&t=12. What does not fit the page is ignored.
function readLink() {
  const given = new URLSearchParams(location.hash.slice(1)), change = {};
  const found = (name, values) => (given.has(name) ? values.map(String).indexOf(given.get(name)) : -1);
  const set = (key, k, v = k) => { if (k >= 0) change[key] = v; };
  set("n", found("sequence", facts.sequences));
  set("level", found("level", LEVELS), given.get("level"));
  set("layer", found("layer", facts.layers.map((layer) => layer.link)));
  const layer = facts.layers[change.layer ?? here.layer];
  set("u", found("unit", [...layer.units]));
  set("neuron", found("gate", layer.neurons.map((a) => a.slug)));
  set("t", found("t", [...Array(facts.T).keys()]));
  if (!$("gradient-label").hidden && given.has("gradients")) change.gradient = given.get("gradients") === "1";
  return change;
}
function link() {
  const layer = L(), gate = here.level === "neuron" ? { gate: layer.neurons[here.neuron].slug } : {};
  return new URLSearchParams({ level: here.level, layer: layer.link, unit: layer.units[here.u], t: here.t, ...gate, ...(facts.sequences.length > 1 ? { sequence: facts.sequences[here.n] } : {}), ...(here.gradient ? { gradients: 1 } : {}) });
}
function writeLink() {
  clearTimeout(rewriting);
  rewriting = setTimeout(() => {
    try { history.replaceState(null, "", `#${link()}`); } catch { /* a page within a page has no address of its own */ }
  }, REWRITE);
}
function beginPlay() {
  pause();
  $("play").addEventListener("click", play);
  window.addEventListener("hashchange", () => show(readLink()));
}
