// Attention: the lines of the output at this step, and a window of rows.
function updateAttention() {
  const a = facts.attention;
  if (!a) return;
  const { written, columns, inputs, outputs, faint } = a, here_ = written.indexOf(here.t), present = here_ >= 0;
  const k = present ? here_ : written.length - 1, first = Math.min(Math.max(k - a.half, 0), Math.max(written.length - a.rows, 0));
  const shade = (v) => Math.floor(v * (facts.bins - 1) + 0.5);
  const weight = (t, s) => a.weights[t * columns.length + s], t = written[k], at = (name) => $(`a-${name}`);
  for (let r = 0; r < a.rows; r++) {
    const step = written[first + r], none = step === undefined;  // in a shorter sequence
    write(at(`row${r}`), none ? "" : outputs[step]);
    columns.forEach((_, s) => {
      const cell = at(`w${r}-${s}`), v = none ? 0 : weight(step, s);
      cell.classList.toggle("quiet", none);
      write(cell, a.wide ? v.toFixed(2) : v >= 0.005 ? (100 * v).toFixed(0) : "");
      paint(cell, facts.colours.shade[shade(v)], facts.colours.shadeInk[shade(v)]);
      tip(cell, `weight of ${inputs[s]} for ${outputs[step]} = ${exact(v)}`);
    });
  }
  at("now").setAttribute("transform", `translate(0 ${a.high * (k - first - a.focus)})`);
  at("now").classList.toggle("quiet", !present);
  columns.forEach((_, s) => {
    write(at(`state${s}`), inputs[s]);
    const line = at(`state${s}--mean${a.focus}`), v = weight(t, s), path = line.querySelector("path");
    line.classList.toggle("quiet", !present || v < faint);
    path.style.stroke = facts.colours.shade[shade(v)]; path.style.strokeWidth = 0.4 + 5.2 * v;
    tip(line, `weight of ${inputs[s]} for ${outputs[t]} = ${exact(v)}`);
  });
  write(at(`out${a.focus}`), present ? outputs[t] : "");
  tip(at(`out${a.focus}`), `output ${t}`);
  tip(at(`mean${a.focus}`), `output ${t}: the weighted mean of all saved states`);
}
