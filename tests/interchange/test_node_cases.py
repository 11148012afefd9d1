"""ONNX's own tests of all its operators, run by Network."""

import warnings

import numpy as np
import pytest

from recurrent.interchange.onnx import Network
from recurrent.interchange.onnx.rewriting import inlined

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")

KINDS = (
    onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.BOOL, *range(2, 8), 12, 13,
    onnx.TensorProto.STRING,
)  # fmt: skip
# Random results, Scan of version 8, which is refused, lengths of texts, and an optional in a list.
LEFT_OUT = ("bernoulli", "scan_sum", "strnormalizer", "string_concat", "if_opt")


def cases():
    """Return the cases of dtypes that a network has."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    for case in found:
        graph = case.model.graph
        kinds = {
            v.type.tensor_type.elem_type
            for v in (*graph.input, *graph.output)
            if v.type.HasField("tensor_type")
        }
        if kinds <= set(KINDS) and not case.name.startswith(tuple(f"test_{n}" for n in LEFT_OUT)):
            yield case


def value(a):
    return onnx.numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else a


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_case():
    wrong, count = {}, 0
    for case in cases():
        count += 1
        try:
            _check(case)
        except Exception as error:  # all are reported together
            wrong[case.name] = " ".join(str(error).split())[:200]
    assert not wrong
    assert count > 1_500


def _check(case):
    model = inlined(case.model)
    made = Network(model)
    for given, expected in case.data_sets:
        names = [i.name for i in model.graph.input]
        feeds = {n: value(a) for n, a in zip(names, given, strict=False) if a is not None}
        found = made(feeds)
        found = list(found.values()) if len(made.outputs) > 1 else [found]
        for a, b in zip(found, expected, strict=True):
            if isinstance(b, list):
                assert len(a) == len(b)
            pairs = zip(a, b, strict=True) if isinstance(b, list) else [(a, b)]
            for mine, their in pairs:
                _equal(mine, value(their))


def _equal(a, b):
    if b is None:
        assert a is None
        return
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    if b.dtype.kind == "f":
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    else:
        np.testing.assert_array_equal(a, b)
