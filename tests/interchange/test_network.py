"""Network: graphs of ONNX that are no chain of layers, against ONNX Runtime."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recurrent.interchange.onnx import Network, from_onnx

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")
runtime = pytest.importorskip("onnxruntime", reason="this oracle is onnxruntime")
helper, FLOAT, INT64, BOOL = (
    onnx.helper,
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.INT64,
    onnx.TensorProto.BOOL,
)
KINDS = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64, np.dtype(bool): BOOL}
T, N, D, H = 4, 3, 2, 5


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(","), outputs.split(","), **attributes)


def graph(nodes, inputs, outputs, arrays=(), name="g"):
    """Return a GraphProto; `inputs` are arrays by name, whose dtypes count."""
    return helper.make_graph(
        nodes,
        name,
        [
            helper.make_tensor_value_info(
                n, KINDS[np.asarray(a).dtype], [None] * np.asarray(a).ndim
            )
            for n, a in inputs.items()
        ],
        [
            helper.make_tensor_value_info(n, kind, None)
            for n, _, kind in ((*o.partition(":")[:2], FLOAT) for o in outputs)
        ],
        [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in dict(arrays).items()],
    )


def model(nodes, inputs, outputs, arrays=(), opset=17, functions=()):
    """Return the bytes of a model."""
    proto = helper.make_model(
        graph(nodes, inputs, outputs, arrays),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
        functions=list(functions),
    )
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in outputs)
    return proto.SerializeToString()


def network(data):
    """Return the Network of a model, also where its nodes are a chain of layers."""
    return Network(onnx.load_model_from_string(data))


def lstm_arrays(prefix="", seed=0):
    return {
        f"{prefix}W": normal(1, 4 * H, D, seed=seed),
        f"{prefix}R": normal(1, 4 * H, H, seed=seed) / 2,
        f"{prefix}B": normal(1, 8 * H, seed=seed),
    }


def reordered(prefix):
    """Return nodes that compute R, with the gates in ONNX's order, from it in another order."""
    return [
        node("Split", "raw", "p1,p2,p3,p4", axis=1, num_outputs=4),
        node("Concat", "p2,p1,p4,p3", f"{prefix}R", axis=1),
    ]


def test_layers_have_the_weights_of_recurrent_nodes():
    arrays = lstm_arrays("a", 1) | lstm_arrays("b", 2)
    branch = [node("LSTM", "x,bW,bR,bB", "q", name="inner", hidden_size=H)]
    raw = arrays.pop("bR")
    raw = np.concatenate([np.split(raw, 4, 1)[k] for k in (1, 0, 3, 2)], axis=1)
    nodes = [
        node("LSTM", "x,aW,aR,aB", "p", hidden_size=H),
        *reordered("b"),
        helper.make_node(
            "If",
            ["flag"],
            ["r"],
            then_branch=graph(branch, {}, ["q"]),
            else_branch=graph([node("Identity", "p", "s")], {}, ["s"]),
        ),
        node("Add", "p,r", "y"),
    ]
    made = from_onnx(
        model(nodes, {"x": normal(T, N, D), "flag": np.array(True)}, ["y"], arrays | {"raw": raw},
              opset=18)
    )  # fmt: skip
    assert isinstance(made, Network)
    assert sorted(made.layers) == ["inner", "p"]
    x = normal(T, N, D)
    p, q = (made.layers[name].forward(x)[0] for name in ("p", "inner"))
    assert np.array_equal(made({"x": x, "flag": np.array(True)}), (p + q)[:, None])
    assert np.array_equal(made({"x": x, "flag": np.array(False)}), (p + p)[:, None])


# Operators against ONNX Runtime


def theirs(data, feeds):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def compare(op, attributes, inputs, outputs=1, opset=17, constant=(), scale=1.0):
    """Compare an operator of ours with ONNX Runtime's, with some inputs constant or all given.

    Returns False if ONNX Runtime has no such operator or refuses the arguments.
    """
    names = [name for name, a in inputs.items() if a is not None]
    results = [f"y{k}" for k in range(outputs)]
    given_names = [n if n in names else "" for n in inputs]
    while not given_names[-1]:  # ONNX Runtime crashes at a LayerNormalization with an empty bias
        given_names.pop()
    one = helper.make_node(op, given_names, results, **attributes)
    arrays = {n: inputs[n] for n in names if n in constant}
    feeds = {n: inputs[n] for n in names if n not in constant}
    data = model([one], feeds, results, arrays, opset)
    try:
        expected = theirs(data, feeds)
    except Exception:  # its errors have no common class
        return False
    found = network(data)(feeds)
    found = list(found.values()) if outputs > 1 else [found]
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape, (op, attributes)
        assert a.dtype == b.dtype, (op, attributes)
        if a.dtype.kind == "f":
            size = max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0.0)) * scale
            np.testing.assert_allclose(a, b, rtol=0, atol=4e-6 * size, err_msg=f"{op} {attributes}")
        else:
            np.testing.assert_array_equal(a, b, err_msg=f"{op} {attributes}")
    return True


def shapes(low=0, high=4, size=4):
    return st.lists(st.integers(1, size), min_size=low, max_size=high).map(tuple)


def ints(*values):
    return np.array(values, np.int64)


def some_constant(data, inputs, of=None):
    """Draw which of the inputs are constant; not all of them, so that there is work left."""
    names = [n for n in (of or inputs) if inputs[n] is not None]
    return [n for n in names if data.draw(st.booleans(), label=f"{n} constant")]


ONE_INPUT = (
    "Relu", "Tanh", "Sigmoid", "Sqrt", "Exp", "Log", "Neg", "Abs", "Floor", "Ceil", "Round", "Sin",
    "Cos", "Reciprocal", "Identity", "IsNaN", "Softsign", "Softplus", "Size", "Shape",
)  # fmt: skip


