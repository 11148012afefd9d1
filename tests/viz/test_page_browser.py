"""The page in a real browser: slider, keyboard, clicks, dark mode, values, and no requests."""

import numpy as np
import pytest
from support.browser import CHROMIUM
from support.viz_models import attending

import recurrent
import viz
from recurrent.cells import cos, log, sin, trace_cell, where
from recurrent.losses import mean_squared_error
from viz.draw import notation
from viz.layout import circuit
from viz.reading import direction, evaluate, wiring

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH: the browser the page is tried in"
)
TEXT = 'To "be" </script>\\N\u2028🙂שלום, & <b>'


@pytest.fixture(scope="module")
def seen():
    layers = (
        recurrent.Embedding(20, 5),
        recurrent.LSTM(5, 10),
        recurrent.GRU(10, 70),
        recurrent.Linear(70, 20),
    )
    model = recurrent.Sequential(*layers, rng=0)
    rng = np.random.default_rng(0)
    T = len(TEXT)
    targets = rng.standard_normal((T, 1, 20)).astype("float32")
    return model, model.record(
        rng.integers(0, 20, (T, 1)), targets=targets, loss=mean_squared_error
    )


@pytest.fixture(scope="module")
def path(seen, tmp_path_factory):
    return viz.explore(*seen, inputs=TEXT, t=5).save(tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture
def opened(open_any, path):
    """The opened page of `seen`."""
    return lambda **options: open_any(path, **options)


@pytest.fixture(scope="module")
def both():
    """A bidirectional layer and sequences of different lengths."""
    model = recurrent.Sequential(
        recurrent.GRU(3, 4, bidirectional=True), recurrent.Linear(8, 2), rng=0
    )
    rng = np.random.default_rng(0)
    x, targets = (rng.standard_normal((12, 2, size)).astype("float32") for size in (3, 2))
    return model, model.record(x, targets=targets, loss=mean_squared_error, lengths=[12, 10])


@pytest.mark.parametrize("name", direction.NAMES)
def test_either_direction_of_a_layer_opens(open_any, both, tmp_path, name):
    model, recording = both
    page = open_any(viz.explore(model, recording, t=6, sequence=1).save(tmp_path / "page.html"))
    page.click("#n-layer0")
    way, n = direction.direction_of(model[0], name), int(name == "reverse")
    end, t = way.end, 9
    page.locator("#time").fill(str(t))
    page.click(f"[id='r-layer0{end}-6']")
    assert level(page) == "cell"
    assert page.input_value("#layer") == str(n)
    t = int(page.input_value("#time"))
    page.locator("#time").fill("9")
    mine, t = recording.layers[0], 9
    assert numbers(page)["h"] == notation.exact(mine.states[f"h{end}"][t, 1, 0])
    # In reverse, the last of ten steps comes first.
    before = 0.0 if name == "reverse" else mine.states["h"][t - 1, 1, 0]
    assert float(tip(page, f"c{n}-previous:h").rpartition(" ")[2]) == pytest.approx(
        before, rel=1e-6
    )
    page.locator("#time").fill("4")
    before = mine.states[f"h{end}"][4 - way.step, 1, 0]
    assert notation.exact(before) in tip(page, f"c{n}-previous:h")
    page.click('#levels [data-level="unit"]')
    assert (
        tip(page, f"u{n}-in:h0")
        == f"h₀ at {way.earlier}, this unit itself = {notation.exact(before)}"
    )
    W = model.parameters[f"0.weight_hh_l0{end}"]
    assert f"= {notation.exact(W[0, 2])}" in tip(page, f"u{n}-in:h2--r")
    page.click('#levels [data-level="neuron"]')
    page.select_option("#neuron", label="update gate")
    total = float(page.text_content("section.shown .dot.shown .sum"))
    np.testing.assert_allclose(1 / (1 + np.exp(-total)), mine.gates[f"z{end}"][4, 1, 0], rtol=1e-5)
    page.check("#gradient")
    assert numbers(page)["∂L/∂h"] == notation.exact(mine.dstates[f"h{end}"][4, 1, 0])


def numbers(page):
    """The values in the panel, by quantity."""
    return dict(
        page.eval_on_selector_all(
            "#info dd[data-q]", "all => all.map(e => [e.dataset.q, e.textContent])"
        )
    )


def engine(recording, k, t, j):
    mine = recording.layers[k]
    return {name: notation.exact(a[t, 0, j]) for name, a in {**mine.gates, **mine.states}.items()}


def level(page):
    return page.locator("section.shown").get_attribute("data-level")


def test_the_slider_updates_every_value(opened, seen):
    _, recording = seen
    page = opened()
    page.click('#levels [data-level="units"]')
    for t in (0, 7, len(TEXT) - 1):
        page.locator("#time").fill(str(t))
        for j in (0, 9):
            page.hover(f"[id='l0-after{j}']")
            assert numbers(page) == engine(recording, 1, t, j)
        cells = page.eval_on_selector_all(
            "section.shown .numbers tbody tr", "all => all.map(r => r.cells[5].textContent)"
        )
        assert cells == [notation.exact(v) for v in recording.layers[1].states["h"][t, 0]]
        assert_opened(page, recording, 1, t, {j: j for j in range(10)})


def assert_opened(page, recording, k, t, units):
    """Check every value in the layer's picture at a step; `units` maps drawn to shown units."""
    mine, p = recording.layers[k], f"l{k - 1}"
    for drawn, j in units.items():
        assert written(page, f"{p}-name:unit{drawn}") == [f"unit {j}"]
        h, before = (mine.states["h"][s, 0, j] if s >= 0 else 0.0 for s in (t, t - 1))
        assert written(page, f"{p}-after{drawn}") == [notation.sub("h", j), notation.signed(h)]
        assert written(page, f"{p}-before{drawn}") == [
            notation.sub("h", j),
            notation.signed(before),
        ]
        assert tip(page, f"{p}-after{drawn}") == f"h{j} = {notation.exact(h)}"
        for g, a in mine.gates.items():
            assert tip(page, f"{p}-unit{drawn}:{g}:gate").endswith(
                f"of unit {j}, value {notation.exact(a[t, 0, j])}"
            )
        for s in set(mine.states) - {"h"}:
            assert (
                tip(page, f"{p}-unit{drawn}:{s}")
                == f"private memory {s} of unit {j} = {notation.exact(mine.states[s][t, 0, j])}"
            )
            assert written(page, f"{p}-value:unit{drawn}:{s}") == [
                notation.signed(mine.states[s][t, 0, j])
            ]


def test_the_chosen_unit_of_a_large_layer_is_opened(opened, seen):
    _, recording = seen
    page = opened()
    page.click('#levels [data-level="units"]')
    page.select_option("#layer", "1")
    page.locator("#time").fill("7")
    free = page.evaluate("facts.layers[1].picture.free")
    fixed = {j: j for j in (0, 1, 2, 3, 68, 69)}
    for j in (33, 4, 67):
        page.locator("section.shown .tile").nth(j).hover()
        assert numbers(page)["h"] == notation.exact(recording.layers[2].states["h"][7, 0, j])
        assert_opened(page, recording, 2, 7, fixed | {free: j})
        # There are dots only where there is a gap.
        hidden = [page.locator("[id^='l1-dots:unit:']").nth(k).is_hidden() for k in range(2)]
        assert hidden == [j == 4, j == 67]
    page.locator("section.shown .tile").nth(1).hover()
    assert_opened(page, recording, 2, 7, fixed | {free: 67})
    page.click(f"[id='l1-after{free}']")
    assert (level(page), page.input_value("#unit")) == ("unit", "67")


def test_initial_states_are_those_of_the_run(open_any, tmp_path):
    model = recurrent.Sequential(recurrent.LSTM(2, 3, learn_state=True), rng=0)
    for name, values in (("h0", [0.5, -0.25, 1.5]), ("c0", [1.0, 2.0, -3.0])):
        model.parameters[f"0.{name}"][:] = values
    recording = model.record(np.ones((4, 1, 2), "float32"))
    page = open_any(viz.explore(model, recording).save(tmp_path / "page.html"))
    page.click('#levels [data-level="unrolled"]')
    page.keyboard.press("Home")
    assert written(page, "r-initial:layer0:c") == ["c0"]
    page.click('#levels [data-level="units"]')
    assert [written(page, f"l0-before{j}")[1] for j in range(3)] == ["+0.50", "−0.25", "+1.50"]
    page.click('#levels [data-level="unit"]')
    assert written(page, "u0-value:before:c") == ["its own cₜ₋₁ = +1.00, 1 step later"]
    assert "(left: learned)" in written(page, "u0-key:h:title")[0]
    page.click('#levels [data-level="neuron"]')
    total = float(page.text_content("section.shown .dot.shown .sum"))
    np.testing.assert_allclose(
        1 / (1 + np.exp(-total)), recording.layers[0].gates["i"][0, 0, 0], rtol=1e-5
    )
    page.click('#levels [data-level="cell"]')
    assert float(tip(page, "c0-previous:c").rpartition(" ")[2]) == 1.0
    page.keyboard.press("End")
    assert float(tip(page, "c0-previous:c").rpartition(" ")[2]) == pytest.approx(
        recording.layers[0].states["c"][2, 0, 0]
    )


@pytest.mark.parametrize(("n", "first"), [(0, 0), (1, 1), (1, 0)])
def test_the_slider_updates_the_attention_of_a_decoder(open_any, tmp_path, n, first):
    model, recording = attending()
    shown = dict(inputs="Lesen!?", outputs="write", t=1, sequence=first)
    page = open_any(viz.explore(model, recording, **shown).save(tmp_path / "page.html"))
    page.click("#n-layer4")
    assert level(page) == "attention"
    read_as, written_as = "Lesen!?", "write"
    if first != n:  # labels are those of the sequence that is shown first
        page.select_option("#sequence", label=str(n))
        read_as, written_as = ([notation.sub(a, k) for k in range(7)] for a in "xy")
    weights, read = recording.layers[4].weights[:, n], (7, 5)[n]
    for t in range((5, 3)[n]):
        page.locator("#time").fill(str(t))
        lines = [f"a-state{s}--mean1" for s in range(read)]
        said = [
            f"weight of {read_as[s]} for {written_as[t]} = {notation.exact(weights[t, s])}"
            for s in range(read)
        ]
        assert [tip(page, i) for i in lines] == said
        wide = [
            float(page.locator(f"[id='{i}'] path").evaluate("e => e.style.strokeWidth"))
            for i in lines
        ]
        np.testing.assert_allclose(wide, 0.4 + 5.2 * weights[t, :read], atol=1e-4)
        assert written(page, "a-out1") == [written_as[t]]
        frame, row = (
            page.locator(f"[id='{i}']").bounding_box()["y"] for i in ("a-now", f"a-w{t}-0")
        )
        assert abs(frame - row) < 8  # a row is 27 px high
        assert [float(tip(page, f"a-w{t}-{s}").rpartition(" ")[2]) for s in range(read)] == [
            float(notation.exact(v)) for v in weights[t, :read]
        ]
    if n:
        page.locator("#time").fill("4")  # padding in this sequence
        assert not page.locator("[id='a-now']").is_visible()
    page.keyboard.press("Escape")
    assert level(page) == "network"


def test_a_batch_that_the_picture_of_attention_does_not_fit_is_left_out(tmp_path):
    text = viz.explore(*attending(), sequence=1).html  # it reads 5 states, the other one 7
    assert "Sequence 1 of 2" in text
    assert '<option value="1">' not in text.partition('id="sequence"')[2].partition("</select>")[0]


def test_attention_over_many_steps_shows_a_window(open_any, tmp_path):
    model = recurrent.Sequential(
        recurrent.GRU(2, 3), recurrent.Attention(3), recurrent.Linear(6, 2), rng=0
    )
    model.flat *= 8
    recording = model.record(np.random.default_rng(0).standard_normal((60, 2)).astype("float32"))
    page = open_any(viz.explore(model, recording, t=0).save(tmp_path / "page.html"))
    page.click('#levels [data-level="attention"]')
    columns, weights = page.evaluate("facts.attention.columns"), recording.layers[1].weights
    assert len(columns) == 40
    for t, row in ((0, 0), (30, 12), (59, 23)):
        page.locator("#time").fill(str(t))
        found = [float(tip(page, f"a-w{row}-{s}").rpartition(" ")[2]) for s in range(40)]
        assert found == [float(notation.exact(v)) for v in weights[t].reshape(60)[columns]]
        assert written(page, f"a-row{row}") == [notation.sub("y", t)]
        frame, cell = (
            page.locator(f"[id='{i}']").bounding_box()["y"] for i in ("a-now", f"a-w{row}-0")
        )
        assert abs(frame - cell) < 8


def test_the_picture_of_any_unit_shows_its_weights_and_values(opened, seen):
    model, recording = seen
    page = opened()
    page.click('#levels [data-level="unit"]')
    t = 9
    page.locator("#time").fill(str(t))
    page.locator("#unit").fill("7")
    page.keyboard.press("Tab")
    titles = page.eval_on_selector_all(
        "section.shown svg title", "all => all.map(e => e.textContent)"
    )
    W = model.parameters["1.weight_ih_l0"]
    for g, name in enumerate(("input gate", "forget gate", "candidate", "output gate")):
        for k in range(5):
            assert (
                f"weight of {notation.sub('x', k)} into {name} = {notation.exact(W[g * 10 + 7, k])}"
                in titles
            )
    assert (
        f"private memory c = {notation.exact(recording.layers[1].states['c'][t, 0, 7])}" in titles
    )
    before = recording.layers[1].states["h"][t - 1, 0, 7]
    assert f"h₇ at t - 1, this unit itself = {notation.exact(before)}" in titles
    page.select_option("#layer", "1")  # 10 + 70 inputs, the strongest of which are drawn
    page.locator("#unit").fill("69")
    page.keyboard.press("Tab")
    titles = page.eval_on_selector_all(
        "section.shown svg title", "all => all.map(e => e.textContent)"
    )
    W = model.parameters["2.weight_hh_l0"].reshape(3, 70, 70)[:, 69]
    found = [s for s in titles if s.startswith("weight of h")]
    known = {f"{notation.exact(w)}" for w in W.ravel()}
    assert len(found) > 60
    assert all(s.rpartition("= ")[2] in known for s in found)


def written(page, id):
    """The lines of a text in the figure."""
    return page.eval_on_selector_all(f"[id='{id}'] text", "all => all.map(e => e.textContent)")


def tip(page, id):
    return page.locator(f"[id='{id}'] title").first.text_content()


@pytest.mark.parametrize("k", [1, 2])
def test_the_cell_shows_the_value_of_every_wire(opened, seen, k):
    """Gates and states are the recorded ones; other values and gradients follow from the graph."""
    assert_every_wire(opened(), *seen, k, 9, 6)


DEEP, SLOWLY_DRAWN = ("slstm", "phased_lstm"), pytest.mark.ci


@trace_cell("circular", gates="a b", states="h", inputs="t", scalars="rate", register=False)
def circular(x, h, previous, p):
    a, b = sin(x.a + h.a) + cos(p.rate * x.t), x.b + h.b
    c = where(b >= previous.h, log(2 + a) - previous.h, a % 0.7)
    return dict(a=a, b=b, h=c * (b > 0) - 0.5 * previous.h)


@pytest.mark.parametrize(
    "name",
    ["circular", "cfc", "fastgrnn", *(pytest.param(n, marks=SLOWLY_DRAWN) for n in DEEP)],
)
def test_the_page_knows_the_vocabulary_of_equations(open_any, tmp_path, name):
    cell = circular if name == "circular" else name
    layer = recurrent.Recurrent(cell, 3, 5)
    layer.engine = layer.runner = layer.engine.reference
    model = recurrent.Sequential(layer, recurrent.Linear(5, 2), rng=0)
    if name == "phased_lstm":
        model.parameters["0.log_tau_l0"][:] = np.linspace(0, 3, 5)
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 3, (8, 1, 3)).astype("float32")
    targets = rng.standard_normal((8, 1, 2)).astype("float32")
    recording = model.record(x, targets=targets, loss=mean_squared_error)
    page = open_any(viz.explore(model, recording).save(tmp_path / "page.html"))
    assert_every_wire(page, model, recording, 0, 5, 3)


