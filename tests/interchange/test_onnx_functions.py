"""Operators of ONNX that are formulas of others, against ONNX Runtime."""

import numpy as np
import pytest
from oracles.onnx import node_model, onnx_run_model

from recurrent.interchange.onnx import from_onnx


@pytest.mark.parametrize(
    ("op", "opset", "attributes", "entries"),
    [
        ("Gelu", 20, {}, None),
        ("Gelu", 20, {"approximate": "tanh"}, None),
        ("HardSwish", 17, {}, None),
        ("Mish", 18, {}, None),
        ("MeanVarianceNormalization", 17, {"axes": [0, 2]}, None),
        ("GroupNormalization", 18, {"num_groups": 2, "epsilon": 0.1}, 2),
        ("GroupNormalization", 21, {"num_groups": 2}, 6),
        ("GroupNormalization", 21, {"num_groups": 6}, 6),
    ],
)
@pytest.mark.parametrize("shape", [(2, 6, 5), (1, 6, 3, 4)])
def test_formulas(op, opset, attributes, entries, shape):
    if op == "MeanVarianceNormalization" and len(shape) == 4:
        attributes = {"axes": [0, 2, 3]}
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(0.5, 2, shape).astype(np.float32)}
    if entries:
        feeds |= {n: rng.standard_normal(entries).astype(np.float32) for n in ("scale", "bias")}
    constants = ("scale", "bias") if entries else ()
    data = node_model(op, feeds, constants=constants, opset=opset, **attributes)
    x = feeds["x"]
    y, (expected,) = from_onnx(data)(x), onnx_run_model(data, {"x": x})
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=2e-6, atol=2e-6)
