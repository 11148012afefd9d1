"""from_onnx: chains of layers, other networks, and files that are no models."""

import warnings

import numpy as np
import pytest

import recurrent
from recurrent import GRU, LSTM, RNN, Embedding, Graph, Last, Linear, Sequential
from recurrent.interchange.onnx import Network, from_onnx

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
runtime = pytest.importorskip("onnxruntime", reason="this oracle is onnxruntime")
helper, FLOAT, INT64 = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
KINDS = {"RNN": (RNN, 1), "LSTM": (LSTM, 4), "GRU": (GRU, 3)}
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32) / 2


def model(nodes, arrays, inputs=None, outputs=("y",), producer="", opset=17):
    """Return the bytes of a model; `inputs` are shapes by name, int64 for ids and lengths."""
    inputs = inputs or {"x": ("a", "b", 4)}
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info(n, INT64 if n in ("ids", "lengths") else FLOAT, shape)
            for n, shape in inputs.items()
        ],
        [helper.make_tensor_value_info(n, FLOAT, None) for n in outputs],
        [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    proto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name=producer
    )
    return proto.SerializeToString()


def theirs(data, feeds, fuses=True):
    options = runtime.SessionOptions()
    if not fuses:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def recurrent_arrays(kind, count, D, H, prefix=""):
    G = KINDS[kind][1]
    return {
        f"{prefix}W": normal(count, G * H, D),
        f"{prefix}R": normal(count, G * H, H),
        f"{prefix}B": normal(count, 2 * G * H),
    }


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(","), outputs.split(","), **attributes)


def chain(kind, direction="forward", batch_first=False, last=None):
    """Return the bytes of Embedding, a recurrent node and Linear, as PyTorch writes them."""
    count = 2 if direction == "bidirectional" else 1
    own = {"linear_before_reset": 1} if kind == "GRU" else {}
    arrays = recurrent_arrays(kind, count, 4, 5) | {
        "table": normal(11, 4), "V": normal(5 * count, 3), "v": normal(3),
        "shape": np.array([0, 0, -1]), "first": np.array([0]), "one": np.array([1]),
        "minus": np.array(-1),
    }  # fmt: skip
    nodes = [node("Gather", "table,ids", "rows")]
    data = "rows"
    if batch_first:
        nodes.append(node("Transpose", "rows", "turned", perm=[1, 0, 2]))
        data = "turned"
    # Zeros as the initial state, from the sizes of x.
    nodes += [
        node("Shape", data, "sizes"),
        node("Slice", "sizes,one,two", "batch"),
        node("Concat", "count,batch,five", "state_shape", axis=0),
        node("ConstantOfShape", "state_shape", "zeros"),
    ]
    arrays |= {"two": np.array([2]), "count": np.array([count]), "five": np.array([5])}
    states = ",zeros,zeros" if kind == "LSTM" else ",zeros"
    nodes += [
        node(kind, f"{data},W,R,B,{states}", "Y,Yh", hidden_size=5, direction=direction, **own)
    ]
    if last == "state":
        turn = [node("Transpose", "Yh", "n", perm=[1, 0, 2]), node("Reshape", "n,flat", "h")]
        arrays["flat"] = np.array([0, -1])
    else:
        turn = [node("Transpose", "Y", "n", perm=[0, 2, 1, 3]), node("Reshape", "n,shape", "h")]
        if last == "step":
            turn += [node("Gather", "h,minus", "hl", axis=0)]
        elif batch_first:
            turn += [node("Transpose", "h", "hl", perm=[1, 0, 2])]
    end = turn[-1].output[0]
    nodes += [
        *turn,
        node("MatMul", f"{end},V", "p"),
        node("Add", "p,v", "q"),
        node("Tanh", "q", "y"),
    ]
    return model(nodes, arrays, {"ids": ("a", "b")})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    ("direction", "last"),
    [
        ("forward", None), ("forward", "step"), ("forward", "state"), ("bidirectional", None),
        ("bidirectional", "state"),
    ],
)  # fmt: skip
def test_chains_become_layers(kind, batch_first, direction, last):
    data = chain(kind, direction, batch_first, last)
    made = from_onnx(data)
    assert isinstance(made, Sequential)
    layer = Last() if direction == "forward" else Last(bidirectional=True)
    kinds = [Embedding, KINDS[kind][0], *[type(layer)] * bool(last), Linear, recurrent.Tanh]
    assert [type(one) for one in made.layers] == kinds
    assert made.batch_first == batch_first
    for shape in ((6, 3), (2, 5)):
        ids = RNG.integers(0, 11, shape)
        (expected,) = theirs(data, {"ids": ids})
        y = made(ids)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, atol=2e-6)