def assert_every_wire(page, model, recording, k, t, j):
    """Check the picture of layer k, which is layer max(k - 1, 0) of the page."""
    layer, n = model[k], max(k - 1, 0)
    page.click('#levels [data-level="cell"]')
    if n:
        page.select_option("#layer", str(n))
    page.locator("#time").fill(str(t))
    page.locator("#unit").fill(str(j))
    page.keyboard.press("Tab")
    step = evaluate.step(recording, layer, t, 0)
    numbers = evaluate.forward(layer, step)
    drawn = wiring.cell_wiring(layer.cell)
    ids = [*(a.id for a in drawn.neurons), *(o.id for o in drawn.operations)]
    tails = {a for a, _, _ in circuit.cell_circuit(layer.cell).routes}
    for i in ids:
        assert float(tip(page, f"c{n}-{i}").rpartition(" ")[2]) == pytest.approx(
            numbers[i][j], rel=2e-5, abs=1e-7
        ), i
        if i in tails:
            said = written(page, f"c{n}-value:{i}")[1]
            assert said == notation.signed(float(tip(page, f"c{n}-{i}").rpartition(" ")[2]))
    assert notation.exact(recording.layers[k].states["h"][t, 0, j]) in tip(page, f"c{n}-state:h")
    assert notation.exact(recording.layers[k].states["h"][t - 1, 0, j]) in tip(
        page, f"c{n}-previous:h"
    )
    assert written(page, f"c{n}-numbers") == [f"values at t = {t}: unit {j}"]
    page.check("#gradient")
    assert not page.locator(f"#c{n}").is_visible()
    found = evaluate.backward(layer.cell, numbers, step.gradients)
    for i in ids:
        if i not in found:  # a comparison has no gradient
            assert "gradient" not in tip(page, f"b{n}-{i}"), i
            continue
        said = float(tip(page, f"b{n}-{i}").rpartition(" ")[2])
        assert said == pytest.approx(found[i][j], rel=2e-4, abs=1e-9), i
    assert written(page, f"b{n}-value:state:h")[1] == notation.plain(
        recording.layers[k].dstates["h"][t, 0, j]
    )