@pytest.mark.parametrize("op", ONE_INPUT)
@given(shape=shapes(), seed=st.integers(0, 99))
def test_one_input(op, shape, seed):
    x = normal(*shape, seed=seed) * 3
    x = np.abs(x) + 0.1 if op in ("Sqrt", "Log") else x
    assert compare(op, {}, {"x": np.asarray(x)}, scale=10)


@st.composite
def broadcastable(draw, count=2):
    """Draw shapes that broadcast."""
    whole = draw(shapes())
    found = []
    for _ in range(count):
        own = tuple(n if draw(st.booleans()) else 1 for n in whole)
        found.append(own[draw(st.integers(0, len(own))) :])
    return found


@pytest.mark.parametrize(
    "op", ["Add", "Sub", "Mul", "Div", "Pow", "Equal", "Less", "LessOrEqual", "Greater",
           "GreaterOrEqual", "And", "Or", "Xor", "Max", "Min", "Sum", "Where"],
)  # fmt: skip
@given(data=st.data(), kind=st.sampled_from([np.float32, np.int64]))
def test_several_inputs(op, data, kind):
    count = {"Where": 3, "Max": 3, "Min": 3, "Sum": 3}.get(op, 2)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    arrays = [
        np.asarray(rng.integers(-4, 5, s).astype(kind)) for s in data.draw(broadcastable(count))
    ]
    if op == "Where":
        arrays[0] = np.asarray(arrays[0] > 0)
    elif op in ("And", "Or", "Xor"):
        arrays = [np.asarray(a > 0) for a in arrays]
    elif op in ("Sum", "Pow"):
        arrays = [a.astype(np.float32) for a in arrays]
    if op == "Div":
        arrays[1] = np.asarray(np.where(arrays[1] == 0, 1, arrays[1]).astype(kind))
    if op == "Pow":
        arrays[0] = np.asarray(np.abs(arrays[0]) + 1)
        arrays[1] = data.draw(st.sampled_from([arrays[1], np.array(2, np.float32)]))
    inputs = dict(zip("abc", arrays, strict=False))
    assert compare(op, {}, inputs, constant=some_constant(data, inputs, of="bc"[: count - 1]))


@given(data=st.data())
def test_axes_and_shapes(data):
    shape = data.draw(shapes(1))
    x, rank = normal(*shape), len(shape)
    draw = data.draw
    axis = draw(st.integers(-rank, rank - 1))
    axes = sorted(draw(st.sets(st.integers(0, rank - 1), min_size=1)))
    negative = draw(st.booleans())
    chosen = ints(*[a - rank if negative else a for a in axes])
    op = draw(st.sampled_from(
        ["Squeeze", "Unsqueeze", "Transpose", "Concat", "Gather", "GatherElements", "Split",
         "Flatten", "Expand", "Tile", "Reshape", "ScatterElements", "Shape"]
    ))  # fmt: skip
    own, inputs, outputs = {}, {"x": x}, 1
    if op == "Squeeze":
        inputs["x"] = x[tuple(slice(0, 1) if k in axes else slice(None) for k in range(rank))]
        inputs["axes"] = draw(st.sampled_from([chosen, None]))
    elif op == "Unsqueeze":
        more = rank + len(axes)
        places = sorted(
            draw(st.sets(st.integers(0, more - 1), min_size=len(axes), max_size=len(axes)))
        )
        inputs["axes"] = ints(*[p - more if negative else p for p in places])
    elif op == "Transpose":
        own = draw(st.sampled_from([{}, {"perm": draw(st.permutations(range(rank)))}]))
    elif op == "Concat":
        own, inputs = {"axis": axis}, {"x": x, "b": x + 1, "c": x - 1}
    elif op == "Gather":
        ids = draw(st.lists(st.integers(-shape[axis], shape[axis] - 1), min_size=1, max_size=4))
        own = {"axis": axis}
        inputs["ids"] = draw(st.sampled_from([ints(*ids), np.array(ids[0]), ints(*ids)[:, None]]))
    elif op in ("GatherElements", "ScatterElements"):
        own = {"axis": axis}
        size = tuple(draw(st.integers(1, n)) for n in shape)
        order = np.argsort(normal(*shape, seed=3), axis)  # no place twice
        inputs["ids"] = np.ascontiguousarray(order[tuple(map(slice, size))])
        if op == "ScatterElements":
            inputs["updates"] = normal(*size, seed=4)
    elif op == "Split":
        outputs = draw(st.integers(1, shape[axis]))
        own = {"axis": axis}
        cuts = sorted(draw(st.sets(st.integers(1, shape[axis] - 1), min_size=outputs - 1,
                                   max_size=outputs - 1)) if outputs > 1 else [])  # fmt: skip
        sizes = ints(*np.diff([0, *cuts, shape[axis]]))
        inputs["split"] = None if shape[axis] % outputs == 0 and negative else sizes
    elif op == "Flatten":
        own = draw(st.sampled_from([{}, {"axis": axis}]))
    elif op == "Expand":
        wide = [n if n > 1 or draw(st.booleans()) else 3 for n in shape]
        inputs["shape"] = ints(*draw(shapes(0, 2)), *wide)
    elif op == "Tile":
        inputs["repeats"] = ints(*[draw(st.integers(0, 3)) for _ in shape])
    elif op == "Reshape":
        flat = draw(st.sampled_from([[-1], [*shape[:1], -1], [0, -1], [1, *shape, 1]]))
        inputs["shape"] = ints(*flat)
    elif op == "Shape":
        own = {"start": axis, "end": draw(st.integers(-rank, rank))}
    constant = some_constant(data, inputs, of=[n for n in inputs if n in
                             ("axes", "shape", "split", "ids", "repeats")])  # fmt: skip
    assert compare(op, own, inputs, outputs, constant=constant)


