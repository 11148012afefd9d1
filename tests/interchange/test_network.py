"""Network: graphs of ONNX that are no chain of layers, against ONNX Runtime."""

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
