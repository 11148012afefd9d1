"""ONNX's test data for recurrent nodes, in the layout of this project."""

import numpy as np
import pytest


def blocks(a, order):
    """Return the row blocks of `a` in another order: ONNX has LSTM i o f c and GRU z r h."""
    return np.concatenate([a.reshape(len(order), -1, *a.shape[1:])[k] for k in order])


def conformance():
    """Return by name: operator, attributes, inputs by name, expected outputs by name."""
    onnx = pytest.importorskip(
        "onnx", reason="the conformance data are onnx's: pip install recurrent-engine[test]"
    )
    from onnx.backend.test.case.node import _NodeTestCases as node_cases
    from onnx.backend.test.case.node import gru, lstm, rnn  # the import fills the list

    assert len({gru.__name__, lstm.__name__, rnn.__name__}) == 3

    def arrays(names, values):
        values = [v if isinstance(v, np.ndarray) else onnx.numpy_helper.to_array(v) for v in values]
        return dict(zip([n for n in names if n], values, strict=True))

    out = {}
    for case in node_cases:
        node, (inputs, expected) = case.model.graph.node[0], case.data_sets[0]
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        out[case.name] = (
            node.op_type,
            attributes,
            arrays(node.input, inputs),
            arrays(node.output, expected),
        )
    return out
