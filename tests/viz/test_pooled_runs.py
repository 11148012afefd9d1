"""Recordings of models without a time axis at the end: pictures show the steps they read."""

import re

import numpy as np
import pytest
from support.dot_reader import read

import viz
from recurrent import GRU, LSTM, RNN, Last, Linear, MaxPool, MeanPool, Recurrent, Sequential, losses
from viz.draw import notation

POOLS = {
    "last": lambda: (LSTM(3, 4), Last(), Linear(4, 2)),
    "reverse": lambda: (LSTM(3, 4, reverse=True), Last(reverse=True), Linear(4, 2)),
    "both": lambda: (GRU(3, 4, bidirectional=True), Last(bidirectional=True), Linear(8, 2)),
    "mean": lambda: (LSTM(3, 4), MeanPool(), Linear(4, 2)),
    "max": lambda: (LSTM(3, 4), MaxPool(), Linear(4, 2)),
}
LENGTHS = np.array([9, 6, 2])


def run(name, steps=9, lengths=LENGTHS):
    model = Sequential(*POOLS[name](), rng=0)
    x = np.random.default_rng(0).standard_normal((steps, 3, 3)).astype("float32")
    y = np.zeros((3, 2), "float32")
    return model, model.record(x, y, losses.mean_squared_error, lengths=lengths)


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("name", POOLS)
def test_the_pool_reads_the_steps_that_its_output_comes_from(name, n):
    model, recording = run(name)
    nodes, edges, _ = read(viz.unrolled(model, recording=recording, n=n).source)
    last = int(LENGTHS[n]) - 1
    (head,) = (k for k in nodes if k.startswith("layer1@"))
    assert head == f"layer1@{last}"
    row = "layer0_merge" if name == "both" else "layer0"
    read_steps = {int(e.tail.rpartition("@")[2]) for e in edges if e.head == head}
    shown = {int(k[5:]) for k in nodes if k.startswith("step:")}
    expected = {"last": {last}, "reverse": {0}, "both": {0, last}}.get(name, shown)
    assert read_steps == expected
    assert last in shown
    assert max(shown) == last
    assert all(e.tail.startswith(f"{row}@") for e in edges if e.head == head)
    below, pooled = (recording.layers[k].y for k in (0, 1))
    if name in ("last", "reverse"):
        np.testing.assert_array_equal(pooled[n], below[min(expected), n])
    if name == "both":
        np.testing.assert_array_equal(pooled[n], [*below[last, n, :4], *below[0, n, 4:]])


@pytest.mark.parametrize("name", POOLS)
def test_gradients_and_states_of_a_pooled_run_are_those_recorded(name):
    model, recording = run(name)
    layer = recording.layers[0]
    nodes, _, _ = read(viz.unrolled(model, [0, 3, 5], recording=recording, n=1).source)
    for t in (0, 3, 5):
        norm = np.linalg.norm(layer.dstates["h"][t].astype(float))
        assert nodes[f"gradient:layer0@{t}"].attributes["tooltip"].endswith(f": {norm:.7g}")
        rms = np.sqrt(np.mean(np.square(layer.states["h"][t, 1].astype(float))))
        assert f"rms of h = {rms:.3g}" in nodes[f"layer0@{t}"].attributes["tooltip"]
    tiles, _, _ = read(viz.gradients(model, recording).source)
    for t in range(9):
        norm = np.linalg.norm(layer.dstates["h"][t].astype(float))
        assert tiles[f"h:layer0@{t}"].attributes["tooltip"].endswith(f": {norm:.7g}")


@pytest.mark.parametrize("name", [n for n in POOLS if n != "both"])
def test_the_page_of_a_pooled_run_has_the_values_of_the_sequence(name):
    model, recording = run(name)
    text = viz.explore(model, recording, t=4, sequence=1).html
    table = re.search(r'<table class="numbers">.*?</table>', text, re.S)[0]
    rows = [re.findall(r"<td>(.*?)</td>", r) for r in re.findall(r"<tr>(.*?)</tr>", table)[1:]]
    mine = recording.layers[0]
    found = [*mine.gates.values(), *mine.states.values(), *mine.dstates.values()]
    assert rows == [[notation.exact(a[4, 1, j]) for a in found] for j in range(4)]


def test_a_box_of_one_unit_shows_the_value_of_its_sequence():
    model = Sequential(RNN(1, 1), Last(), Linear(1, 1), rng=0)
    x = np.linspace(-1, 1, 10, dtype="float32").reshape(5, 2, 1)
    recording = model.record(x)
    for n in (0, 1):
        nodes, _, _ = read(viz.unrolled(model, 5, recording=recording, n=n).source)
        for t in range(5):
            v = float(recording.layers[0].states["h"][t, n, 0])
            assert nodes[f"layer0@{t}"].attributes["label"].endswith(notation.signed(v))
            assert nodes[f"layer0@{t}"].attributes["tooltip"].endswith(f"h = {v:.7g}")


def test_keys_stand_below_the_grid_not_beside_it():
    model = Sequential(Recurrent("slstm", 3, 4, bidirectional=True), rng=0)
    nodes, _, _ = read(viz.unrolled(model, 3).source)
    right = max(n.box[2] for k, n in nodes.items() if k.startswith(("initial:", "final:")))
    left = min(n.box[0] for k, n in nodes.items() if "@" in k)
    texts = [n for n in nodes.values() if n.is_text and n.attributes["label"].endswith("(←)")]
    assert len(texts) == 4
    assert all(n.box[2] < max(right, left + 560) + 8 for n in texts)