def test_a_gate_neuron_is_its_dot_product(opened, seen):
    _, recording = seen
    page = opened()
    page.click('#levels [data-level="neuron"]')
    page.select_option("#neuron", label="forget gate")
    total = float(page.text_content("section.shown .dot.shown .sum"))
    out = page.text_content("section.shown .dot.shown .out")
    f = recording.layers[1].gates["f"][5, 0, 0]
    assert out == notation.exact(f)
    np.testing.assert_allclose(1 / (1 + np.exp(-total)), f, rtol=1e-5)


def bars(page):
    """The rows of the shown bars: name, numbers, and the bar's width with its sign."""
    return page.eval_on_selector_all(
        "section.shown .dot.shown .bars tbody tr",
        """all => all.map(tr => {
            const svg = tr.querySelector("svg"), sign = svg.classList.contains("plus") ? 1 : -1;
            const wide = sign * parseFloat(svg.querySelector("rect").getAttribute("width"));
            return [...[...tr.cells].slice(0, -1).map(c => c.textContent), wide];
        })""",
    )


def test_the_contributions_to_a_gate_are_bars_the_largest_first(opened, seen):
    model, recording = seen
    page = opened()
    page.click('#levels [data-level="neuron"]')
    page.select_option("#neuron", label="candidate")
    W = [model.parameters[f"1.weight_{side}_l0"][20].astype(float) for side in ("ih", "hh")]
    b = sum(float(model.parameters[f"1.bias_{side}_l0"][20]) for side in ("ih", "hh"))
    lstm = recording.layers[1].states["h"][:, 0]
    source = np.hstack([recording.layers[0].y[:, 0], np.vstack([np.zeros((1, 10)), lstm[:-1]])])
    products = np.hstack(W) * source
    names = [notation.sub("x", k) for k in range(5)] + [notation.sub("h", k) for k in range(10)]
    longest = max(np.abs(products).max(), abs(b))
    for t in (5, 12):
        page.locator("#time").fill(str(t))
        *rows, bias = bars(page)
        order = np.argsort(-np.abs(products[t]), kind="stable")
        assert [row[0] for row in rows] == [names[k] for k in order]
        for row, k in zip(rows, order, strict=True):
            assert row[1:4] == [
                notation.signed(v) for v in (source[t, k], np.hstack(W)[k], products[t, k])
            ]
            assert row[4] == pytest.approx(50 * products[t, k] / longest, rel=1e-4)
        assert bias[:2] == ["bias", notation.signed(b)]
        total = page.text_content("section.shown .dot.shown .bars .total td")
        assert total == notation.signed(products[t].sum() + b)


