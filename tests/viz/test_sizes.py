"""Pictures of large networks are elided, and a caption says what is left out."""

import pytest
from support.dot_reader import read

import recurrent
import viz

NODES, EDGES, WIDEST = 600, 1500, 1700  # points: at 1,400 px a label of 9 points is still 7 px high


def deep():
    layers = [recurrent.LSTM(16 if k == 0 else 64, 32, bidirectional=True) for k in range(3)]
    return recurrent.Sequential(*layers, recurrent.Linear(64, 5), rng=0)


def wide():
    return recurrent.Sequential(recurrent.LSTM(65, 512), recurrent.LSTM(512, 512), rng=0)


CASES = {
    "3 bidirectional layers, 50 steps": (
        lambda: viz.unrolled(deep(), 50),
        "45 of 50 steps not drawn",
    ),
    "1,000 steps": (lambda: viz.unrolled(wide(), 1000), "995 of 1000 steps not drawn"),
    "1,000 steps in windows": (
        lambda: viz.unrolled(wide(), 1000, window=50),
        "991 of 1000 steps not drawn",
    ),
    "a unit of 1,024 inputs": (lambda: viz.unit(wide()[1], 100), "48 of 1,024 inputs drawn"),
    "a layer of 512 units": (lambda: viz.layer(wide()[1], unit=100), "512"),
    "the network": (lambda: viz.network(wide()), "3,287,040 parameters in total"),
    "the cell": (lambda: viz.cell(wide()[1]), "512 units"),
}


@pytest.mark.parametrize("name", CASES)
def test_large_networks_are_elided_and_captioned(name):
    draw, caption = CASES[name]
    drawing = draw()
    nodes, edges, _ = read(drawing.source)
    assert len(nodes) <= NODES
    assert len(edges) <= EDGES
    assert drawing.size[0] <= WIDEST
    shown = " ".join(n.attributes.get("label", "") for n in nodes.values())
    assert caption in shown
