"""What exporters get wrong and a file still shows, in graphs made by hand."""

import warnings

import numpy as np
import pytest

from recurrent import from_onnx

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
W = np.arange(6, dtype="f").reshape(2, 3) / 7
CONSTANTS = {
    "W": W, "zero": np.array(0), "two": np.array(2), "last": np.array(-1), "axes": np.array([0]),
    "start": np.array([-1]), "end": np.array([-(2**40)]), "step": np.array([-1]),
    "frozen": np.array([3, -1, 1, 2]), "groups": np.array([2, -1]), "kept": np.array([0, 0, 2]),
}  # fmt: skip


def model(*nodes, shape=("steps", "N", 2)):
    """Return a model of nodes such as "MatMul x,W y", by PyTorch."""
    made = []
    for text in nodes:
        op, inputs, outputs, *options = text.split()
        values = {k: int(v) for k, v in (o.split("=") for o in options)}
        made.append(helper.make_node(op, inputs.split(","), outputs.split(","), **values))
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [onnx.numpy_helper.from_array(a, n) for n, a in CONSTANTS.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="pytorch")


TURNED = "Slice x,start,end,axes,step turned"
UNROLLED = {
    "the first step": (1, ["Gather x,zero a axis=0", "MatMul a,W b", "Tanh b y"]),
    "steps 0 and 2": (
        3,
        ["Gather x,zero a", "MatMul x,W b", "Gather b,two c", "MatMul a,W d", "Add c,d y"],
    ),
    "pieces": (2, ["Split x a,b", "Add a,b c", "MatMul c,W y"]),
    "a sequence": (
        3,
        [
            "SplitToSequence x s keepdims=0",
            "SequenceAt s,zero a",
            "SequenceAt s,two b",
            "Add a,b y",
        ],
    ),
    "a reversed one": (1, [TURNED, "Gather turned,zero a", "Gather x,zero b", "Add a,b y"]),
}


@pytest.mark.parametrize("name", UNROLLED)
def test_a_loop_that_is_unrolled(name):
    steps, nodes = UNROLLED[name]
    words = rf"pytorch unrolled the loop over time to {steps} steps?, and calls its length steps fr"
    with pytest.warns(UserWarning, match=words):
        made = from_onnx(model(*nodes))
    assert np.isfinite(made(np.ones((steps, 2, 2), "f"))).all()
    with pytest.raises(ValueError, match=f"\\({steps}, any, 2\\), which the file fixes"):
        made(np.ones((steps + 1, 2, 2), "f"))


def test_a_length_in_a_reshape():
    words = r"pytorch wrote the length 3 into a Reshape, and calls it free \(steps\)"
    with pytest.warns(UserWarning, match=words):
        made = from_onnx(model("Reshape x,frozen a", "Sinh a y"))
    assert made(np.ones((3, 2, 2), "f")).shape == (3, 2, 1, 2)
    with pytest.raises(ValueError, match=r"\(3, any, 2\), which the file fixes"):
        made(np.ones((2, 3, 2), "f"))


READ = {
    "all steps": ["MatMul x,W y"],
    "their sum": ["ReduceSum x,axes a", "MatMul a,W y"],
    "the last": ["Gather x,last a axis=0", "MatMul a,W y"],
    "the first and all": ["Gather x,zero a", "ReduceSum x,axes b", "Add a,b y"],
    "the first of a sum": ["CumSum x,zero a", "Gather a,zero b", "MatMul b,W y"],
    "a reshape that keeps axes": ["Reshape x,kept a", "Sinh a y"],
    "a reshape that makes groups": [
        "ReduceSum x,axes a keepdims=0",
        "Reshape a,groups b",
        "Sinh b y",
    ],
    "the first of others": ["Gather x,zero y axis=2"],
}


@pytest.mark.parametrize("name", READ)
def test_a_file_that_is_free_as_it_says(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = from_onnx(model(*READ[name]))
    for steps in (2, 5):
        assert np.isfinite(made(np.ones((steps, 4, 2), "f"))).all()


def test_a_file_of_one_length_is_right():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_onnx(model("Split x a,b", "Add a,b y", shape=(2, "N", 2)))


def test_an_lstm_that_lost_its_projection():
    shapes = {"K": (1, 8, 2), "R": (1, 8, 2), "h": (1, 3, 2), "c": (1, 3, 4)}
    proto = model("LSTM x,K,R,,,h,c y hidden_size=2")
    arrays = [onnx.numpy_helper.from_array(np.zeros(s, "f"), n) for n, s in shapes.items()]
    proto.graph.initializer.extend(arrays)
    with pytest.raises(ValueError, match=r"initial_h of 2 units and an initial_c of 4: PyTorch's"):
        from_onnx(proto)