def test_a_chain_can_be_trained():
    made = from_onnx(chain("LSTM"))
    ids = RNG.integers(0, 11, (4, 2))
    y, _, tape = made.forward(ids, record=True)
    grads = made.backward(np.ones_like(y), tape)
    assert all(np.abs(g).sum() > 0 for n, g in grads.params.items() if "weight" in n)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_known_layers_need_no_optimiser(direction, monkeypatch):
    """Its import takes seconds. Constants are computed without it: weights that are turned."""
    proto = onnx.load_from_string(chain("LSTM", direction))
    (table,) = [t for t in proto.graph.initializer if t.name == "V"]
    turned = onnx.numpy_helper.to_array(table).T
    table.CopyFrom(onnx.numpy_helper.from_array(turned.copy(), "U"))
    proto.graph.node.insert(0, node("Transpose", "U", "V"))
    expected = from_onnx(chain("LSTM", direction))
    monkeypatch.setattr("recurrent.interchange.onnx.loading.optimised", None)
    found = from_onnx(proto)
    assert [type(one) for one in found.layers] == [type(one) for one in expected.layers]
    np.testing.assert_array_equal(found.layers[-2].parameters["weight"], turned)


def test_the_same_chain_as_a_network():
    """The nodes one by one agree with the layers; training is refused with the reason."""
    data = chain("GRU", "bidirectional")
    proto = onnx.load_from_string(data)
    proto.graph.output.append(helper.make_tensor_value_info("Yh", FLOAT, None))
    both = from_onnx(proto.SerializeToString(), ["y", "Yh"])
    assert isinstance(both, Network)
    ids = RNG.integers(0, 11, (5, 2))
    alone = from_onnx(proto.SerializeToString(), "y")
    assert isinstance(alone, Sequential)
    found = both(ids)
    np.testing.assert_allclose(found["y"], alone(ids), atol=2e-6)
    _, state = theirs(proto.SerializeToString(), {"ids": ids})
    np.testing.assert_allclose(found["Yh"], state, atol=2e-6)
    with pytest.raises(AttributeError, match=r"cannot be trained, .* output Yh has final states"):
        both.fit(ids, ids)


def test_a_network_with_branches_equals_onnxruntime():
    arrays = recurrent_arrays("LSTM", 1, 4, 5) | {"axes": np.array([1]), "V": normal(5, 4)}
    nodes = [
        node("LSTM", "x,W,R,B", "Y", hidden_size=5), node("Squeeze", "Y,axes", "h"),
        node("MatMul", "h,V", "p"), node("Sub", "p,x", "s"), node("Softmax", "s", "y"),
    ]  # fmt: skip
    data = model(nodes, arrays)
    made = from_onnx(data)
    assert isinstance(made, Network)
    assert made.why == "Sub s has no layer here"
    for shape in ((6, 3, 4), (2, 1, 4)):
        x = normal(*shape)
        np.testing.assert_allclose(made(x), theirs(data, {"x": x})[0], atol=2e-6)


CHAINS = ("GRU", "GRU Last", "GRU GRU Last")