@given(data=st.data())
def test_slice(data):
    shape = data.draw(shapes(1, size=6))
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    far = st.sampled_from([-(2**62), 2**62, -100, 100])
    place = st.integers(-8, 8) | far
    starts, ends = ([data.draw(place) for _ in axes] for _ in range(2))
    steps = [data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3])) for _ in axes]
    turned = [a - len(shape) if data.draw(st.booleans()) else a for a in axes]
    inputs = {
        "x": normal(*shape), "starts": ints(*starts), "ends": ints(*ends), "axes": ints(*turned),
        "steps": data.draw(st.sampled_from([ints(*steps), None])),
    }  # fmt: skip
    constant = some_constant(data, inputs, of=["starts", "ends", "axes", "steps"])
    assert compare("Slice", {}, inputs, constant=constant)


@given(data=st.data(), opset=st.sampled_from([12, 13, 17, 18]))
def test_reductions_and_softmax(data, opset):
    op = data.draw(st.sampled_from(
        ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "Softmax", "LogSoftmax",
         "LayerNormalization"]
    ))  # fmt: skip
    shape = data.draw(shapes(1))
    rank, inputs = len(shape), {"x": normal(*shape)}
    axes = [a - rank if data.draw(st.booleans()) else a
            for a in data.draw(st.sets(st.integers(0, rank - 1), min_size=1))]  # fmt: skip
    if op in ("Softmax", "LogSoftmax"):
        least = -rank if opset >= 11 else 0
        own = data.draw(st.sampled_from([{}, {"axis": data.draw(st.integers(least, rank - 1))}]))
        if not own and opset < 13 and rank < 2:
            own = {"axis": 0}
    elif op == "LayerNormalization":
        opset, axis = max(opset, 17), axes[0]
        size = shape[axis:]
        own = {"axis": axis, "epsilon": data.draw(st.sampled_from([1e-5, 0.1]))}
        inputs |= {"scale": normal(*size, seed=1), "bias": data.draw(
            st.sampled_from([None, normal(*size, seed=2)]))}  # fmt: skip
    else:
        own = {"keepdims": data.draw(st.integers(0, 1))}
        chosen = data.draw(st.sampled_from([axes, None]))
        if opset >= 18 or (op == "ReduceSum" and opset >= 13):
            inputs["axes"] = None if chosen is None else ints(*chosen)
            own["noop_with_empty_axes"] = data.draw(st.integers(0, 1))
        elif chosen:
            own["axes"] = chosen
    constant = some_constant(data, inputs, of=[n for n in inputs if n == "axes"])
    assert compare(op, own, inputs, opset=opset, constant=constant)


@given(data=st.data())
def test_products(data):
    draw, op = data.draw, data.draw(st.sampled_from(["MatMul", "Gemm"]))
    M, K, S = (draw(st.integers(1, 5)) for _ in range(3))
    if op == "MatMul":
        own = {}
        left = draw(st.sampled_from([(S, K), (K,), (2, S, K), (3, 2, S, K)]))
        right = draw(st.sampled_from([(K, M), (K,), (2, K, M)]))
        inputs = {"a": normal(*left), "b": normal(*right, seed=1)}
    else:
        own = {
            "transA": draw(st.integers(0, 1)), "transB": draw(st.integers(0, 1)),
            "alpha": draw(st.sampled_from([1.0, 0.5])), "beta": draw(st.sampled_from([1.0, 2.0])),
        }  # fmt: skip
        bias = draw(st.sampled_from([None, (M,), (1, M), (S, M), (S, 1), (1,), ()]))
        inputs = {
            "a": normal(*((K, S) if own["transA"] else (S, K))),
            "b": normal(*((M, K) if own["transB"] else (K, M)), seed=1),
            "c": None if bias is None else np.asarray(normal(*bias, seed=2)),
        }
    assert compare(op, own, inputs, constant=some_constant(data, inputs, of=list(inputs)[1:]))


@st.composite
def windows(draw, op):
    """Draw attributes of a node with windows, and the sizes of x that they fit."""
    rank = draw(st.integers(1, 2))

    def each(values):
        return [draw(values) for _ in range(rank)]

    kernel = each(st.integers(1, 3))
    own = {"kernel_shape": kernel, "strides": each(st.integers(1, 3))}
    auto = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if auto == "NOTSET":
        own["pads"] = [draw(st.integers(0, k - 1)) for k in kernel * 2]
        if "Conv" in op:
            own["pads"] = [draw(st.integers(0, 3)) for _ in kernel * 2]
    else:
        own["auto_pad"] = auto
    if op != "AveragePool" and not auto.startswith("SAME"):
        own["dilations"] = each(st.integers(1, 2))
    if op in ("MaxPool", "AveragePool") and auto == "NOTSET":
        own["ceil_mode"] = draw(st.integers(0, 1))
    if op == "AveragePool":
        own["count_include_pad"] = draw(st.integers(0, 1))
    return own, each(st.integers(5, 8))


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "MaxPool", "AveragePool"])
@given(data=st.data())
def test_windows(op, data):
    own, sizes = data.draw(windows(op))
    N, channels = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    inputs = {"x": normal(N, channels, *sizes)}
    if op in ("Conv", "ConvTranspose"):
        own["group"] = groups = data.draw(st.integers(1, 3))
        M = data.draw(st.integers(1, 2))
        inputs["x"] = normal(N, channels * groups, *sizes)
        shape = (M * groups, channels) if op == "Conv" else (channels * groups, M)
        inputs["W"] = normal(*shape, *own["kernel_shape"], seed=1)
        inputs["b"] = data.draw(st.sampled_from([None, normal(M * groups, seed=2)]))
    if op == "ConvTranspose":
        own["output_padding"] = [data.draw(st.integers(0, s - 1)) for s in own["strides"]]
        if own.get("auto_pad", "").startswith("SAME"):
            own.pop("output_padding")
            # ONNX Runtime's output is then shorter than ONNX says.
            assume(all(k >= s for k, s in zip(own["kernel_shape"], own["strides"], strict=True)))
        elif data.draw(st.booleans()):
            own.pop("output_padding")
            own["output_shape"] = [
                n * s + data.draw(st.integers(-2, 2))
                for n, s in zip(sizes, own["strides"], strict=True)
            ]
    constant = some_constant(data, inputs, of=[n for n in inputs if n != "x"])
    assume(compare(op, own, inputs, constant=constant))