def test_a_gate_says_what_the_inputs_that_are_not_on_the_page_add(opened, seen):
    model, recording = seen
    page = opened()
    page.click('#levels [data-level="neuron"]')
    page.select_option("#layer", "1")
    page.select_option("#neuron", label="update gate")
    j, t = 33, 7
    page.locator("#time").fill(str(t))
    page.locator("#unit").fill(str(j))
    page.keyboard.press("Tab")
    W = [model.parameters[f"2.weight_{side}_l0"][70 + j].astype(float) for side in ("ih", "hh")]
    x, h = recording.layers[1].y[t, 0], recording.layers[2].y[t - 1, 0]
    slots = page.evaluate(
        f"'xh'.split('').map(g => L().drawn[g].map((_, s) => slot(L(), g, {j}, s)))"
    )
    drawn = sum((W[k][s] * (x, h)[k][s]).sum() for k, s in enumerate(slots))
    rest = W[0] @ x + W[1] @ h - drawn
    *rows, smaller, bias, missing = bars(page)
    assert (len(rows), smaller[0], bias[0]) == (24, "24 smaller ones", "bias")
    assert missing[0] == "32 not on this page"
    assert float(missing[1].replace("−", "-")) == pytest.approx(rest, abs=6e-4)
    total = page.text_content("section.shown .dot.shown .bars .total td")
    z = recording.layers[2].gates["z"][t, 0, j]
    assert float(total.replace("−", "-")) == pytest.approx(np.log(z / (1 - z)), abs=6e-3)


def characters(layers=(), T=12, N=2, **options):
    """A model of 20 classes and its recording, whose targets are classes."""
    layers = [recurrent.Embedding(20, 5), recurrent.GRU(5, 6), *layers, recurrent.Linear(6, 20)]
    model = recurrent.Sequential(*layers, rng=0)
    model.flat *= 4
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 20, (T, N) if model.has_steps(len(layers) - 1) else (N,))
    loss = recurrent.losses.softmax_cross_entropy
    return model, model.record(rng.integers(0, 20, (T, N)), targets, loss, **options)


def probabilities(y):
    p = np.exp(y.astype(float))
    return p / p.sum(-1, keepdims=True)


def said(page, row):
    """The cells of a row above the unrolled network."""
    return [
        " ".join(cell.split())
        for cell in page.locator(".says tr").nth(row).locator("td").all_text_contents()
    ]


def test_the_unrolled_network_says_the_likeliest_classes(open_any, tmp_path):
    model, recording = characters(lengths=[12, 10])
    page = open_any(viz.explore(model, recording, sequence=1).save(tmp_path / "page.html"))
    page.click('#levels [data-level="unrolled"]')
    p, targets = probabilities(recording.y[:, 1]), recording.targets[:, 1]
    for t, first in ((0, 0), (6, 3), (11, 5)):
        page.locator("#time").fill(str(t))
        for r in range(3):
            found = [np.argsort(-p[s], kind="stable")[r] for s in range(first, first + 7)]
            assert said(page, r) == [
                f"class {k} {100 * p[s, k]:.0f} %" if s < 10 else ""  # padding
                for s, k in enumerate(found, first)
            ]
        right = [f"class {k}" for k in targets[:10]] + 2 * [""]
        assert said(page, 3) == right[first : first + 7]
    for s, column in ((5, 0), (8, 3)):  # the columns are those of the picture
        cell, box = (
            page.locator(f).bounding_box()
            for f in (
                f".says tr:first-child td:nth-of-type({column + 1})",
                f"[id='r-y-{5 + column}']",
            )
        )
        assert cell["x"] + cell["width"] / 2 == pytest.approx(box["x"] + box["width"] / 2, abs=2)
        assert written(page, f"r-y-{5 + column}") == [notation.sub("y", s)]