def branches():
    """Yield graphs of layers: nodes, arrays, shapes of inputs, names of outputs, our layers."""
    lstm = recurrent_arrays("LSTM", 1, 4, 5) | {"axes": np.array([1]), "V": normal(5, 4)}
    lstm |= {"minus": np.array(-1), "last": np.array([-1]), "end": np.array([2**31 - 1])}
    lstm |= {"zero": np.array([0]), "v": normal(4)}
    layer = [node("LSTM", "x,W,R,B", "Y,Yh", hidden_size=5), node("Squeeze", "Y,axes", "h")]
    linear = [*layer, node("MatMul", "h,V", "p")]
    x = {"x": ("T", "N", 4)}
    yield "residual", [*linear, node("Add", "x,p", "y")], lstm, x, "y", "LSTM Linear Add"
    gate = [node("Sigmoid", "x", "g"), node("Mul", "p,g", "y")]
    yield "gate", [*linear, *gate], lstm, x, "y", "LSTM Linear Sigmoid Multiply"
    skip = [node("Concat", "x,h", "c", axis=-1), node("Tanh", "c", "y")]
    yield "skip", [*layer, *skip], lstm, x, "y", "LSTM Concat Tanh"
    bias = [node("Add", "v,p", "q"), node("Add", "q,x", "y")]
    yield "bias", [*linear, *bias], lstm, x, "y", "LSTM Linear Add"
    two = [node("Add", "p,z", "y")]
    yield "inputs", [*linear, *two], lstm, x | {"z": ("T", "N", 4)}, "y", "LSTM Linear Add"
    ends = [node("Gather", "h,minus", "s", axis=0), node("Identity", "p", "y")]
    yield "outputs", [*linear, *ends], lstm, x, "y s", "LSTM Linear Last"
    state = [node("Squeeze", "Yh,zero", "s"), node("Identity", "p", "y")]
    yield "state", [*linear, *state], lstm, x, "y s", "LSTM Linear Last"
    pools = [
        node("ReduceMean", "h", "m", axes=[0], keepdims=0),
        node("ReduceMax", "h", "n", axes=[0], keepdims=1), node("Squeeze", "n,zero", "o"),
        node("Slice", "h,last,end,zero", "l"), node("Squeeze", "l,zero", "k"),
        node("Concat", "m,o,k", "y", axis=1),
    ]  # fmt: skip
    yield "pools", [*layer, *pools], lstm, x, "y", "LSTM MeanPool MaxPool Last Concat"
    both = recurrent_arrays("GRU", 2, 4, 5) | {"axes": np.array([1]), "zero": np.array([0])}
    options = dict(hidden_size=5, direction="bidirectional")
    gru = [node("GRU", "x,W,R,B", "Y,Yh", **options)]
    for op in ("ReduceMean", "ReduceProd"):
        merged = [*gru, node(op, "Y", "y", axes=[1], keepdims=0)]
        yield op, merged, both, x, "y", "GRU"
    stack = [
        node("Transpose", "Y", "t", perm=[0, 2, 1, 3]), node("Reshape", "t,shape", "h"),
        node("GRU", "h,W2,R2,B2", "Y2,Yh2", **options), node("Concat", "Yh,Yh2", "n", axis=0),
        node("Gather", "n,minus2", "f", axis=0), node("Gather", "n,minus", "b", axis=0),
        node("Concat", "f,b", "y", axis=1),
    ]  # fmt: skip
    more = recurrent_arrays("GRU", 2, 10, 5)
    both |= {f"{k}2": a for k, a in more.items()}
    both |= {"shape": np.array([0, 0, -1]), "minus": np.array(-1), "minus2": np.array(-2)}
    yield "states", [*gru, *stack], both, x, "y", "GRU GRU Last"
    layers = [*gru, *stack[:-1], node("Gather", "n,one", "c", axis=0)]
    layers += [node("Gather", "n,first", "a", axis=0), node("Concat", "a,c,f,b", "y", axis=1)]
    both = both | {"first": np.array(0), "one": np.array(1)}
    yield "all states", layers, both, x, "y", "GRU GRU Last Last Concat"
    groups = [
        *gru, *stack[:-3], node("Reshape", "n,two", "g"), node("Gather", "g,minus", "l", axis=0),
        node("Split", "l", "f,b", axis=0), node("Concat", "f,b", "c", axis=2),
        node("Squeeze", "c,zero", "y"),
    ]  # fmt: skip
    both |= {"two": np.array([2, 2, -1, 5]), "five": np.array([5]), "ten": np.array([10])}
    both |= {"last": np.array([2]), "unit": np.array([1])}
    yield "groups", groups, both, x, "y", "GRU GRU Last"
    halves = [
        *gru, *stack[:2], node("Slice", "h,zero,five,last", "f"),
        node("Slice", "h,five,ten,last", "b"), node("Add", "f,b", "y"),
    ]  # fmt: skip
    yield "sum", halves, both, x, "y", "GRU"
    ends = [
        *halves[:-1], node("Gather", "f,minus", "d", axis=0),
        node("Slice", "b,zero,unit,zero", "e"), node("Squeeze", "e,zero", "k"),
        node("Concat", "d,k", "y", axis=-1),
    ]  # fmt: skip
    yield "ends", ends, both, x, "y", "GRU Last"
    ways = [node("RNN", f"x,{k}W,{k}R", f"{k}Y", hidden_size=5, direction=k)
            for k in ("forward", "reverse")]  # fmt: skip
    ways += [node("Squeeze", f"{k}Y,axes", f"{k}h") for k in ("forward", "reverse")]
    ways += [node("Concat", "forwardh,reverseh", "y", axis=2)]
    arrays = {n: a for k in ("forward", "reverse") for n, a in recurrent_arrays("RNN", 1, 4, 5, k).items()}  # fmt: skip  # noqa: E501
    yield "two ways", ways, arrays | {"axes": np.array([1])}, x, "y", "RNN RNN Concat"


