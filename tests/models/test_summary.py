"""`model.summary()`: a table of text, whose numbers are those of the model."""

import numpy as np
import pytest
from hypothesis import given
from support.models import stacks

from recurrent import (
    GRU,
    LSTM,
    Dropout,
    Embedding,
    Last,
    Linear,
    MaxPool,
    Recurrent,
    Seq2Seq,
    Sequential,
)


def test_a_stack_of_all_kinds():
    model = Sequential(
        LSTM(100, 2000, bidirectional=True, proj_size=300, peephole=True, recurrent_dropout=0.2),
        Recurrent("mgu", 600, 10),
        MaxPool(),
        Linear(10, 1),
        dtype="float64",
    )
    model[0].trainable = False
    lines = model.summary().splitlines()
    assert lines[0] == "Sequential"
    assert lines[1].split() == ["layer", "output", "parameters", "state"]
    assert [line[:50].rstrip() for line in lines[2:]] == [
        "  0  LSTM(100, 2000, peephole=True, recurrent_...",
        "  1  Recurrent('mgu', 600, 10)",
        "  2  MaxPool()",
        "  3  Linear(10, 1)",
        "     total",
    ]
    assert "(T, N, 600)" in lines[2]
    assert lines[2].endswith("h (N, 300), c (N, 2000) in both directions, frozen")
    assert lines[3].endswith("12,240  h (N, 10)")
    assert lines[4].endswith(" 0")
    assert "(N, 10)" in lines[4]
    assert lines[6].endswith(f"{model.size:,}  float64, 61.3 MB")
    end = lines[1].index("parameters") + len("parameters")
    for line in lines[2:]:  # numbers end in one column
        assert line[end - 1].isdigit()
        assert line[end : end + 1] in ("", " ")


def test_an_encoder_and_a_decoder():
    model = Seq2Seq(
        Sequential(Embedding(5, 2), GRU(2, 3)),
        Sequential(Embedding(6, 2), GRU(2, 3), Dropout(0.5), Linear(3, 6)),
    )
    lines = model.summary().splitlines()
    names = [line.split()[0] for line in lines[2:-1]]
    expected = ["encoder.0", "encoder.1", *(f"decoder.{k}" for k in range(4))]
    assert (lines[0], names) == ("Seq2Seq", expected)
    for name in model.parameters:
        assert name.rpartition(".")[0] in names


def test_layers_of_any_width_and_pools():
    assert "(T, N, D)" in Sequential(Dropout(0.1)).summary()
    lines = Sequential(GRU(2, 3), Last(), Linear(3, 1)).summary().splitlines()
    assert [line.split()[-3:] for line in lines[3:5]] == [["(N,", "3)", "0"], ["(N,", "1)", "4"]]


@pytest.mark.parametrize(
    ("layer", "words"),
    [(Linear(10, 1), "44 B"), (Linear(199, 205), "164 kB"), (Linear(5000, 5000), "100 MB")],
)
def test_memory_has_three_digits(layer, words):
    assert Sequential(layer).summary().splitlines()[-1].endswith(f"  float32, {words}")


@given(stacks())
def test_the_rows_add_up(model):
    lines = model.summary().splitlines()
    assert len(lines) == len(model) + 3
    end = lines[1].index("parameters") + len("parameters")
    numbers = [int(line[:end].split()[-1].replace(",", "")) for line in lines[2:]]
    assert numbers[:-1] == [layer.size for layer in model.layers]
    assert numbers[-1] == sum(numbers[:-1]) == model.size == np.size(model.flat)