def test_all_outputs_are_shown_on_demand(open_any, tmp_path):
    model, recording = characters()
    page = open_any(viz.explore(model, recording).save(tmp_path / "page.html"))
    page.click('#levels [data-level="unrolled"]')
    assert not page.locator("#said-all table").is_visible()
    page.locator("#time").fill("7")
    page.click("[id='r-y-7']")  # the column of step 6
    assert page.locator("#said-all table").is_visible()
    t, p = int(page.input_value("#time")), probabilities(recording.y[:, 0])
    order = np.argsort(-p[t], kind="stable")[:10]
    rows = page.locator("#said-all tr")
    assert rows.locator("th").all_text_contents() == [f"class {k}" for k in order]
    shown = [rows.nth(r).locator("td").first.text_content() for r in range(10)]
    assert shown == [f"{100 * p[t, k]:.0f} %" for k in order]
    right = [k for k in range(10) if rows.nth(k).get_attribute("class") == "output target"]
    assert right == [k for k, place in enumerate(order) if place == recording.targets[t, 0]]


def test_classes_have_the_names_given(open_any, tmp_path):
    model, recording = characters()
    names = dict(classes=" <b>cdefghijklmnopqr"[:20])
    page = open_any(viz.explore(model, recording, labels=names).save(tmp_path / "page.html"))
    page.click('#levels [data-level="unrolled"]')
    p = probabilities(recording.y[5:, 0])
    shown = [viz.page.tables.symbol(names["classes"][k]) for k in p.argmax(-1)]
    assert [cell.split()[0] for cell in said(page, 0)] == shown
    for labels, error, words in [
        (dict(classes="abc"), ValueError, r"labels\['classes'\] must have a name for each of 20"),
        (dict(units=["a"]), ValueError, r"labels\['units'\] must have a name for each of"),
        (dict(steps=["a"]), ValueError, r"labels\['steps'\] must have a name for each of"),
    ]:
        with pytest.raises(error, match=words):
            viz.explore(model, recording, labels=labels)


def test_values_that_are_no_class_scores_are_said_as_numbers(open_any, both, tmp_path):
    model, recording = both
    page = open_any(viz.explore(model, recording, sequence=1).save(tmp_path / "page.html"))
    page.click('#levels [data-level="unrolled"]')
    page.locator("#time").fill("4")
    y = recording.y[1:8, 1]
    for k in range(2):
        assert said(page, k) == [f"{notation.sub('y', k)} {notation.signed(v)}" for v in y[:, k]]


def test_a_model_that_pools_says_something_at_the_end(open_any, tmp_path):
    model, recording = characters([recurrent.Last()])
    page = open_any(viz.explore(model, recording, sequence=1).save(tmp_path / "page.html"))
    page.click('#levels [data-level="unrolled"]')
    p = probabilities(recording.y[1])
    order = np.argsort(-p, kind="stable")[:10]
    assert "after the last step" in page.text_content("#said-all summary")
    for t in (0, 11):
        page.locator("#time").fill(str(t))
        assert page.locator("#said-all th").all_text_contents() == [f"class {k}" for k in order]
        pale = page.locator("[id='r-layer2-11']").get_attribute("class") or ""
        assert ("padded" in pale) == (t == 0)  # the window ends before the last step


def test_clicks_open_levels_and_escape_goes_back(opened):
    page = opened()
    assert level(page) == "network"
    page.click("#n-layer1")
    assert level(page) == "unrolled"
    page.locator("section.shown .go").first.click()
    assert level(page) == "cell"
    page.click("#c0-x")  # parts other than gates open the layer
    assert level(page) == "cell"
    page.locator("#c0-cluster_cell").click(position={"x": 8, "y": 60})
    assert level(page) == "units"
    page.click("[id='l0-unit4:f:gate']")
    assert level(page) == "unit"
    assert "unit 4" in page.text_content("#who")
    page.click("#u0-f")
    assert level(page) == "neuron"
    assert page.locator("#neuron option:checked").text_content() == "forget gate"
    back = []
    for _ in range(5):
        page.keyboard.press("Escape")
        back.append(level(page))
    assert back == ["unit", "units", "cell", "unrolled", "network"]


def test_keyboard_and_screen_reader_texts(opened, seen):
    _, recording = seen
    page = opened()
    page.click('#levels [data-level="units"]')
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#time") == "1"
    page.keyboard.press("End")
    assert page.input_value("#time") == str(len(TEXT) - 1)
    page.locator("#l0-cluster_unit2").focus()
    page.keyboard.press("Tab")
    assert numbers(page) == engine(recording, 1, len(TEXT) - 1, 3)
    assert page.get_attribute("#said", "aria-live") == "polite"
    assert "unit 3" in page.text_content("#said")
    names = page.get_by_role("button", name="unit 3:")
    assert names.count() == 1
    page.keyboard.press("Enter")
    assert level(page) == "unit"


def test_input_labels_are_shown_verbatim(opened):
    page = opened()
    page.click('#levels [data-level="unrolled"]')
    shown = page.eval_on_selector_all(".strip bdi", "all => all.map(e => e.textContent)")
    assert shown == [viz.page.tables.symbol(c) for c in TEXT]
    middle = [page.text_content(f"#r-x-{t} text") for t in range(2, 9)]
    assert middle == shown[2:9]
    assert page.locator("b", has_text="never").count() == 0