@pytest.mark.parametrize(
    ("nodes", "arrays", "inputs", "outputs", "kinds"),
    [pytest.param(*rest, id=name) for name, *rest in branches()],
)
def test_branches_become_layers(nodes, arrays, inputs, outputs, kinds):
    names = outputs.split()
    data = model(nodes, arrays, inputs, names)
    made = from_onnx(data)
    assert isinstance(made, (Sequential, Graph)), made.why
    assert [type(one).__name__ for one in made.layers] == kinds.split()
    assert isinstance(made, Sequential if kinds in CHAINS else Graph)
    for T, N in ((6, 3), (2, 1)):
        x = {name: normal(T, N, 4) for name in inputs}
        ours = made(x if len(x) > 1 else x["x"])
        ours = ours if isinstance(ours, dict) else {"y": ours}
        assert list(ours) == names
        for found, expected in zip(ours.values(), theirs(data, x), strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-6)
    y, _, tape = made.forward(x if len(x) > 1 else x["x"], record=True)
    grads = made.backward(y, tape)
    assert all(np.abs(g).sum() > 0 for n, g in grads.params.items() if "weight" in n)


def test_equal_layers_are_one_layer():
    """An LSTM that is used twice, and an Embedding whose weights are those of the Linear."""
    arrays = recurrent_arrays("LSTM", 1, 4, 4) | {"axes": np.array([1]), "table": normal(9, 4)}
    arrays["turned"] = arrays["table"].T
    nodes = [
        node("Gather", "table,ids", "e"), node("LSTM", "e,W,R,B", "Y", hidden_size=4),
        node("Squeeze", "Y,axes", "h"), node("LSTM", "h,W,R,B", "Z", hidden_size=4),
        node("Squeeze", "Z,axes", "g"), node("Add", "g,e", "s"), node("MatMul", "s,turned", "y"),
    ]  # fmt: skip
    data = model(nodes, arrays, {"ids": ("T", "N")})
    made = from_onnx(data)
    assert made.tie == {"y.weight": "e.weight", **{f"Z.{n}": f"Y.{n}" for n in made["Y"].shapes}}
    assert made.size == 9 * 4 + 2 * 16 * 4 + 2 * 16
    ids = RNG.integers(0, 9, (5, 2))
    np.testing.assert_allclose(made(ids), theirs(data, {"ids": ids})[0], atol=2e-6)
    arrays["turned"] = np.ones((4, 9), np.float32)
    assert "e.weight" not in from_onnx(model(nodes, arrays, {"ids": ("T", "N")})).tie.values()


def packed(kind, way, is_sorted):
    """Return a model with lengths, sorted by the file or by the caller, as PyTorch writes it."""
    arrays = recurrent_arrays(kind, 2 if way == "bidirectional" else 1, 4, 5)
    arrays |= {"zero": np.array(0), "one": np.array(1), "all": np.array([-1])}
    arrays |= {"axes": np.array([1]), "shape": np.array([0, 0, -1])}
    x, lengths, turn = "x", "lengths", "h"
    nodes = []
    if is_sorted:
        x, lengths, turn = "xs", "top", "hs"
        nodes += [
            node("Shape", "lengths", "n"), node("Gather", "n,all", "k"),
            node("TopK", "lengths,k", "top,order", axis=-1),
            node("Gather", "x,order", "xs", axis=1),
            node("Shape", "order", "m"), node("ReduceProd", "m", "count", keepdims=0),
            node("Range", "zero,count,one", "numbers"), node("ConstantOfShape", "m", "empty"),
            node("ScatterElements", "empty,order,numbers", "back"),
        ]  # fmt: skip
        arrays_of_zero = onnx.numpy_helper.from_array(np.array([0]))
        nodes[-2].attribute.append(helper.make_attribute("value", arrays_of_zero))
    nodes += [
        node("Cast", lengths, "c", to=onnx.TensorProto.INT32),
        node(kind, f"{x},W,R,B,c", "Y", hidden_size=5, direction=way),
        node("Transpose", "Y", "t", perm=[0, 2, 1, 3]), node("Reshape", "t,shape", turn),
    ]  # fmt: skip
    if is_sorted:
        nodes.append(node("Gather", "hs,back", "h", axis=1))
    nodes.append(node("Tanh", "h", "y"))
    return model(nodes, arrays, {"x": ("T", "N", 4), "lengths": ("N",)})


