"""Quantised models of random layers, and of every cell, equal their dequantised weights.

Interpreted by NumPy, because compiling hundreds of cells takes too long; slow tests use kernels.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import batches, stacks
from support.quantized import KINDS, check

from recurrent import Linear, Sequential, kernels
from recurrent.cells import CELLS
from recurrent.layers.recurrent import layer_from_cell

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def interpreted():
    """Engines made during the test are interpreted by NumPy."""
    before, kernels.backend = kernels.backend, kernels.reference
    yield
    kernels.backend = before


def with_cell(name):
    """Return a model with a layer of a cell."""
    layer = layer_from_cell(name, 5, 6)
    return Sequential(layer, Linear(layer.out_features, 2), rng=0)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data(), st.sampled_from(KINDS))
def test_any_compiled_stack(data, kind):
    model = data.draw(stacks("float32", cell_options=False))
    check(model, *data.draw(batches(model)), kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CELLS)
def test_a_compiled_layer_of_every_cell(name, kind):
    x = np.random.default_rng(0).standard_normal((4, 3, 5), dtype=np.float32)
    check(with_cell(name), x, np.array([4, 0, 3]), kind)


# After those that compile: the fixture lasts until the end of the module.


@given(st.data(), st.sampled_from(KINDS))
def test_any_stack(interpreted, data, kind):
    model = data.draw(stacks("float32"))
    check(model, *data.draw(batches(model)), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CELLS)
def test_a_layer_of_every_cell(interpreted, name, kind):
    x = np.random.default_rng(0).standard_normal((4, 3, 5), dtype=np.float32)
    check(with_cell(name), x, np.array([4, 0, 3]), kind)