def test_gradients_replace_values(opened, seen):
    _, recording = seen
    page = opened()
    page.click('#levels [data-level="unrolled"]')
    bar = page.locator("[id='r-gradient:layer1-5']")
    assert not bar.is_visible()
    page.check("#gradient")
    assert bar.is_visible()
    norm = np.linalg.norm(recording.layers[1].dstates["h"][5, 0].astype(float))
    assert bar.locator("title").text_content() == f"|dL/dh| at t = 5: {notation.exact(norm)}"
    assert numbers(page)["∂L/∂c"] == notation.exact(recording.layers[1].dstates["c"][5, 0, 0])


def test_gradients_have_one_scale_and_one_key(opened, seen):
    _, recording = seen
    page = opened()
    assert not page.locator("#gradient-key").is_visible()
    page.check("#gradient")
    low, high = page.evaluate("facts.scale")
    sizes = np.hstack([
        np.abs(a[:, 0].astype(float)).ravel()
        for k in (1, 2)
        for a in recording.layers[k].dstates.values()
    ])  # fmt: skip
    assert (
        high / 10
        < max(np.linalg.norm(a.dstates["h"][:, 0], axis=1).max() for a in recording.layers[1:3])
        <= high
    )
    assert (sizes < low).mean() <= 0.03
    key = page.locator("#gradient-key").inner_text().split()
    assert key == ["≤", notation.power(low), notation.power(high)]
    colours = page.evaluate("facts.colours.size")

    def colour(v):
        share = np.clip(np.log(abs(v) / low) / np.log(high / low), 0, 1)
        red, green, blue = (int(colours[int(share * 32 + 0.5)][k : k + 2], 16) for k in (1, 3, 5))
        return f"rgb({red}, {green}, {blue})"

    def painted(id):
        shape = page.locator(f"[id='{id}']").locator("path, polygon, ellipse").first
        return shape.evaluate("e => getComputedStyle(e).fill")

    t = 5
    for k, layer in enumerate(recording.layers[1:3]):
        d = {s: a[t, 0].astype(float) for s, a in layer.dstates.items()}
        page.click('#levels [data-level="unrolled"]')
        page.select_option("#layer", str(k))
        assert painted(f"r-gradient:layer{k + 1}-5") == colour(np.linalg.norm(d["h"]))
        assert page.locator("[id^='r-key:gradient']:visible, [id^='r-key:g1']:visible").count() == 0
        page.click('#levels [data-level="units"]')
        assert painted(f"l{k}-after2") == colour(d["h"][2])
        page.click('#levels [data-level="unit"]')
        for s in d:
            assert painted(f"u{k}-state:{s}") == colour(d[s][0])
        strip = page.locator(".strip [aria-current]")
        assert strip.evaluate("e => getComputedStyle(e).backgroundColor") == colour(d["h"][0])


def test_steps_play_up_to_the_last(opened):
    page = opened(reduced_motion="no-preference")
    last = len(TEXT) - 1
    page.locator("#time").fill(str(last - 2))
    page.click("#play")
    assert page.get_attribute("#play", "aria-label") == "pause"
    until(page, f"here.t === {last}")
    until(page, "playing === 0")
    assert page.get_attribute("#play", "aria-label") == "play the steps"
    page.keyboard.press("p")  # from the first step again
    assert page.input_value("#time") in ("0", "1")
    page.keyboard.press("p")
    at = page.input_value("#time")
    page.wait_for_timeout(700)
    assert page.input_value("#time") == at


def test_steps_play_slowly_for_readers_who_prefer_little_motion(opened):
    page = opened(reduced_motion="reduce")
    page.locator("#time").fill("0")
    page.click("#play")
    page.wait_for_timeout(800)
    assert page.input_value("#time") == "0"
    until(page, "here.t === 1")


@pytest.fixture(scope="module")
def batch():
    """Three sequences of different lengths through two layers, one of them bidirectional."""
    layers = [recurrent.LSTM(3, 4, bidirectional=True), recurrent.Recurrent("cfc", 8, 5)]
    model = recurrent.Sequential(*layers, recurrent.Linear(5, 4), rng=0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 3, 3)).astype("float32")
    loss = recurrent.losses.softmax_cross_entropy
    return model, model.record(x, rng.integers(0, 4, (9, 3)), loss, lengths=[9, 5, 7])


def everything_said(page):
    """The text of every level at two steps, its tooltips, and all colours."""
    figure = """all => all.filter(e => e.closest("figure").checkVisibility())
        .map(e => [e.textContent, getComputedStyle(e).fill])"""
    shapes, found = "section.shown :is(text, title, path, polygon, ellipse)", []
    for t, on in ((1, False), (8, True)):
        page.locator("#time").fill(str(t))
        page.set_checked("#gradient", on)
        for name in levels(page):
            colours = page.eval_on_selector_all(".strip button", "all => all.map(b => b.className)")
            texts = page.locator("section.shown").inner_text().splitlines()
            found.append(((t, on, name), page.eval_on_selector_all(shapes, figure), texts, colours))
    return found


def test_every_sequence_of_a_small_batch_is_on_the_page(open_any, batch, tmp_path):
    """A chosen sequence is what a page that shows it first shows."""
    pages = [
        open_any(viz.explore(*batch, sequence=n, t=4).save(tmp_path / f"{n}.html")) for n in (2, 1)
    ]
    assert pages[0].locator("#sequence option").all_text_contents() == ["0", "1", "2"]
    assert pages[0].locator("#sequence option:checked").text_content() == "2"
    pages[0].select_option("#sequence", label="1")
    for mine, its in zip(*map(everything_said, pages), strict=True):
        for a, b in zip(mine[1:], its[1:], strict=True):
            differ = [pair for pair in zip(a, b, strict=True) if pair[0] != pair[1]]
            assert not differ, (mine[0], differ)
    assert set(pages[0].locator("#r-x-7").get_attribute("class").split()) == {
        "now-column",
        "padded",
    }