@pytest.mark.parametrize("is_sorted", [False, True])
@pytest.mark.parametrize(("kind", "way"), [("LSTM", "forward"), ("RNN", "bidirectional")])
def test_lengths_become_the_argument(kind, way, is_sorted):
    data = packed(kind, way, is_sorted)
    made = from_onnx(data)
    assert isinstance(made, Sequential)
    x, lengths = normal(6, 4, 4), np.array([2, 6, 1, 4])
    (expected,) = theirs(data, {"x": x, "lengths": lengths})
    y = made.forward(x, lengths=lengths)[0]
    np.testing.assert_allclose(y, expected, atol=2e-6)


def test_what_reads_the_padding_is_no_layer():
    """The last step of padded sequences is not that of the file."""
    proto = onnx.load_from_string(packed("LSTM", "forward", False))
    del proto.graph.node[-1]
    proto.graph.node.append(node("Gather", "h,last", "y", axis=0))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(-1), "last"))
    made = from_onnx(proto)
    assert isinstance(made, Network)
    assert made.why == "y reads the padding of sequences"
    x, lengths = normal(6, 4, 4), np.array([2, 6, 1, 4])
    (expected,) = theirs(proto.SerializeToString(), {"x": x, "lengths": lengths})
    np.testing.assert_allclose(made({"x": x, "lengths": lengths}), expected, atol=2e-6)


def test_initial_states_become_the_argument():
    """Two layers whose states are stacked in inputs and outputs, as PyTorch writes them."""
    arrays = {f"{k}{i}": a for i, D in enumerate((4, 5))
              for k, a in recurrent_arrays("LSTM", 1, D, 5).items()}  # fmt: skip
    arrays |= {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2])}
    nodes = [
        node("Slice", f"{s}0,{k},{end},zero", f"{s}_{k}")
        for s in "hc" for k, end in (("zero", "one"), ("one", "two"))
    ]  # fmt: skip
    nodes += [
        node("LSTM", "x,W0,R0,B0,,h_zero,c_zero", "Y0,H0,C0", hidden_size=5),
        node("Squeeze", "Y0,one", "y0"),
        node("LSTM", "y0,W1,R1,B1,,h_one,c_one", "Y1,H1,C1", hidden_size=5),
        node("Squeeze", "Y1,one", "y"),
        node("Concat", "H0,H1", "hn", axis=0), node("Concat", "C0,C1", "cn", axis=0),
    ]  # fmt: skip
    shapes = {"x": ("T", "N", 4), "h0": (2, "N", 5), "c0": (2, "N", 5)}
    data = model(nodes, arrays, shapes, ("y", "hn", "cn"))
    words = r"left out hn, cn: .* forward\(x\)\[1\] returns .* outputs=\['y', 'hn', 'cn'\]"
    with pytest.warns(UserWarning, match=words):
        made = from_onnx(data)
    assert [type(one) for one in made.layers] == [LSTM, LSTM]
    x, h, c = normal(6, 3, 4), normal(2, 3, 5), normal(2, 3, 5)
    y, hn, cn = theirs(data, {"x": x, "h0": h, "c0": c})
    ours, final, _ = made.forward(x, tuple(zip(h, c, strict=True)))
    np.testing.assert_allclose(ours, y, atol=2e-6)
    np.testing.assert_allclose(np.stack([one.h for one in final]), hn, atol=2e-6)
    np.testing.assert_allclose(np.stack([one.c for one in final]), cn, atol=2e-6)
    zero = np.zeros_like(h)
    np.testing.assert_allclose(
        made(x), theirs(data, {"x": x, "h0": zero, "c0": zero})[0], atol=2e-6
    )
    assert isinstance(from_onnx(data, "y"), Sequential)
    assert isinstance(from_onnx(data, ["y", "hn"]), Network)