@given(data=st.data(), mode=st.sampled_from(["constant", "reflect", "edge", "wrap"]))
def test_pad(data, mode):
    shape = data.draw(shapes(1).filter(lambda s: min(s) > 1))
    most = 1 if mode == "reflect" else 2
    low = -1 if mode == "constant" else 0
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    inputs = {
        "x": normal(*shape),
        "pads": ints(*[data.draw(st.integers(low, most)) for _ in axes * 2]),
        "value": np.array(7, np.float32) if mode == "constant" else None,
        "axes": ints(*axes),
    }
    constant = some_constant(data, inputs, of=["pads", "value", "axes"])
    assume(compare("Pad", {"mode": mode}, inputs, opset=19, constant=constant))


@given(data=st.data())
def test_other_operators(data):
    draw = data.draw
    x, op = normal(2, 3, 4) * 3, draw(st.sampled_from(
        ["Clip", "Cast", "ConstantOfShape", "Range", "ScatterND", "Dropout", "BatchNormalization",
         "GlobalAveragePool", "GlobalMaxPool", "Not"]
    ))  # fmt: skip
    own, inputs = {}, {"x": x}
    if op == "Clip":
        inputs |= {"low": draw(st.sampled_from([None, np.array(-1, np.float32)]))}
        inputs |= {"high": draw(st.sampled_from([None, np.array(1, np.float32)]))}
    elif op == "Cast":
        kinds = [FLOAT, INT64, BOOL, onnx.TensorProto.INT32, onnx.TensorProto.DOUBLE]
        own = {"to": draw(st.sampled_from(kinds))}
        inputs["x"] = draw(st.sampled_from([x, x > 0, x.astype(np.int64)]))
    elif op == "ConstantOfShape":
        value = draw(st.sampled_from([np.array([1.5], np.float32), ints(7)]))
        own = {"value": onnx.numpy_helper.from_array(value)}
        inputs = {"shape": ints(*draw(shapes()))}
    elif op == "Range":
        kind = draw(st.sampled_from([np.int64, np.float32]))
        inputs = {n: np.array(draw(st.integers(-9, 9)), kind) for n in ("start", "limit")}
        inputs["delta"] = np.array(draw(st.integers(-3, 3).filter(bool)), kind)
    elif op == "ScatterND":
        inputs |= {"ids": ints([0, 1], [1, 2]), "updates": normal(2, 4, seed=1)}
    elif op == "BatchNormalization":
        inputs |= {n: normal(3, seed=k) for k, n in enumerate(("scale", "bias", "mean"))}
        inputs["variance"] = np.abs(normal(3, seed=5)) + 0.1
    elif op == "Not":
        inputs["x"] = x > 0
    assert compare(op, own, inputs, constant=some_constant(data, inputs, of=list(inputs)[1:]))


@pytest.mark.parametrize(
    ("op", "own", "outputs"),
    [
        ("Slice", {"starts": [1, -2], "ends": [9, -1], "axes": [0, -1]}, 1),
        ("Slice", {"starts": [1], "ends": [2]}, 1),
        ("Squeeze", {"axes": [1]}, 1),
        ("Unsqueeze", {"axes": [0, 2]}, 1),
        ("Pad", {"pads": [1, 0, 2, 0, 0, 1], "value": 3.0}, 1),
        ("Pad", {"pads": [1, 0, 2, 0, 0, 1], "mode": "reflect"}, 1),
        ("Clip", {"min": -0.5, "max": 0.5}, 1),
        ("Clip", {"max": 0.5}, 1),
        ("Split", {"split": [1, 3], "axis": 2}, 2),
        ("Split", {"axis": 2}, 4),
        ("ReduceMean", {"axes": [0, 2], "keepdims": 0}, 1),
        ("ReduceSum", {}, 1),
        ("Softmax", {"axis": 1}, 1),
        ("Softmax", {}, 1),
        ("Flatten", {"axis": 0}, 1),
        ("Dropout", {"ratio": 0.3}, 1),
    ],
)
def test_older_versions_with_attributes(op, own, outputs):
    assert compare(op, own, {"x": normal(3, 1, 4)}, outputs, opset=9)


# Graphs within nodes


def branch(nodes, outputs, inputs=(), name="inner"):
    """Return a GraphProto without types, as a graph within a node may be."""
    inner = helper.make_graph(nodes, name, [], [])
    inner.input.extend(onnx.ValueInfoProto(name=n) for n in inputs)
    inner.output.extend(onnx.ValueInfoProto(name=n) for n in outputs)
    return inner


def typed(nodes, inputs, outputs):
    """Return a GraphProto with the dtypes of its inputs and outputs, by arrays by name."""
    infos = [
        [
            helper.make_tensor_value_info(
                n, KINDS[np.asarray(a).dtype], None if a is NUMBER else np.shape(a)
            )
            for n, a in some.items()
        ]
        for some in (inputs, outputs)
    ]
    return helper.make_graph(nodes, "inner", *infos)


COUNT, FLAG, NUMBER = np.array(0), np.array(True), np.zeros((), np.float32)