def test_the_picture_of_any_unit_shows_its_own_parameters(open_any, tmp_path):
    model = recurrent.Sequential(recurrent.LSTM(3, 4, peephole=True), rng=0)
    recording = model.record(np.ones((3, 1, 3), "float32"))
    page = open_any(
        viz.explore(model, recording).save(tmp_path / "a.html"), fragment="#level=unit&unit=3"
    )
    page.locator("#unit").wait_for()
    for name in model[0].cell.parameters:
        v = direction.direction_of(model[0]).parameters[name][3]
        assert tip(page, f"u0-p:{name}") == f"own parameter {name} = {notation.exact(v)}"
        assert written(page, f"u0-p:{name}") == [f"{name} {notation.signed(v)}"]


def test_a_link_names_the_sequence(open_any, batch, tmp_path):
    page = open_any(viz.explore(*batch).save(tmp_path / "a.html"), fragment="#sequence=2&t=3")
    assert view(page)[3] == 3
    assert page.locator("#sequence option:checked").text_content() == "2"
    page.select_option("#sequence", label="1")
    until(page, "location.hash.endsWith('&t=3&sequence=1')")


def test_labels_belong_to_the_sequence_that_is_shown_first(open_any, batch, tmp_path):
    path = viz.explore(*batch, inputs="abcdefghi", sequence=1).save(tmp_path / "a.html")
    page = open_any(path)
    strip = page.locator(".strip bdi")
    assert strip.all_text_contents() == list("abcdefghi")
    page.select_option("#sequence", label="0")
    assert strip.all_text_contents() == list("012345678")
    page.select_option("#sequence", label="1")
    assert strip.all_text_contents() == list("abcdefghi")


def view(page):
    """The level, layer, unit, step and gradients that a page shows."""
    page.locator("#levels button").first.wait_for()  # the script has begun
    return page.evaluate(
        "[here.level, here.layer, L().units[here.u], here.t, here.neuron, here.gradient]"
    )


def test_the_address_is_a_link_to_the_view(opened):
    page = opened()
    page.click('#levels [data-level="neuron"]')
    page.select_option("#layer", "1")
    page.select_option("#neuron", label="update gate")
    page.locator("#unit").fill("33")
    page.keyboard.press("Tab")
    page.locator("#time").fill("12")
    page.check("#gradient")
    said = "#level=neuron&layer=2&unit=33&t=12&gate=z&gradients=1"
    until(page, f"location.hash === '{said}'")
    other = opened(fragment=said)
    assert view(other) == view(page) == ["neuron", 1, 33, 12, 1, True]
    assert other.input_value("#neuron") == "1"
    other.evaluate("location.hash = 'level=unit&unit=3&t=4&layer=1&gradients=0'")
    until(other, "here.level === 'unit'")
    assert view(other) == ["unit", 0, 3, 4, 1, False]


@pytest.mark.parametrize(
    "fragment",
    [
        "#level=atoms&layer=7&unit=999&t=-1&gate=q",
        "#t=1e3&unit=0x1&layer=&gate=%00",
        "#<script>",
        "#%",
        "#t=99999999999&t=3",
    ],
)
def test_links_that_do_not_fit_are_ignored(opened, fragment):
    page = opened(fragment=fragment)
    assert view(page) == ["network", 0, 0, 5, 0, False]


def test_a_link_opens_either_direction(open_any, both, tmp_path):
    path = viz.explore(*both).save(tmp_path / "page.html")
    page = open_any(path, fragment="#level=unit&layer=0_reverse&unit=2&t=3")
    assert view(page)[:4] == ["unit", 1, 2, 3]


def test_dark_mode_by_the_system_and_by_the_switch(opened):
    colour = "getComputedStyle(document.body).backgroundColor"
    light, dark = (opened(color_scheme=scheme) for scheme in ("light", "dark"))
    assert light.evaluate(colour) == "rgb(255, 255, 255)"
    assert dark.evaluate(colour) == "rgb(15, 23, 42)"
    light.select_option("#theme", "dark")
    assert light.evaluate(colour) == "rgb(15, 23, 42)"
    dark.select_option("#theme", "light")
    assert dark.evaluate(colour) == "rgb(255, 255, 255)"


READABLE = """least => {
    const small = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const e = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
        if (!text || !e.checkVisibility() || e.closest("title, script, option")) continue;
        const scale = e instanceof SVGElement ? e.getScreenCTM().a : 1;
        const size = parseFloat(getComputedStyle(e).fontSize) * scale;
        if (size < least) small.push([text, size]);
    }
    return small;
}"""
WINDOW, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}


def levels(page):
    """Open every level of every layer."""
    for name in page.eval_on_selector_all("#levels button", "all => all.map(b => b.dataset.level)"):
        page.click(f'#levels [data-level="{name}"]')
        for layer in page.eval_on_selector_all("#layer option", "all => all.map(o => o.value)"):
            page.select_option("#layer", layer)
            yield name


def pictured(name):
    """A model and its recording, of a cell or of a kind of model."""
    if name == "attention":
        return attending()
    rng, layers = np.random.default_rng(0), []
    if name == "two of 128 units":
        layers = [recurrent.LSTM(16, 128), recurrent.GRU(128, 128), recurrent.Linear(128, 3)]
    else:
        layers = [recurrent.Recurrent(name, 16, 5), recurrent.Linear(5, 3)]
    model = recurrent.Sequential(*layers, rng=0)
    for layer in model.layers[:-1]:
        layer.engine = layer.runner = layer.engine.reference
    x, targets = (rng.standard_normal((9, 1, size)).astype("float32") for size in (16, 3))
    return model, model.record(x, targets=targets, loss=mean_squared_error)


@pytest.mark.parametrize(
    "name",
    [
        *("seen", "both", "lstm", "attention"),
        *(pytest.param(n, marks=SLOWLY_DRAWN) for n in ("two of 128 units", *DEEP, "nested_lstm")),
    ],
)
def test_all_text_of_every_level_is_readable(request, open_any, tmp_path, name):
    run = request.getfixturevalue(name) if name in ("seen", "both") else pictured(name)
    page = open_any(viz.explore(*run).save(tmp_path / "page.html"))
    for size in (WINDOW, PHONE):
        page.set_viewport_size(size)
        for on in (False, True):
            page.set_checked("#gradient", on)
            for name in levels(page):
                assert page.evaluate(READABLE, 11) == [], name
                assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], name