@pytest.mark.parametrize("kind", KINDS)
def test_constant_initial_states_are_learned(kind):
    """A state that is repeated for all sequences, by Expand or by Tile; c of an LSTM is zeros."""
    arrays = recurrent_arrays(kind, 2, 4, 5) | {"h": normal(2, 1, 5), "shape": np.array([0, 0, -1])}
    arrays |= {"one": np.array([1]), "two": np.array([2]), "five": np.array([5])}
    for op in ("Expand", "Tile"):
        nodes = [
            node("Shape", "x", "n", start=1, end=2),
            node("Concat", "two,n,five" if op == "Expand" else "one,n,one", "s", axis=0),
            node(op, "h,s", "h0"),
            node(kind, "x,W,R,B,,h0", "Y", hidden_size=5, direction="bidirectional"),
            node("Transpose", "Y", "t", perm=[0, 2, 1, 3]), node("Reshape", "t,shape", "y"),
        ]  # fmt: skip
        data = model(nodes, arrays)
        made = from_onnx(data)
        assert isinstance(made, Sequential)
        np.testing.assert_array_equal(made.parameters["0.h0_reverse"], arrays["h"][1, 0])
        x = normal(4, 3, 4)
        np.testing.assert_allclose(made(x), theirs(data, {"x": x})[0], atol=2e-6)
    arrays["h0"] = normal(2, 3, 5)  # one for each of three sequences
    made = from_onnx(model(nodes[3:], arrays))
    assert made.why.endswith("it has an initial state for each sequence")


def test_an_if_whose_branch_is_known_is_read():
    """PyTorch writes it for squeeze(1), whose axis may be of another length."""
    arrays = recurrent_arrays("RNN", 1, 4, 5) | {"axes": np.array([1]), "V": normal(5, 2)}
    arrays |= {"zero": np.array([0]), "last": np.array([-1]), "end": np.array([2**31 - 1])}
    arrays |= {"none": np.array(0), "one": np.array(1)}
    info = helper.make_tensor_value_info("u", FLOAT, None)
    then = helper.make_graph([node("Squeeze", "l,zero", "u")], "then", [], [info])
    info = helper.make_tensor_value_info("v", FLOAT, None)
    other = helper.make_graph([node("Identity", "l", "v")], "other", [], [info])

    def nodes(source):
        return [
            node("RNN", "x,W,R,B", "Y", hidden_size=5), node("Squeeze", "Y,axes", "h"),
            node("Slice", "h,last,end,zero", "l"), node("Shape", source, "s"),
            node("Gather", "s,none", "n", axis=0), node("Equal", "n,one", "is_one"),
            node("If", "is_one", "w", then_branch=then, else_branch=other),
            node("MatMul", "w,V", "y"),
        ]  # fmt: skip

    data = model(nodes("l"), arrays)
    made = from_onnx(data)
    assert [type(one) for one in made.layers] == [RNN, Last, Linear]
    x = normal(4, 3, 4)
    np.testing.assert_allclose(made(x), theirs(data, {"x": x})[0], atol=2e-6)
    made = from_onnx(model(nodes("x"), arrays))  # how long the sequences are
    assert made.why == "If w has no layer here"


@pytest.mark.parametrize("target", [[-1, 1], [0, 2, 2, 1], [4, -1, 1]])
def test_a_reshape_that_mixes_axes_is_no_layer(target):
    arrays = {"V": normal(4, 1), "shape": np.array(target)}
    nodes = [node("MatMul", "x,V", "p"), node("Reshape", "p,shape", "y")]
    made = from_onnx(model(nodes, arrays, {"x": (2, 4, 4)}))
    assert isinstance(made, Network)
    assert "a Reshape changes more than the directions" in made.why


def gru(reset_after, producer="pytorch"):
    arrays = recurrent_arrays("GRU", 1, 4, 5) | {"axes": np.array([1])}
    own = {"linear_before_reset": 1} if reset_after else {}
    nodes = [node("GRU", "x,W,R,B", "Y", hidden_size=5, **own), node("Squeeze", "Y,axes", "y")]
    return model(nodes, arrays, producer=producer)