def looped(kept=NUMBER):
    """Return the node of a Loop: doubles and adds x until a sum is reached; keeps all values."""
    body = typed(
        [
            node("Add", "v,v", "twice"),
            node("Add", "twice,x", "next"),
            node("ReduceMax", "next", "largest", keepdims=0),
            node("Less", "largest,limit", "goes_on"),
            node("Identity", "next", "kept"),
        ],
        {"k": COUNT, "on": FLAG, "v": NUMBER},
        {"goes_on": FLAG, "next": NUMBER, "kept": kept},
    )
    return helper.make_node("Loop", ["trips", "first", "x"], ["last", "all"], body=body)


@given(
    trips=st.one_of(st.none(), st.integers(0, 6)), first=st.booleans(),
    limit=st.floats(0, 40, width=32), seed=st.integers(0, 9),
)  # fmt: skip
def test_loop(trips, first, limit, seed):
    one = looped(normal(2, 3))
    feeds = {
        "x": np.abs(normal(2, 3, seed=seed)) + 0.1,
        "limit": np.array(limit, np.float32), "first": np.array(first),
    }  # fmt: skip
    if trips is None:
        one.input[0] = ""
    else:
        feeds["trips"] = np.array(trips)
    data = model([one], feeds, ["last", "all"])
    for a, b in zip(network(data)(feeds).values(), theirs(data, feeds), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loop_without_steps_needs_the_shape_of_its_outputs():
    feeds = {"x": normal(2, 3), "limit": NUMBER, "first": np.array(False), "trips": np.array(1)}
    with pytest.raises(ValueError, match=r"node Loop 'last' .*ran no step, and the file does not"):
        network(model([looped()], feeds, ["last", "all"]))(feeds)


def test_a_loop_has_a_limit_and_none_is_run_beforehand():
    body = typed(
        [node("Identity", "on", "still"), node("Add", "v,v", "next")],
        {"k": COUNT, "on": FLAG, "v": NUMBER},
        {"still": FLAG, "next": NUMBER},
    )
    one = helper.make_node("Loop", ["", "", "x"], ["y"], body=body)
    made = network(
        model([one], {}, ["y"], {"x": np.ones(2, np.float32)})
    )  # its inputs are constant
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recurrent.interchange.onnx.bounds.MOST_STEPS", 1_000)
        with pytest.raises(ValueError, match="loops must end after at most 1,000 steps") as caught:
            made({})
    assert "\n" not in str(caught.value)


@given(data=st.data())
def test_scan(data):
    own = {
        "scan_input_axes": [data.draw(st.integers(0, 1))],
        "scan_input_directions": [data.draw(st.integers(0, 1))],
        "scan_output_axes": [data.draw(st.integers(0, 1))],
        "scan_output_directions": [data.draw(st.integers(0, 1))],
    }
    body = typed(
        [
            node("Mul", "h,w", "part"), node("Add", "part,x_t", "sum"), node("Tanh", "sum", "next"),
            node("Identity", "next", "y_t"),
        ],
        {"h": NUMBER, "x_t": NUMBER}, {"next": NUMBER, "y_t": NUMBER},
    )  # fmt: skip
    for value in (*body.input, *body.output):
        value.type.tensor_type.shape.dim.add().dim_value = 3
    one = helper.make_node("Scan", ["h0", "x"], ["last", "y"], body=body, num_scan_inputs=1, **own)
    x = normal(*((5, 3) if own["scan_input_axes"] == [0] else (3, 5)))
    feeds = {"x": x, "h0": normal(3, seed=1)}
    proto = model([one], feeds, ["last", "y"], {"w": normal(3, seed=2)})
    for a, b in zip(network(proto)(feeds).values(), theirs(proto, feeds), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


def test_an_if_within_a_loop_reads_what_is_around_both():
    inner = helper.make_node(
        "If", ["even"], ["step"],
        then_branch=branch([node("Mul", "v,x", "a")], ["a"]),
        else_branch=branch(
            [node("LSTM", "s,W,R,B", ",q", hidden_size=H), node("ReduceMax", "q", "b", keepdims=0)],
            ["b"],
        ),
    )  # fmt: skip
    body = typed(
        [
            node("Mod", "k,two", "rest"), node("Equal", "rest,nought", "even"), inner,
            node("Add", "v,step", "next"), node("Identity", "on", "still"),
        ],
        {"k": COUNT, "on": FLAG, "v": NUMBER}, {"still": FLAG, "next": NUMBER},
    )  # fmt: skip
    nodes = [
        node("Mul", "s,s", "squares"), node("ReduceMax", "squares", "x", keepdims=0),
        helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body),
    ]  # fmt: skip
    feeds = {"s": normal(T, N, D), "trips": np.array(5)}
    arrays = lstm_arrays() | {"two": np.array(2), "nought": np.array(0)}
    data = model(nodes, feeds, ["y"], arrays)
    made = network(data)
    for _ in range(2):  # nothing of the first call is left
        np.testing.assert_allclose(made(feeds), theirs(data, feeds)[0], rtol=1e-5)
    assert list(made.layers) == ["q"]


def test_what_depends_on_constants_alone_is_computed_once():
    nodes = [
        node("Shape", "W", "sizes"), node("Slice", "sizes,one,three", "part"),
        node("ConstantOfShape", "part", "zeros"), node("Equal", "three,three", "yes"),
        helper.make_node(
            "If", ["yes"], ["r"],
            then_branch=branch([node("Add", "zeros,x", "a")], ["a"]),
            else_branch=branch([node("Sub", "zeros,x", "b")], ["b"]),
        ),
        node("Identity", "r", "y"), node("Exp", "x", "unused"),
    ]  # fmt: skip
    arrays = {"W": normal(2, 3, 4), "one": ints(1), "three": ints(3)}
    made = network(model(nodes, {"x": NUMBER}, ["y"], arrays))
    steps = [one for one in made._program.block.nodes if one is not None]
    assert [one.node.op_type for one in steps] == ["Add", "Identity"]
    assert made(np.ones((), np.float32)).tolist() == np.ones((3, 4)).tolist()


def test_a_constant_that_a_branch_hands_on_is_copied():
    one = helper.make_node(
        "If", ["flag"], ["y"],
        then_branch=branch([node("Tanh", "c", "a")], ["a"]),
        else_branch=branch([node("Identity", "c", "b")], ["b"]),
    )  # fmt: skip
    made = network(model([one], {"flag": FLAG}, ["y"], {"c": normal(2)}))
    for flag in (True, False):
        expected = made(np.array(flag)).copy()
        made(np.array(flag))[...] = np.nan
        assert np.array_equal(made(np.array(flag)), expected)


# Random networks


@st.composite
def graphs(draw):
    """Draw nodes on arrays (4, 3) that read what is computed before; return them and the last."""
    names, nodes = ["x", "c"], []
    for k in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(["Add", "Mul", "Sub", "Max", "Tanh", "Sigmoid", "Relu", "MatMul",
                                   "Softmax", "Split", "If"]))  # fmt: skip
        one, other = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        out = f"v{k}"
        if op in ("Add", "Mul", "Sub", "Max"):
            nodes.append(node(op, f"{one},{other}", out))
        elif op == "MatMul":
            nodes.append(node(op, f"{one},square", out))
        elif op == "Split":
            nodes.append(node(op, one, f"{out}a,{out}b", axis=0))
            nodes.append(node("Concat", f"{out}b,{out}a", out, axis=0))
        elif op == "If":
            nodes.append(node("ReduceSum", one, f"{out}s", keepdims=0))
            nodes.append(node("Less", f"{out}s,limit", f"{out}c"))
            nodes.append(helper.make_node(
                "If", [f"{out}c"], [out],
                then_branch=branch([node("Tanh", other, f"{out}t")], [f"{out}t"]),
                else_branch=branch([node("Identity", one, f"{out}e")], [f"{out}e"]),
            ))  # fmt: skip
        else:
            nodes.append(node(op, one, out))
        names.append(out)
    return nodes, draw(st.lists(st.sampled_from(names[2:]), min_size=1, max_size=3, unique=True))


