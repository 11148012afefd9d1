"""Pictures of models with a Residual, nested models and shared parameters."""

import numpy as np
import pytest
from support.dot_reader import read

import viz
from recurrent import GRU, LSTM, Dropout, Embedding, Linear, ReLU, Residual, Sequential
from recurrent.losses import mean_squared_error
from viz.draw import palette


def model():
    inner = Sequential(Residual(LSTM(4, 4, learn_state=True), Dropout(0.2)), ReLU())
    return Sequential(LSTM(3, 4), inner, Linear(4, 2, bias=False), rng=0)


@pytest.fixture(scope="module")
def recording():
    x = np.random.default_rng(0).standard_normal((5, 2, 3), "f")
    return model().record(x, np.zeros((5, 2, 2), "f"), mean_squared_error)


def texts(drawing):
    return drawing.source.replace("\\n", " ")


def test_the_network_shows_its_states_in_their_colours(recording):
    drawing = viz.network(model())
    assert "0.h (N, 4), 1 step later" in texts(drawing)
    assert "Residual(LSTM(4, 4, learn_state=True), Dropout(p=0.2))" in texts(drawing)
    assert palette.state("0.h", 5) == palette.state("h", 0)
    assert "8 parameters" in texts(drawing)
    assert viz.network(model(), recording=recording).source


def test_the_network_counts_shared_parameters_once():
    tied = Sequential(Embedding(7, 4), LSTM(4, 4), Linear(4, 7), tie={"2.weight": "0.weight"})
    source = texts(viz.network(tied))
    assert "28 parameters" in source
    assert "Linear(4, 7) 7 parameters" in source
    assert f"{tied.size} parameters in total" in source


def test_it_is_a_row_of_the_unrolled_network_with_its_states(recording):
    for drawing in (viz.unrolled(model(), steps=3), viz.unrolled(model(), recording=recording)):
        nodes = read(drawing.source)[0]
        labels = {node.attributes.get("label") for node in nodes.values()}
        assert {"Residual", "ReLU", "Linear", "0.h0", "h = 0"} <= labels
    both = Sequential(Residual(GRU(3, 3, bidirectional=True, merge="sum")))
    labels = {
        node.attributes.get("label")
        for node in read(viz.unrolled(both, steps=3).source)[0].values()
    }
    assert {"Residual →", "Residual ←", "x + f"} <= labels


def test_pages_and_texts_have_it(recording):
    net = model()
    assert "Residual" in str(viz.explore(net, recording).source)
    with pytest.raises(
        TypeError, match=r"cell draws a recurrent layer, such as model\[0\], got Residual"
    ):
        viz.cell(net[1])
    assert viz.cell(net[1].inner[0]).source