def test_a_gru_of_pytorch_that_resets_before_is_warned_of():
    data = gru(False)
    with pytest.warns(UserWarning, match=r"almost surely a fault .* gru_reset_after=True"):
        before = from_onnx(data)
    x = normal(4, 2, 4)
    np.testing.assert_allclose(before(x), theirs(data, {"x": x})[0], atol=2e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = from_onnx(data, gru_reset_after=True)
        from_onnx(gru(False, "someone"))
        from_onnx(gru(True))
    assert after[0].cell.name == "gru"
    assert before[0].cell.name == "gru(reset_after=False)"
    np.testing.assert_array_equal(after[0].params.W_hh, before[0].params.W_hh)


def test_a_frozen_length_is_read_as_any():
    arrays = recurrent_arrays("RNN", 1, 4, 5) | {"shape": np.array([6, -1, 5])}
    nodes = [
        node("RNN", "x,W,R,B", "Y", hidden_size=5), node("Transpose", "Y", "n", perm=[0, 2, 1, 3]),
        node("Reshape", "n,shape", "y"),
    ]  # fmt: skip
    data = model(nodes, arrays)
    with pytest.warns(UserWarning, match="the length 6 of time"):
        made = from_onnx(data)
    x = normal(6, 3, 4)
    np.testing.assert_allclose(made(x), theirs(data, {"x": x})[0], atol=2e-6)
    assert made(x[:4]).shape == (4, 3, 5)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 14, 17, 22])
@pytest.mark.parametrize("kind", KINDS)
def test_versions_of_operators(kind, opset):
    arrays = recurrent_arrays(kind, 1, 4, 5) | ({"axes": np.array([1])} if opset >= 13 else {})
    squeeze = node("Squeeze", "Y,axes", "y") if opset >= 13 else node("Squeeze", "Y", "y", axes=[1])
    own = {"linear_before_reset": 1} if kind == "GRU" else {}
    nodes = [node(kind, "x,W,R,B", "Y", hidden_size=5, **own), squeeze]
    data = model(nodes, arrays, opset=opset)
    made = from_onnx(data)
    assert isinstance(made, Sequential)
    x = normal(3, 2, 4)
    np.testing.assert_allclose(made(x), theirs(data, {"x": x})[0], atol=2e-6)


def test_conv_norm_and_activations():
    arrays = {"W": normal(6, 4, 3), "b": normal(6), "g": normal(6), "c": normal(6)}
    nodes = [
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("Conv", "t,W,b", "u", pads=[4, 0], dilations=[2]),
        node("Transpose", "u", "w", perm=[0, 2, 1]),
        node("LayerNormalization", "w,g,c", "n"), node("LeakyRelu", "n", "l", alpha=0.2),
        node("Dropout", "l", "d"), node("Softmax", "d", "y"),
    ]  # fmt: skip
    data = model(nodes, arrays)
    made = from_onnx(data)
    assert isinstance(made, Sequential)
    assert made.batch_first
    for shape in ((2, 7, 4), (1, 3, 4)):
        x = normal(*shape)
        np.testing.assert_allclose(made(x), theirs(data, {"x": x})[0], atol=2e-6)


@pytest.mark.parametrize(("inputs", "layers", "words"), [(2, 2000, "layers"), (500, 1, "inputs")])
def test_models_of_very_many_parts_run_as_nodes(inputs, layers, words):
    names = [f"x{k}" for k in range(inputs)]
    sums = [names[0], *(f"s{k}" for k in range(1, inputs))]
    nodes = [node("Add", f"{sums[k - 1]},{names[k]}", sums[k]) for k in range(1, inputs)]
    ends = [sums[-1], *(f"h{k}" for k in range(layers))]
    nodes += [node("Tanh", ends[k], ends[k + 1]) for k in range(layers)]
    made = from_onnx(model(nodes, {}, dict.fromkeys(names, ("T", "N", 4)), ends[-1:]))
    assert isinstance(made, Network)
    assert made.why.endswith(words)
    x = normal(3, 2, 4)
    y = x * inputs
    for _ in range(layers):
        y = np.tanh(y)
    np.testing.assert_allclose(made(dict.fromkeys(names, x)), y, rtol=1e-3)


def normalised(**changes):
    """Return a LayerNorm as exporters of older opsets write it; `changes` are inputs of nodes."""
    arrays = {
        "two": np.array(2, np.float32),
        "eps": np.array(1e-3, np.float32),
        "four": np.array(4, np.float32),
    }
    arrays |= {"w": normal(4), "b": normal(4), "V": normal(4, 4)}
    inputs = {"d": "p,m", "v": "d,two", "e": "eps,n", "q": "d,s", "z": "q,w", "y": "z,b"} | changes
    ops = {"d": "Sub", "v": "Pow", "e": "Add", "q": "Div", "z": "Mul", "y": "Add"}
    made = {k: node(op, inputs[k], k) for k, op in ops.items()}
    nodes = [
        node("MatMul", "x,V", "p"), node("ReduceMean", "p", "m", axes=[-1]), made["d"], made["v"],
        node("ReduceMean", "v", "n", axes=[-1]), made["e"], node("Sqrt", "e", "s"), made["q"],
        made["z"], made["y"],
    ]  # fmt: skip
    return model(nodes, arrays, opset=13)