@given(drawn=graphs(), seed=st.integers(0, 9))
def test_random_networks(drawn, seed):
    nodes, outputs = drawn
    arrays = {"c": normal(4, 3), "square": normal(3, 3), "limit": np.array(0.1, np.float32)}
    x = normal(4, 3, seed=seed)
    data = model(nodes, {"x": x}, outputs, arrays)
    before = x.copy()
    made = network(data)
    found = made({"x": x})
    found = found if len(outputs) > 1 else {outputs[0]: found}
    with np.errstate(all="ignore"):
        for a, b in zip(found.values(), theirs(data, {"x": x}), strict=True):
            size = max(1.0, np.abs(b).max())
            assume(size < 1e6)
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * size)
    for a in found.values():  # what a caller writes to an output changes nothing else
        a[...] = np.nan
    again = made({"x": before})
    again = again if len(outputs) > 1 else {outputs[0]: again}
    assert np.array_equal(x, before)
    assert not any(np.isnan(a).any() for a in again.values())


# Limits


LARGE = 10**10


@pytest.mark.parametrize(
    ("op", "inputs", "own"),
    [
        ("ConstantOfShape", {"shape": ints(LARGE)}, {}),
        ("Expand", {"x": normal(1), "shape": ints(LARGE)}, {}),
        ("Tile", {"x": normal(10), "repeats": ints(LARGE)}, {}),
        ("Range", {"a": np.array(0), "b": np.array(LARGE), "c": np.array(1)}, {}),
        ("Range", dict(zip("abc", np.array([0, 1, 1e-20], np.float32), strict=True)), {}),
        ("Pad", {"x": normal(3), "pads": ints(0, LARGE)}, {}),
        ("Pad", {"x": normal(3), "pads": ints(0, LARGE)}, {"mode": "edge"}),
        ("OneHot", {"x": ints(1, 2), "depth": np.array(LARGE), "v": ints(0, 1)}, {}),
        ("Resize", {"x": normal(1, 1, 3), "r": None, "scales": np.array([1, 1, 1e10], np.float32)},
         {}),
        ("Resize", {"x": normal(1, 1, 3), "r": None, "s": None, "sizes": ints(1, 1, LARGE)}, {}),
        ("Add", {"a": np.zeros((20_000, 1), np.float32), "b": np.zeros(20_000, np.float32)}, {}),
        ("MatMul", {"a": np.zeros((20_000, 1), np.float32),
                    "b": np.zeros((1, 20_000), np.float32)}, {}),
        ("Gather", {"x": np.zeros((1, 20_000), np.float32), "ids": np.zeros(20_000, int)}, {}),
        ("Einsum", {"a": np.zeros(20_000, np.float32), "b": np.zeros(20_000, np.float32)},
         {"equation": "i,j->ij"}),
        ("Conv", {"x": normal(1, 1, 3), "W": normal(1, 1, 3)}, {"pads": [LARGE, LARGE]}),
        ("ConvTranspose", {"x": normal(1, 1, 3), "W": normal(1, 1, 3)}, {"strides": [LARGE]}),
        ("HannWindow", {"n": np.array(LARGE)}, {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("constant", [False, True])
def test_large_results_are_refused_before_memory_is_taken(op, inputs, own, constant):
    inputs = {n: None if a is None else np.asarray(a) for n, a in inputs.items()}
    given_ = {n: a for n, a in inputs.items() if a is not None}
    one = helper.make_node(op, [n if n in given_ else "" for n in inputs], ["y"], **own)
    feeds, arrays = ({}, given_) if constant else (given_, {})
    data = model([one], feeds, ["y"], arrays)
    with pytest.raises(ValueError, match=r"a result must have at most|has no end") as caught:
        from_onnx(data)(feeds)
    assert "\n" not in str(caught.value)
    assert f"node {op} 'y'" in str(caught.value)


def functions(count, calls):
    """Return functions f0 to f{count - 1}: each calls the next one, the last adds."""
    found = []
    for k in range(count):
        last = k == count - 1
        nodes = [
            helper.make_node("Add", ["a", "a"], ["s0"])
            if last
            else helper.make_node(f"f{k + 1}", ["a" if j == 0 else f"s{j - 1}"], [f"s{j}"],
                                  domain="own")
            for j in range(1 if last else calls)
        ]  # fmt: skip
        nodes.append(helper.make_node("Identity", [nodes[-1].output[0]], ["b"]))
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        found.append(helper.make_function("own", f"f{k}", ["a"], ["b"], nodes, opsets))
    return found


def with_functions(own):
    data = model([helper.make_node("f0", ["x"], ["y"], domain="own")], {"x": NUMBER}, ["y"],
                 functions=own)  # fmt: skip
    proto = onnx.load_model_from_string(data)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    return proto


def test_functions_of_a_model_are_inlined():
    made = from_onnx(with_functions(functions(3, 2)))
    assert made(np.array(1, np.float32)) == 16
    assert "f0" not in made.operators


def test_functions_that_grow_or_call_themselves_are_refused():
    with pytest.raises(ValueError, match=r"at most 100,000 nodes, with its functions"):
        from_onnx(with_functions(functions(40, 2)))
    circle = functions(2, 1)
    circle[1].node[0].op_type, circle[1].node[0].domain = "f0", "own"
    del circle[1].node[0].input[1:]
    with pytest.raises(ValueError, match=r"the function 'f[01]' calls itself"):
        from_onnx(with_functions(circle))


# Inputs and outputs


def test_float16_is_read_as_float32_and_said_once():
    half = onnx.TensorProto.FLOAT16
    W = normal(4, 3)
    nodes = [
        node("Cast", "x", "h", to=half), node("MatMul", "h,W", "p"), node("Relu", "p", "q"),
        node("Cast", "q", "y", to=FLOAT), node("Shape", "y", "n"),
    ]  # fmt: skip
    data = model(nodes, {"x": normal(2, 4)}, ["y", "n"], {"W": W.astype(np.float16)})
    with pytest.warns(UserWarning, match="computes in float16") as caught:
        made = from_onnx(data)
    assert len(caught) == 1
    x = normal(2, 4)
    found = made({"x": x})
    assert found["y"].dtype == np.float32
    np.testing.assert_allclose(
        found["y"], np.maximum(x @ W.astype(np.float16).astype(np.float32), 0), atol=1e-6
    )
    np.testing.assert_allclose(found["y"], theirs(data, {"x": x})[0], atol=1e-2)
    assert found["n"].tolist() == [2, 3]


def test_inputs_are_checked_before_work_begins():
    sized = model([node("Add", "x,k", "y")], {"x": normal(2, 3), "k": normal(3)}, ["y"])
    proto = onnx.load_model_from_string(sized)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    made = Network(proto)
    x, k = normal(2, 3), normal(3)
    assert np.array_equal(made({"x": x, "k": k}), x + k)
    for given_, words, kind in (
        ({"x": x}, r"x must be a dict of the inputs x, k, got x", ValueError),
        ({"x": x.astype(float), "k": k}, r"x\['x'\] must be float32, got float64; wr", TypeError),
        ({"x": x > 0, "k": k}, r"x\['x'\] must be float32, got bool", TypeError),
        ({"x": normal(2, 4), "k": k}, r"shape \(any, 3\), which the file fixes, got \(2, 4\)",
         ValueError),
        ({"x": x, "k": normal(2)}, r"node Add 'y' got x float32 \(2, 3\), k float32 \(2,\): ",
         ValueError),
    ):  # fmt: skip
        with pytest.raises(kind, match=words) as caught:
            made(given_)
        assert "\n" not in str(caught.value)


def test_integers_of_a_smaller_type_are_taken():
    made = network(model([node("Add", "n,n", "y")], {"n": ints(1)}, ["y"]))
    assert made(np.array([3], np.int32)).dtype == np.int64
    with pytest.raises(TypeError, match="must be int64, got uint64"):
        made(np.array([3], np.uint64))


def mixed():
    """Return a network of windows, a recurrent node, products and sums over axes."""
    nodes = [
        node("Conv", "x,V,v", "p", pads=[1, 1]), node("Relu", "p", "q"),
        node("Transpose", "q", "t", perm=[2, 0, 1]), node("LSTM", "t,W,R,B", "r", hidden_size=H),
        node("Squeeze", "r,one", "s"), node("MatMul", "s,M", "m"), node("Softmax", "m", "a"),
        node("ReduceMean", "s", "n", axes=[2]), node("Mul", "a,n", "z"),
        node("Transpose", "z", "y", perm=[1, 0, 2]),
    ]  # fmt: skip
    arrays = lstm_arrays() | {
        "V": normal(D, 7, 3), "v": normal(D), "M": normal(H, 20), "one": ints(1)
    }  # fmt: skip
    return network(model(nodes, {"x": normal(1, 7, 5)}, ["y"], arrays))


def test_each_row_of_a_batch_has_the_bits_that_it_has_alone():
    made, x = mixed(), normal(9, 7, 33)
    together = made(x)
    for k in range(len(x)):
        assert np.array_equal(made(x[k : k + 1])[0], together[k])


@pytest.mark.parametrize("sizes", [(40,), (9, 5)])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_in_pieces_has_the_same_bits(monkeypatch, sizes, groups):
    x, W = normal(2, 4, *sizes), normal(6, 4 // groups, *[3] * len(sizes))
    own = {"group": groups, "pads": [1, 2] * len(sizes), "strides": [2] * len(sizes)}
    data = model([node("Conv", "x,W", "y", **own)], {"x": x}, ["y"], {"W": W})
    whole = network(data)(x)
    for size in (1, 1_000):
        monkeypatch.setattr("recurrent.interchange.onnx.windows.PIECE", size)
        assert np.array_equal(network(data)(x), whole)


def test_copies_are_the_network_and_it_is_not_pickled():
    made = mixed()
    assert copy.deepcopy(made) is made
    assert copy.copy(made) is made
    with pytest.raises(TypeError, match="cannot be pickled: keep the bytes of its file"):
        pickle.dumps(made)


# Streams


def cell():
    """Return a network of one step: an LSTM with its state, and a bias that is given."""
    nodes = [
        node("LSTM", "x,W,R,B,,h,c", "y,hn,cn", hidden_size=H),
        node("Add", "y,bias", "z"),
    ]
    inputs = {"x": normal(1, N, D), "h": normal(1, N, H), "c": normal(1, N, H), "bias": NUMBER}
    proto = onnx.load_model_from_string(model(nodes, inputs, ["z", "hn", "cn"], lstm_arrays()))
    for name, sizes in (("x", (1, "batch", D)), ("h", (1, "batch", H)), ("c", (1, "batch", H))):
        value = next(i for i in proto.graph.input if i.name == name)
        value.CopyFrom(helper.make_tensor_value_info(name, FLOAT, sizes))
    return Network(proto)


CARRIED = {"hn": "h", "cn": "c"}


def test_a_stream_carries_outputs_to_the_next_call():
    made, x, bias = cell(), normal(T, N, D), np.array(2, np.float32)
    zeros = np.zeros((1, N, H), np.float32)
    whole = made.layers[next(iter(made.layers))].forward(x)[0] + bias
    stream = made.stream(CARRIED, bias=bias)
    for x_t, expected in zip(x, whole, strict=True):
        assert np.array_equal(stream(x_t[None])[0, 0], expected)
    stream.reset()
    assert np.array_equal(stream.step({"x": x[:1]})[0, 0], whole[0])
    state = stream.state
    assert sorted(state) == ["c", "h"]
    other = made.stream(CARRIED, bias=bias, **state)
    state["h"][...] = np.nan  # a copy
    assert np.array_equal(other(x[1:2]), stream(x[1:2]))
    apart = stream.copy()
    assert np.array_equal(apart(x[2:3]), copy.deepcopy(stream)(x[2:3]))
    assert np.array_equal(stream(x[2:3])[0, 0], whole[2])
    given_ = made.stream({"hn": "h"}, h=zeros, bias=bias)
    found = given_({"x": x[:1], "c": zeros})
    assert sorted(found) == ["cn", "z"]
    assert np.array_equal(found["z"][0, 0], whole[0])


def test_wrong_streams_are_refused_in_one_line():
    made, h = cell(), np.zeros((1, N, H), np.float32)
    for carried, initial, words in (
        ({"hm": "h"}, {}, "an output of carried must be .*hn"),
        ({"hn": "g"}, {}, "an input of carried must be"),
        ({"hn": "h", "cn": "h"}, {}, "carried must name each input once, got h, h"),
        ({"hn": "h"}, {"state": h}, "an initial value must be"),
        ({"hn": "h"}, {"h": h[..., :2]}, r"h must have the shape \(1, any, 5\)"),
        ({"hn": "h"}, {"h": h.astype(float)}, "h must be float32, got float64"),
    ):
        with pytest.raises((TypeError, ValueError), match=words) as caught:
            made.stream(carried, **initial)
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="carried must be a dict"):
        made.stream(["hn", "h"])
    stream = made.stream(CARRIED)
    with pytest.raises(ValueError, match="x must be the inputs x, bias, which are neither carried"):
        stream(normal(1, N, D))
    inputs = {"h": normal(2), "x": normal(2)}
    proto = onnx.load_model_from_string(model([node("Add", "h,x", "y")], inputs, ["y"]))
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    stream = Network(proto).stream({"y": "h"})
    with pytest.raises(ValueError, match=r"h needs an initial value.*write stream"):
        stream(normal(2))


@pytest.mark.slow
def test_silero_frame_by_frame_equals_the_whole_minute():
    from support.real_models import SILERO, audio, found

    whole, single = (found(f"{SILERO}{end}.onnx") for end in ("_16k_sequence", ""))
    if whole is None or single is None:
        pytest.skip("pip install --no-deps silero-vad==6.2.3")
    sound = audio(np.random.default_rng(0), 60 * 16_000)
    sound *= np.repeat(np.random.default_rng(1).integers(0, 2, 60), 16_000)  # silence between
    frames = sound[: len(sound) // 512 * 512].reshape(-1, 512)
    before = np.concatenate([np.zeros((1, 64), np.float32), frames[:-1, -64:]])
    x = np.concatenate([before, frames], axis=1)
    zeros = np.zeros((1, 1, 128), np.float32)
    together = from_onnx(whole)({"input": x, "h": zeros, "c": zeros})
    stream = from_onnx(single).stream({"stateN": "state"}, sr=np.array(16_000))
    apart = np.array([stream(x_t[None])[0, 0] for x_t in x])
    assert np.ptp(apart) > 0.01
    np.testing.assert_allclose(apart, together["speech_probs"], rtol=0, atol=1e-4)
    state = stream.state["state"]
    for a, name in zip(state, ("hn", "cn"), strict=True):
        np.testing.assert_allclose(a, together[name][0], rtol=1e-3, atol=1e-3)
