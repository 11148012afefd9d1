"""from_onnx reads the nodes that to_onnx writes, without the description that goes with them."""

import numpy as np
import pytest
from support.onnx_models import LAYERS, RECURRENT, graph_of_branches, inputs, randomised

from recurrent import Dropout, Graph, Hold, Sequential, from_onnx, to_onnx
from recurrent.interchange.onnx import Network

pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
pytest.importorskip("onnxscript", reason="ONNX files need onnxscript: recurrent-engine[onnx]")

MODELS = {name: lambda name=name: LAYERS[name]() for name in LAYERS}
MODELS |= {f"{k}, {kind}": lambda make=make: [make()] for k, (make, kind) in enumerate(RECURRENT)}
# Layers of nodes that are no layers, always or with lengths.
SEVERAL_NODES = ("one-hot", "attention", "tagger", "Scan")
WITH_LENGTHS = ("embedding", "last", "mean", "max", "convolution", "hold")


def without_description(model, lengths):
    proto = to_onnx(model, lengths=lengths)
    del proto.metadata_props[:]
    return from_onnx(proto)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_nodes_become_the_layers(name, lengths):
    """Bit for bit where nodes are layers; others run one by one, and agree to rounding."""
    model = randomised(Sequential(*MODELS[name](), batch_first=lengths))
    found = without_description(model, lengths)
    several = (*SEVERAL_NODES, *(WITH_LENGTHS if lengths else ()))
    runs = any(word in name for word in several)
    kind = Network if runs else Graph if name == "residual" else Sequential
    assert type(found) is kind
    if kind is Sequential:
        layers = [one for one in model.layers if not isinstance(one, (Dropout, Hold))]
        for ours, theirs in zip(found.layers, layers, strict=True):
            assert isinstance(ours, type(theirs))
    rng = np.random.default_rng(3)
    for T, N in ((5, 3), (2, 4)):
        x = inputs(model, T, N, rng)
        valid = np.r_[T, rng.integers(1, T + 1, N - 1)] if lengths else None
        expected = model(x, valid)
        if kind is Network:
            feeds = {"x": x} | ({"lengths": valid.astype(np.int32)} if lengths else {})
            np.testing.assert_allclose(found(feeds), expected, 1e-5, 1e-5)
        else:
            np.testing.assert_array_equal(found(x, valid), expected)


@pytest.mark.parametrize("lengths", [False, True])
def test_a_graph(lengths):
    model = randomised(graph_of_branches())
    found = without_description(model, lengths)
    rng = np.random.default_rng(3)
    x = {"ids": rng.integers(0, 7, (5, 3)), "x": rng.standard_normal((5, 3, 3)).astype("f")}
    given = {"lengths": np.array([5, 2, 3], np.int32)} if lengths else {}
    y = found({**x, **given})
    for name, expected in model(x, **given).items():
        np.testing.assert_allclose(y[name], expected, 1e-5, 1e-5)