def test_a_layer_norm_of_older_opsets():
    data, x = normalised(), normal(5, 3, 4)
    made = from_onnx(data)
    assert [type(one) for one in made.layers] == [Linear, recurrent.LayerNorm]
    assert made.layers[1].eps == 1e-3
    np.testing.assert_allclose(made(x), theirs(data, {"x": x})[0], atol=2e-6)


@pytest.mark.parametrize(
    "changes",
    [{"d": "x,m"}, {"v": "d,four"}, {"q": "p,s"}, {"z": "d,w"}, {"y": "q,b"}, {"y": "d,b"}],
)
def test_what_is_no_layer_norm_runs_as_nodes(changes):
    """ONNX Runtime takes some of these for a LayerNorm, unless it is told to fuse nothing."""
    data, x = normalised(**changes), normal(5, 3, 4)
    made = from_onnx(data)
    assert isinstance(made, Network)
    expected = theirs(data, {"x": x}, fuses=False)[0]
    np.testing.assert_allclose(made(x), expected, rtol=1e-4, atol=1e-5)


def damaged():
    """Yield files that are no models, and the words about them."""
    good = gru(True)
    yield b"", "no graph"
    yield b"hello", "damaged|no graph"
    yield good[: len(good) // 2], "damaged|not valid|declares|no graph"
    proto = onnx.load_from_string(good)
    tensor = proto.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    yield proto.SerializeToString(), "'W' is in another file"
    proto = onnx.load_from_string(good)
    proto.graph.initializer[0].dims[:] = [2**40, 2**20]
    yield proto.SerializeToString(), "'W' declares 1,152,921,504,606,846,976 entries"
    proto = onnx.load_from_string(good)
    proto.graph.node[0].input[0] = "y"
    yield proto.SerializeToString(), "reads 'y', which nothing before it computes"
    inner = helper.make_graph([node("Identity", "x", "z")], "g", [], [])
    for _ in range(30):
        loop = node("Scan", "x", "z", body=inner, num_scan_inputs=1)
        inner = helper.make_graph([loop], "g", [], [])
    yield model(list(inner.node), {}, outputs=("z",)), "at most 16 deep"
    yield model([node("Frobnicate", "x", "y")], {}), "node Frobnicate .*cannot be run"


@pytest.mark.parametrize(("data", "words"), list(damaged()))
def test_files_that_are_no_models_are_refused_in_one_line(data, words):
    with pytest.raises(ValueError, match=words) as caught:
        from_onnx(data)
    assert "\n" not in str(caught.value)


def test_other_arguments_are_refused(tmp_path):
    with pytest.raises(TypeError, match="path of a file, its bytes or a ModelProto"):
        from_onnx(3)
    with pytest.raises(OSError, match="nowhere"):
        from_onnx(tmp_path / "nowhere.onnx")
    with pytest.raises(ValueError, match="outputs must be one of y, got 'z'"):
        from_onnx(gru(True), "z")
    path = tmp_path / "gru.onnx"
    path.write_bytes(gru(True))
    x = normal(3, 2, 4)
    np.testing.assert_array_equal(from_onnx(path)(x), from_onnx(onnx.load(path))(x))


@pytest.mark.parametrize("count", [150, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_changed_files_are_read_or_refused_in_one_line(count, caplog, capfd):
    rng = np.random.default_rng(count)
    files, messages = [chain("LSTM", "bidirectional", True), gru(True)], []
    for _ in range(count):
        data = bytearray(files[rng.integers(2)])
        for _ in range(rng.integers(1, 7)):
            data[rng.integers(len(data))] = rng.integers(256)
        if rng.random() < 0.1:
            del data[rng.integers(len(data)) :]
        try:
            from_onnx(bytes(data))
        except (TypeError, ValueError) as error:
            messages.append(str(error))
    refused = len(messages)
    assert not [words for words in messages if "\n" in words]
    assert count / 4 < refused < count
    assert (caplog.records, capfd.readouterr()) == ([], ("", ""))
