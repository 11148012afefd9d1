// What the model says: the likeliest classes or the values, above the unrolled network and on demand.
const per = (v) => (v === null ? "" : facts.says.classes ? (Number.isNaN(v) ? "nan %" : `${(100 * v).toFixed(0)} %`) : signed(v));
function heard(t) {
  const { names, kept, places, values, targets, padded, steps } = facts.says, s = steps ? t : 0, nothing = steps && padded.includes(t);
  return Array.from({ length: kept }, (_, r) => {
    const k = places[s * kept + r];
    return nothing ? { name: "", v: null } : { name: names[k], v: values[s * kept + r], right: k === targets[s] - 1 };
  });
}
function writeSaid(cell, { name, v }) {
  cell.querySelector("bdi").textContent = cell.title = name;
  cell.querySelector("span").textContent = per(v);
  widen(cell, v);
}
function widen(cell, v) { const rect = cell.querySelector("rect"); if (rect) rect.setAttribute("width", `${100 * v || 0}%`); }
function updateSays(start) {
  const { says } = facts;
  if (!says) return;
  document.querySelectorAll(".says .said").forEach((row, r) => {
    [...row.cells].slice(1).forEach((cell, c) => {
      writeSaid(cell, heard(start + c)[r]);
      cell.classList.toggle("now-said", start + c === here.t);
    });
  });
  for (const row of document.querySelectorAll(".says .right")) [...row.cells].slice(1).forEach((cell, c) => {
    const k = says.targets[start + c];
    cell.firstElementChild.textContent = k ? says.names[k - 1] : "";
    cell.classList.toggle("now-said", start + c === here.t);
  });
  const all = heard(here.t);
  document.querySelectorAll("#said-all .output").forEach((row, r) => {
    const { name, v, right } = all[r];
    row.classList.toggle("target", Boolean(right));
    row.cells[0].firstElementChild.textContent = name;
    row.cells[1].textContent = v === null || says.classes ? per(v) : exact(v);
    widen(row.cells[2], v);
  });
}
function opensOutputs() {
  const row = facts.unrolled.rows.find((r) => r.kind === "output");
  if (!facts.says || !row) return;
  const show_ = (change) => { $("said-all").open = true; show(change); $("said-all").scrollIntoView({ block: "nearest" }); };
  for (let c = 0; c < facts.unrolled.width; c++) {
    const group = $(`r-${row.id}-${facts.unrolled.first + c}`);
    opens(group, "all outputs at this step", () => show_({ t: Number(group.dataset.t ?? here.t) }));
  }
}