def until(page, condition):
    """Wait until an expression holds; the page's policy forbids Playwright's own way."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(condition)


def width(page):
    return page.locator("section.shown .sheet:visible").bounding_box()["width"]


def test_pictures_zoom_by_buttons_keys_and_wheel(opened):
    page = opened()
    page.click('#levels [data-level="cell"]')
    first = width(page)
    for larger, smaller in (("#larger", "#smaller"), ("+", "-")):
        for key, size in ((larger, 1.25 * first), (smaller, first)):
            page.click(key) if key.startswith("#") else page.keyboard.press(key)
            assert width(page) == pytest.approx(size, rel=1e-3)
    frame = page.locator("section.shown figure:visible")
    for key in "++++++":
        page.keyboard.press(key)
    assert page.text_content("#automatic") == "381 %"
    frame.hover()
    page.keyboard.press("Shift+ArrowRight")
    moved = frame.evaluate("e => e.scrollLeft")
    page.keyboard.press("Shift+ArrowLeft")
    assert moved - frame.evaluate("e => e.scrollLeft") == 80
    page.keyboard.press("0")
    assert (width(page), page.text_content("#automatic")) == (first, "100 %")
    gate = page.locator("#c0-f")
    gate.hover()
    before = gate.bounding_box()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    until(page, f"document.querySelector('#c0').clientWidth > {1.5 * first}")
    after = gate.bounding_box()  # the point under the pointer stays
    for side, size in (("x", "width"), ("y", "height")):
        middle = [box[side] + box[size] / 2 for box in (before, after)]
        assert middle[0] == pytest.approx(middle[1], abs=3)
    page.click("#automatic")
    page.evaluate("scrollTo(0, 0)")
    frame.hover()
    top = page.evaluate("scrollY")
    page.mouse.wheel(0, 50)
    until(page, f"scrollY > {top}")
    assert width(page) == first


def test_two_fingers_zoom_a_picture(opened):
    page = opened(viewport=PHONE, has_touch=True)
    page.click('#levels [data-level="cell"]')
    first, box = width(page), page.locator("section.shown figure:visible").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + 100
    hand = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 40), *(("touchMove", a) for a in (50, 60, 80))):
        points = [{"x": x + side * apart / 2, "y": y, "id": k} for k, side in enumerate((-1, 1))]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert width(page) == pytest.approx(2 * first, rel=1e-2)
    assert page.evaluate("visualViewport.scale") == 1


def test_dragging_moves_a_picture_and_opens_nothing(opened):
    page = opened()
    page.click('#levels [data-level="unit"]')
    for _ in range(3):  # wider than the window
        page.click("#larger")
    frame = page.locator("section.shown figure:visible")
    frame.evaluate("e => { e.scrollLeft = 0; }")
    box = page.locator("#u0-f").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y, steps=4)
    page.mouse.up()
    assert (level(page), frame.evaluate("e => e.scrollLeft")) == ("unit", 60)
    page.click("#u0-f")
    assert level(page) == "neuron"


def test_the_whole_picture_fits_the_window(opened):
    page = opened()
    page.click('#levels [data-level="unit"]')
    frame = page.locator("section.shown figure:visible")
    for _ in range(3):
        page.click("#larger")
    assert frame.evaluate("e => e.scrollWidth > e.clientWidth")
    page.click("#whole")
    assert frame.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_the_panel_is_there_where_it_says_something(opened):
    page = opened()
    for name in page.eval_on_selector_all("#levels button", "all => all.map(b => b.dataset.level)"):
        page.click(f'#levels [data-level="{name}"]')
        said = name not in ("network", "unrolled", "attention")
        assert page.locator("aside").is_visible() == said, name
        box = page.locator("main").bounding_box()
        assert box["width"] > 1300, name


@pytest.mark.parametrize("name", ["seen", "both", "attention"])
def test_the_controls_take_a_quarter_of_a_phone(request, open_any, tmp_path, name):
    run = attending() if name == "attention" else request.getfixturevalue(name)
    page = open_any(viz.explore(*run).save(tmp_path / "page.html"), viewport=PHONE)
    for on in (False, True):
        page.set_checked("#gradient", on)
        for name in levels(page):
            heights = [page.locator(s).bounding_box()["height"] for s in (".bar", "#theme")]
            assert sum(heights) <= PHONE["height"] / 4, name
            cut = """all => all.filter(e => e.checkVisibility() && e.offsetWidth > 1)
                .filter(e => e.getBoundingClientRect().right > innerWidth).length"""
            controls = ".bar button:not(.strip *), .bar label, .bar output, #theme"
            assert page.eval_on_selector_all(controls, cut) == 0, name


@pytest.mark.parametrize("viewport", [WINDOW, PHONE], ids=["window", "phone"])
def test_the_strip_follows_the_step(open_any, seen, tmp_path, viewport):
    model, _ = seen
    recording = model.record(np.arange(560)[:, None] % 20)
    page = open_any(viz.explore(model, recording).save(tmp_path / "a.html"), viewport=viewport)
    page.locator("#levels button").first.wait_for()
    for key in ("Home", "End", "ArrowLeft", "Home"):
        page.keyboard.press(key)
        strip, now = (page.locator(s).bounding_box() for s in (".strip", ".strip [aria-current]"))
        for side, size in (("x", "width"), ("y", "height")):
            assert strip[side] <= now[side] + 1
            assert now[side] + now[size] <= strip[side] + strip[size] + 1
        assert page.evaluate("scrollY") == 0


def test_without_scripts_the_levels_follow_each_other(opened, seen):
    _, recording = seen
    page = opened(java_script_enabled=False)
    for s in page.locator("section").all():
        assert s.is_visible()
    assert page.locator("noscript").is_visible()
    assert not page.locator("#time").is_visible()
    cell = page.locator("section[data-level=units] .numbers tbody tr").first.locator("td").nth(4)
    assert cell.text_content() == notation.exact(recording.layers[1].states["h"][5, 0, 0])
