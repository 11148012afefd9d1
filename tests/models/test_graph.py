"""Graph: a model whose layers form a directed acyclic graph, with everything a Sequential has."""

import copy
import json
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurrent import (
    GRU,
    LSTM,
    RNN,
    Add,
    Attention,
    Concat,
    Dropout,
    Embedding,
    Graph,
    Last,
    LayerNorm,
    Linear,
    MeanPool,
    Multiply,
    Residual,
    Sequential,
    Tanh,
    TruncatedBPTT,
    evaluate,
    fit,
    gradcheck,
    load,
    losses,
    optim,
    predict,
)
from recurrent.data import Windows
from recurrent.models.seq2seq import build
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

T, N, D = 6, 3, 4
RNG = np.random.default_rng(0)


def floats(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    assert a.tobytes() == b.tobytes()


def branches(dtype="float32", **options):
    """A residual connection, a second branch, and a join of both."""
    return Graph(
        {
            "lstm": LSTM(D, D),
            "sum": (Add(), "x", "lstm"),
            "gru": (GRU(D, 3, bidirectional=False), "x"),
            "gate": (Linear(D, 3), "sum"),
            "gated": (Multiply(), "gru", "gate"),
            "both": (Concat(), "sum", "gated", "x"),
            "out": Linear(2 * D + 3, 2),
        },
        "out",
        rng=0,
        dtype=dtype,
        **options,
    )


def two_ends(**options):
    """Two inputs that one layer reads, and two outputs."""
    reader = GRU(D, 5)
    return Graph(
        {
            "first": (reader, "a"),
            "second": (reader, "b"),
            "both": (Add(), "first", "second"),
            "steps": Linear(5, 2),
            "last": (Last(), "both"),
            "whole": Linear(5, 3),
        },
        ["whole", "steps"],
        rng=0,
        **options,
    )


def pair(seed=0):
    return {"a": floats(T, N, D, seed=seed), "b": floats(T, N, D, seed=seed + 1)}


def loss_of_two(y, targets, lengths=None):
    """The sum of the losses of both outputs."""
    lengths = lengths or dict.fromkeys(y)
    found = {n: losses.mean_squared_error(y[n], targets[n], lengths[n]) for n in y}
    return sum(v for v, _ in found.values()), {n: d for n, (_, d) in found.items()}


# The same layers in a row


def stacks():
    layers = [Embedding(7, D), LSTM(D, D, learn_state=True), Residual(GRU(D, D), Tanh())]
    return [*layers, Dropout(0.3), Linear(D, 7)]


def both():
    names = ["words", "lstm", "more", "drop", "out"]
    nodes = dict(zip(names, stacks(), strict=True))
    return Sequential(*stacks(), rng=3), Graph(nodes, "out", rng=3)


def test_a_row_of_layers_has_the_bits_of_a_sequential():
    a, b = both()
    x, lengths = RNG.integers(0, 7, (T, N)), np.array([T, 2, 4])
    assert_same_bits(a.flat, b.flat)
    for given_lengths in (None, lengths):
        y, state, tape = a.forward(x, lengths=given_lengths, record=True)
        z, after, other = b.forward(x, lengths=given_lengths, record=True)
        assert_same_bits(y, z)
        assert_same_bits(state[1].h, after[1].h)
        one, two = np.empty_like(a.flat), np.empty_like(b.flat)
        a.backward(np.ones_like(y), tape, out=one)
        b.backward(np.ones_like(y), other, out=two)
        assert_same_bits(one, two)
    s, t = a.stream(), b.stream()
    assert type(s) is type(t)
    for x_t in x:
        assert_same_bits(s.step(x_t), t.step(x_t))
    assert_same_bits(a.packed()(x, None)[0], b.packed()(x, None)[0])
    assert a.plan(T, N) == b.plan(T, N)
    lists = [RNG.integers(0, 7, n) for n in (3, 5)]
    for one, two in zip(a(lists), b(lists), strict=True):
        assert_same_bits(one, two)


def test_fit_and_files_have_the_bits_of_a_sequential(tmp_path):
    a, b = both()
    batches = [(RNG.integers(0, 7, (T, N)), RNG.integers(0, 7, (T, N))) for _ in range(3)]
    history = [
        fit(m, batches, losses.softmax_cross_entropy, optim.Adam(1e-2), epochs=2) for m in (a, b)
    ]
    assert history[0].losses == history[1].losses
    assert_same_bits(a.flat, b.flat)
    b.save(tmp_path / "graph.safetensors")
    c = load(tmp_path / "graph.safetensors")
    assert (repr(b), b.describe()) == (repr(c), c.describe())
    assert_same_bits(b.flat, c.flat)
    assert_same_bits(b(batches[0][0]), c(batches[0][0]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_residual_stack_has_the_bits_of_residual_layers(dtype):
    a = Sequential(Residual(LSTM(D, D)), Residual(GRU(D, D)), Linear(D, 2), rng=5, dtype=dtype)
    nodes = {
        "lstm": LSTM(D, D),
        "one": (Add(), "x", "lstm"),
        "gru": GRU(D, D),
        "two": (Add(), "one", "gru"),
        "out": Linear(D, 2),
    }
    b = Graph(nodes, "out", rng=5, dtype=dtype)
    x = floats(T, N, D, dtype=dtype)
    assert_same_bits(a.flat, b.flat)
    y, _state, tape = a.forward(x, record=True, lengths=[T, 2, 4])
    z, _, other = b.forward(x, record=True, lengths=[T, 2, 4])
    assert_same_bits(y, z)
    dy = floats(*y.shape, dtype=dtype, seed=3)
    one, two = a.backward(dy, tape), b.backward(dy, other)
    assert_same_bits(one.dx, two.dx)
    for p, q in zip(one.params.values(), two.params.values(), strict=True):
        assert_same_bits(p, q)
    s, t = a.stream(), b.stream()
    for x_t in x:
        assert_same_bits(s.step(x_t), t.step(x_t))
    x, targets = floats(T, N, D, dtype=dtype), floats(T, N, 2, dtype=dtype, seed=1)
    history = [
        fit(m, [(x, targets)], losses.mean_squared_error, optim.Adam(1e-2), epochs=3)
        for m in (a, b)
    ]
    assert history[0].losses == history[1].losses
    assert_same_bits(a.flat, b.flat)


# Random graphs against a plain walk

WALKED = {
    "linear": (lambda width: Linear(width, 3), 1),
    "tanh": (lambda width: Tanh(), 1),
    "norm": (lambda width: LayerNorm(width), 1),
    "gru": (lambda width: GRU(width, 2), 1),
    "add": (lambda width: Add(), 2),
    "times": (lambda width: Multiply(), 2),
    "concat": (lambda width: Concat(), 2),
}


@st.composite
def graphs(draw):
    """Nodes in a random order of a dict, with their widths known, and all of them used."""
    widths, plans = {"x": D}, []
    for k in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(sorted(WALKED)))
        _make, reads = WALKED[kind]
        sources = [draw(st.sampled_from(sorted(widths))) for _ in range(reads)]
        if kind in ("add", "times"):
            same = [n for n in sorted(widths) if widths[n] == widths[sources[0]]]
            sources = [draw(st.sampled_from(same)) for _ in range(draw(st.integers(2, 3)))]
        width = widths[sources[0]]
        widths[f"n{k}"] = {"linear": 3, "gru": 2}.get(kind, width)
        if kind == "concat":
            widths[f"n{k}"] = sum(widths[s] for s in sources)
        plans.append((f"n{k}", kind, width, sources))
    ends = [name for name, *_ in plans if all(name not in p[3] for p in plans)]
    order = draw(st.permutations(plans))
    nodes = {name: (WALKED[kind][0](width), *sources) for name, kind, width, sources in order}
    return nodes, ends, [name for name, *_ in plans]


@settings(max_examples=30, deadline=None)
@given(graphs())
def test_any_graph_is_a_plain_walk(drawn):
    nodes, ends, order = drawn
    model = Graph(nodes, ends, rng=1)
    x = floats(T, N, D)
    values, gradients, tapes = {"x": x}, {}, {}
    for name in order:
        layer, *sources = nodes[name]
        read = [values[s] for s in sources]
        if type(layer) is Add:
            values[name] = sum(read[1:], read[0])
        elif type(layer) is Multiply:
            values[name] = (
                np.multiply(read[0], read[1]) if len(read) == 2 else (read[0] * read[1] * read[2])
            )
        elif type(layer) is Concat:
            values[name] = np.concatenate(read, axis=-1)
        else:
            values[name], _, tapes[name] = layer.forward(read[0], record=True)
    y, _, tape = model.forward(x, record=True)
    outputs = y if len(ends) > 1 else {ends[0]: y}
    assert list(outputs) == ends
    for name, a in outputs.items():
        assert_same_bits(a, values[name])
    dy = {name: floats(*a.shape, seed=k) for k, (name, a) in enumerate(outputs.items())}
    result = model.backward(dy if len(ends) > 1 else dy[ends[0]], tape)
    gradients, params = dict(dy), {}
    for name in model.names[::-1]:  # the order in which gradients are added is a promise
        layer, *sources = nodes[name]
        d, read = gradients[name], [values[s] for s in sources]
        if type(layer) is Add:
            parts = [d] * len(read)
        elif type(layer) is Multiply:
            parts = []
            for k in range(len(read)):
                part = d
                for i, a in enumerate(read):
                    part = part if i == k else part * a
                parts.append(part)
        elif type(layer) is Concat:
            parts = np.split(d, np.cumsum([a.shape[-1] for a in read])[:-1], axis=-1)
        else:
            dx, own, _ = layer.backward(d, tapes[name])
            params |= {f"{name}.{n}": a for n, a in own.items()}
            parts = [dx]
        for source, part in zip(sources, parts, strict=True):
            gradients[source] = part if source not in gradients else gradients[source] + part
    assert_same_bits(result.dx, gradients["x"])
    assert params.keys() == model.parameters.keys()
    for name, a in params.items():
        assert_same_bits(result.params[name], a)
    stream = model.stream()
    for t, x_t in enumerate(x):
        y_t = stream.step(x_t)
        for name, a in (y_t if len(ends) > 1 else {ends[0]: y_t}).items():
            assert_same_bits(a, outputs[name][t])
    again = build(json.loads(json.dumps(model.describe())), model.parameters)
    assert (again.names, repr(again)) == (model.names, repr(model))
    assert_same_bits(again.flat, model.flat)


# Branches


def test_gradients_of_branches():
    assert gradcheck(branches(), floats(T, N, D)).ok
    assert gradcheck(branches(), floats(T, N, D), lengths=[T, 2, 4]).ok
    assert gradcheck(two_ends(), pair()).ok
    assert gradcheck(two_ends(), pair(), lengths=[T, 2, 4]).ok


def test_one_layer_at_two_nodes_shares_its_parameters():
    model, x = two_ends(), pair()
    assert list(model.parameters)[:2] == ["first.weight_ih_l0", "first.weight_hh_l0"]
    assert model.tie == {f"second.{n}": f"first.{n}" for n in model["first"].shapes}
    assert np.shares_memory(
        model["first"].parameters["weight_ih_l0"], model["second"].parameters["weight_ih_l0"]
    )
    one = Sequential(GRU(D, 5))
    one.flat[:] = model.flat[: one.size]
    y, _, tape = model.forward(x, record=True)
    dy = {"whole": None, "steps": floats(*y["steps"].shape)}
    grads = model.backward(dy, tape)
    d = dy["steps"] @ model.parameters["steps.weight"]
    parts = []
    for name in ("a", "b"):
        _, _, tape = one.forward(x[name], record=True)
        parts.append(one.backward(d, tape))
        np.testing.assert_allclose(grads.dx[name], parts[-1].dx, rtol=1e-4, atol=1e-6)
    total = parts[0].params["0.weight_hh_l0"] + parts[1].params["0.weight_hh_l0"]
    np.testing.assert_allclose(grads.params["first.weight_hh_l0"], total, rtol=1e-4, atol=1e-5)
    assert not grads.params["whole.weight"].any()


def test_a_shared_stack_and_tied_words():
    encoder = Sequential(Embedding(9, D), GRU(D, D))
    model = Graph(
        {
            "left": (encoder, "a"),
            "right": (encoder, "b"),
            "both": (Add(), "left", "right"),
            "out": Linear(D, 9, bias=False),
        },
        "out",
        tie={"out.weight": "left.0.weight"},
        rng=0,
    )
    assert model.size == encoder.size
    assert model.names == ["left.0", "left.1", "right.0", "right.1", "both", "out"]
    assert np.shares_memory(encoder.flat, model.flat)
    x = {"a": RNG.integers(0, 9, (T, N)), "b": RNG.integers(0, 9, (T, N))}
    assert gradcheck(model, x).ok
    again = build(json.loads(json.dumps(model.describe())), model.parameters)
    assert again.tie == model.tie
    assert_same_bits(again(x), model(x))
    swapped = model({"b": x["a"], "a": x["b"]})
    np.testing.assert_allclose(swapped, model(x), rtol=1e-5, atol=1e-6)


def test_a_lookup_is_passed_to_its_only_reader_alone():
    nodes = {"words": Embedding(7, D), "gru": GRU(D, D)}
    assert Graph(nodes, "gru").passes_lookup(0)
    nodes = {"words": Embedding(7, D), "gru": GRU(D, D), "sum": (Add(), "words", "gru")}
    model = Graph(nodes, "sum")
    assert not model.passes_lookup(0)
    assert gradcheck(model, RNG.integers(0, 7, (T, N))).ok
    nodes = {"words": Embedding(7, D), "gru": GRU(D, D)}
    assert not Graph(nodes, ["gru", "words"]).passes_lookup(0)


def test_streams_are_the_whole_and_can_be_copied():
    model, x = branches(), floats(T, N, D)
    y, final, _ = model.forward(x)
    stream = model.stream()
    for t in range(3):
        assert_same_bits(stream.step(x[t]), y[t])
    copies = [copy.deepcopy(stream), pickle.loads(pickle.dumps(stream)), model.stream(stream.state)]
    for one in copies:
        for t in range(3, T):
            assert_same_bits(one.step(x[t]), y[t])
        assert_same_bits(one.state[0].c, final[0].c)
    with pytest.raises(ValueError, match="x_t"):
        stream.step(x[0, :, :2])
    assert_same_bits(stream.step(x[3]), y[3])  # the failed call changed nothing
    stream.reset()
    assert_same_bits(stream.step(x[0]), y[0])
    run, state = model.packed(), None
    for k in range(0, T, 2):
        part, state = run(x[k : k + 2], state)
        assert_same_bits(part, y[k : k + 2])


def test_streams_of_several_inputs_and_outputs():
    model, x = two_ends(), pair()
    y, stream = model(x), model.stream()
    assert list(y) == ["whole", "steps"]
    for t in range(T):
        y_t = stream.step({name: a[t] for name, a in x.items()})
        assert_same_bits(y_t["steps"], y["steps"][t])
    assert_same_bits(y_t["whole"], y["whole"])
    with pytest.raises(ValueError, match="x_t must have the inputs a, b; b is missing"):
        stream.step({"a": x["a"][0]})


def test_rows_padding_and_chunks_change_no_bit():
    model, x = branches(), floats(T, N, D)
    lengths = np.array([T, 2, 4])
    y = model(x, lengths=lengths)
    for n, length in enumerate(lengths):
        assert_same_bits(model(x[:length, n]), y[:length, n])
    a, state, _ = model.forward(x[:2])
    b, _, _ = model.forward(x[2:], state)
    assert_same_bits(np.concatenate([a, b]), model(x))
    lists = [x[:length, n] for n, length in enumerate(lengths)]
    for n, one in enumerate(model(lists)):
        assert_same_bits(one, y[: lengths[n], n])
    resets = np.zeros((T, N), bool)
    resets[3] = True
    z = model.forward(x, resets=resets)[0]
    assert_same_bits(z[3:], model(x[3:]))


def test_lists_and_lengths_of_several_inputs():
    model, x = two_ends(), pair()
    lengths = np.array([T, 2, 4])
    y, _, tape = model.forward(x, lengths=lengths, record=True)
    one_of_them = model.forward(x, lengths={"b": lengths})[0]
    lists = {name: [a[:k, n] for n, k in enumerate(lengths)] for name, a in x.items()}
    z, _, other = model.forward(lists, record=True)
    assert_same_bits(y["whole"], z["whole"])
    assert_same_bits(y["whole"], one_of_them["whole"])
    for n, k in enumerate(lengths):
        assert_same_bits(y["steps"][:k, n], z["steps"][n])
    dy = {name: np.ones_like(a) for name, a in y.items()}
    for n, k in enumerate(lengths):
        dy["steps"][k:, n] = 0
    some = {"whole": dy["whole"], "steps": [np.ones_like(a) for a in z["steps"]]}
    a, b = model.backward(dy, tape), model.backward(some, other)
    for p, q in zip(a.params.values(), b.params.values(), strict=True):
        assert_same_bits(p, q)
    assert_same_bits(b.dx["b"][2], a.dx["b"][:4, 2])
    with pytest.raises(ValueError, match="joined"):
        model({"a": x["a"], "b": x["b"][:4]})
    with pytest.raises(ValueError, match="joined"):
        model.forward(x, lengths={"a": [T, 2, 4], "b": [T, 3, 4]})


def test_inputs_with_steps_of_their_own():
    model = Graph(
        {
            "read": (Sequential(GRU(D, 3), Last()), "question"),
            "look": (Sequential(LSTM(2, 3), MeanPool()), "answer"),
            "both": (Concat(), "read", "look"),
            "out": Linear(6, 1),
        },
        "out",
        rng=0,
    )
    x = {"question": floats(T, N, D), "answer": floats(9, N, 2)}
    lengths = {"question": [T, 2, 4], "answer": [9, 9, 1]}
    y = model(x, lengths=lengths)
    assert y.shape == (N, 1)
    assert_same_bits(y[1], model({"question": x["question"][:2, 1], "answer": x["answer"][:, 1]}))
    assert gradcheck(model, x, lengths=lengths).ok
    lists = {n: [a[:k, i] for i, k in enumerate(lengths[n])] for n, a in x.items()}
    assert_same_bits(model(lists), y)
    assert_same_bits(predict(model, x, batch=2, lengths=lengths), y)
    assert_same_bits(predict(model, lists, batch=2), y)


def test_batch_first_is_the_same_turned():
    model, turned = two_ends(), two_ends(batch_first=True)
    x = pair()
    other = {name: a.swapaxes(0, 1) for name, a in x.items()}
    y, _, tape = model.forward(x, record=True)
    z, _, tape2 = turned.forward(other, record=True)
    assert_same_bits(z["steps"], np.ascontiguousarray(y["steps"].swapaxes(0, 1)))
    assert_same_bits(z["whole"], y["whole"])
    a = model.backward({n: np.ones_like(v) for n, v in y.items()}, tape)
    b = turned.backward({n: np.ones_like(v) for n, v in z.items()}, tape2)
    assert_same_bits(b.dx["a"], np.ascontiguousarray(a.dx["a"].swapaxes(0, 1)))
    targets = {n: np.zeros_like(v) for n, v in y.items()}
    back = {n: np.zeros_like(v) for n, v in z.items()}
    one = fit(model, [(x, targets)], loss_of_two, optim.Adam(), epochs=2)
    two = fit(turned, [(other, back)], loss_of_two, optim.Adam(), epochs=2)
    assert one.losses == two.losses
    with pytest.raises(ValueError, match=r"x\['a'\] must be \(N, T, 4\)"):
        turned({"a": np.zeros((N, T, 3), "f"), "b": other["b"]})


def test_training_several_inputs_and_outputs():
    model, x = two_ends(), pair()
    targets = {"whole": floats(N, 3, seed=5), "steps": floats(T, N, 2, seed=6)}
    history = fit(model, [(x, targets)], loss_of_two, optim.Adam(1e-2), epochs=30)
    assert history.losses[-1] < 0.7 * history.losses[0]
    recording = model.record(x, targets, loss_of_two)
    assert recording.loss == pytest.approx(loss_of_two(model(x), targets)[0])
    assert recording.layers[0].dy.shape == (T, N, 5)
    assert "whole (3, 3) float32" in repr(recording)
    assert list(recording.gradients.dx) == ["a", "b"]
    with pytest.raises(TypeError, match="give each Batch its weight"):
        evaluate(model, [(x, targets)], loss_of_two)
    lists = {name: [a[:k, n] for n, k in enumerate((T, 2, 4))] for name, a in x.items()}
    steps = [targets["steps"][:k, n] for n, k in enumerate((T, 2, 4))]
    found = fit(model, [(lists, {**targets, "steps": steps})], loss_of_two, optim.Adam(), epochs=1)
    assert np.isfinite(found.losses[-1])


def test_segments_change_no_bit():
    model, x, targets = branches(), floats(20, N, D), floats(20, N, 2, seed=1)
    value, whole, _ = TruncatedBPTT(model).gradient(x, targets, losses.mean_squared_error)
    whole = whole.copy()
    run = TruncatedBPTT(model, checkpoint_every=6)
    again, cut, _ = run.gradient(x, targets, losses.mean_squared_error)
    assert value == again
    assert_same_bits(whole, cut)
    with pytest.raises(ValueError, match="one input and one output"):
        TruncatedBPTT(two_ends(), checkpoint_every=6)


def test_a_checkpoint_resumes_with_the_same_bits(tmp_path):
    x, targets = floats(20, N, D), floats(20, N, 2, seed=1)
    windows = Windows(x, targets, 5)
    loss, state = losses.mean_squared_error, TrainingState(optim.Adam(1e-2))
    whole, part, path = branches(), branches(), tmp_path / "part.safetensors"
    fit(whole, windows, loss, optim.Adam(1e-2), epochs=2)
    fit(part, windows, loss, updates=3, resume=state)
    checkpoint.save(path, checkpoint.Checkpoint(part, training=state))
    again = checkpoint.load(path)
    assert isinstance(again.model, Graph)
    assert repr(again.model) == repr(part)
    fit(again.model, windows, loss, epochs=2, resume=again.training)
    assert_same_bits(again.model.flat, whole.flat)


@pytest.mark.parametrize("kind", ["int8", "bfloat16"])
def test_quantised_graphs(kind, tmp_path):
    for model, x in ((branches(), floats(T, N, D)), (two_ends(), pair())):
        small = model.quantize(kind)
        y, z = small(x), small.dequantized()(x)
        for name in model.outputs:
            one, two = (y[name], z[name]) if len(model.outputs) > 1 else (y, z)
            assert_same_bits(one, two)
        small.save(tmp_path / "small.safetensors")
        again = load(tmp_path / "small.safetensors")
        assert (again.weights, again.tie) == (kind, model.tie)
        assert repr(again) == repr(model)


def test_files_keep_names_of_outputs_inside_models(tmp_path):
    model = Graph(
        {
            "deep": Sequential(LSTM(D, 3), Linear(3, 2)),
            "wide": (Linear(D, 2), "x"),
        },
        ["wide", "deep"],
        rng=0,
    )
    x = floats(T, N, D)
    model.save(tmp_path / "model.safetensors")
    for again in (load(tmp_path / "model.safetensors"), copy.deepcopy(model)):
        assert again.outputs == ("wide", "deep")
        assert_same_bits(again(x)["deep"], model(x)["deep"])
    assert list(model.quantize("int8")(x)) == ["wide", "deep"]


def test_what_it_says_of_itself():
    model = branches()
    assert eval(repr(model)).describe() == model.describe()
    assert repr(Graph({"a": Linear(2, 1)}, "a")) == (
        "Graph({'a': Linear(in_features=2, out_features=1)}, 'a')"
    )
    several = two_ends()
    assert eval(repr(several)).describe() == several.describe()
    assert model["gru"] is model[2]
    assert model.where(2) == "node gru (GRU)"
    with pytest.raises(KeyError, match="did you mean 'gru'"):
        model["grus"]
    assert "both" in model.summary()
    assert "weight_ih_l0 is first.weight_ih_l0" in several.summary()
    assert several.plan(T, N).total > several.plan(T, N, training=False).total
    assert (model.inputs, model.outputs) == (("x",), ("out",))
    graph = several.graph()
    assert [n.label for n in graph.nodes if n.kind == "input"] == ["a", "b"]
    assert [n.label for n in graph.nodes if n.kind == "output"] == ["whole", "steps"]
    assert len(graph.inputs("layer2")) == 2


def test_frozen_shared_parameters_stay():
    model = two_ends()
    model["first"].trainable = False
    before = model.parameters["first.weight_ih_l0"].copy()
    targets = {"whole": np.zeros((N, 3), "f"), "steps": np.zeros((T, N, 2), "f")}
    fit(model, [(pair(), targets)], loss_of_two, optim.Adam(), epochs=1)
    assert_same_bits(model.parameters["first.weight_ih_l0"], before)


# Errors

WRONG = {
    "no dict": (lambda: Graph([LSTM(2, 2)], "a"), "nodes must be a dict: name: layer"),
    "empty": (lambda: Graph({}, "a"), "at least one node"),
    "no layer": (lambda: Graph({"a": 3}, "a"), "node a must be a layer or a Sequential"),
    "no name": (lambda: Graph({"": Tanh()}, ""), "must be 1 to 200 printable characters"),
    "a number": (lambda: Graph({1: Tanh()}, "a"), "name of node 0 must be a str"),
    "a circle": (
        lambda: Graph({"a": (Add(), "x", "b"), "b": Linear(2, 2)}, "b"),
        "must not form a circle, but each of these reads the next: a -> b -> a",
    ),
    "itself": (lambda: Graph({"a": (Tanh(), "a")}, "a"), "circle.*a -> a"),
    "output": (
        lambda: Graph({"lstm": LSTM(2, 2)}, "lstn"),
        "outputs must be names of nodes, lstm, got 'lstn'; did you mean 'lstm'",
    ),
    "twice": (lambda: Graph({"a": Tanh()}, ["a", "a"]), "outputs must be different nodes"),
    "no output": (lambda: Graph({"a": Tanh()}, []), "outputs must name at least one node"),
    "unused": (
        lambda: Graph({"a": Tanh(), "b": (Tanh(), "x")}, "b"),
        "node a is not used: no output depends on it",
    ),
    "unknown source": (
        lambda: Graph({"a": Tanh(), "b": (Add(), "x", "aa")}, "b", inputs=["x"]),
        "node b reads 'aa', which is no node and none of the inputs x",
    ),
    "unused input": (
        lambda: Graph({"a": (Tanh(), "x")}, "a", inputs=["x", "u"]),
        "input u is not used",
    ),
    "input is a node": (
        lambda: Graph({"a": (Tanh(), "x")}, "a", inputs=["a"]),
        "inputs must have names of their own, but a is a node, too",
    ),
    "which input": (
        lambda: Graph({"a": Tanh(), "b": (Add(), "a", "u", "v")}, "b"),
        r"node a must name what it reads, \(Tanh\(...\), 'u'\)",
    ),
    "sizes": (
        lambda: Graph({"a": LSTM(2, 3), "b": Linear(4, 1)}, "b"),
        r"node b \(Linear\) takes 4 input features, but node a \(LSTM\) outputs 3",
    ),
    "sizes of an input": (
        lambda: Graph({"a": Linear(2, 3), "b": (Linear(4, 3), "x"), "c": (Add(), "a", "b")}, "c"),
        r"node b \(Linear\) takes 4 input features, but node a \(Linear\) takes 2 of the same",
    ),
    "sizes of a join": (
        lambda: Graph({"a": Linear(2, 3), "b": (Add(), "x", "a")}, "b"),
        r"node b \(Add\): what it joins must have one number of features, got 2 and 3",
    ),
    "one to join": (lambda: Graph({"a": Add()}, "a"), "joins two values or more, got one"),
    "several to read": (
        lambda: Graph({"a": Tanh(), "b": (Linear(2, 2), "a", "x")}, "b"),
        "reads one value, got 2: join them first",
    ),
    "steps and none": (
        lambda: Graph({"a": Last(), "b": (Add(), "a", "x")}, "b"),
        r"node b \(Add\): it joins values of every step.*node a \(Last\) outputs one vector",
    ),
    "no steps": (
        lambda: Graph({"a": MeanPool(), "b": GRU(2, 2)}, "b"),
        r"node b \(GRU\): its input must be a sequence, but node a \(MeanPool\)",
    ),
    "other model": (
        lambda: Graph({"a": Sequential(Tanh(), Tanh())[0]}, "a"),
        "node a .*is already part of a model",
    ),
    "two names": (
        lambda: Graph({"a": Sequential(Tanh()), "a.0": Tanh()}, "a.0"),
        "two nodes must not have one name, got a.0 twice",
    ),
    "graph inside": (
        lambda: Graph({"a": Graph({"b": Tanh()}, "b")}, "a"),
        "node a must be a layer or a Sequential.*got Graph",
    ),
    "join in a row": (lambda: Sequential(Linear(2, 2), Add()), "joins two values or more, got one"),
    "tie": (
        lambda: Graph({"a": Linear(2, 2)}, "a", tie={"a.weight": "b.weight"}),
        "tie: no parameter 'b.weight'",
    ),
    "dtype": (lambda: Graph({"a": Linear(2, 2)}, "a", dtype="float16"), "dtype"),
    "batch first": (
        lambda: Graph({"a": Sequential(Linear(2, 2), batch_first=True)}, "a"),
        "node a is a batch-first model",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_said_in_one_line(name):
    make, words = WRONG[name]
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert re.search(words, str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_inputs_are_said_in_one_line():
    model, x = two_ends(), pair()
    for wrong, words in (
        (x["a"], "x must be a dict of the inputs a, b, got ndarray"),
        ({"a": x["a"]}, "b is missing"),
        ({**x, "c": x["a"]}, "x must have the inputs a, b, got 'c'"),
        ({"a": list(x["a"]), "b": x["b"]}, "arrays for all"),
    ):
        with pytest.raises((TypeError, ValueError), match=re.escape(words)):
            model.forward(wrong)
    with pytest.raises(ValueError, match="lengths must have the inputs a, b, got 'c'"):
        model.forward(x, lengths={"c": [T, 2, 4]})
    y, _, tape = model.forward(x, record=True)
    with pytest.raises(TypeError, match="dy must be a dict of the outputs whole, steps"):
        model.backward(y["steps"], tape)
    with pytest.raises(ValueError, match="dy must have the outputs whole, steps, got 'step'"):
        model.backward({"step": y["steps"]}, tape)


def test_joins_alone():
    a, b = floats(T, N, 2), floats(T, N, 2, seed=1)
    with pytest.raises(TypeError, match="x must be a tuple of two arrays or more, which Add joins"):
        Add().forward(a)
    with pytest.raises(ValueError, match=r"x\[1\] must have the shape of x\[0\]"):
        Add().forward((a, b[:3]))
    with pytest.raises(ValueError, match=r"x\[1\] must have that of x\[0\] but for the last axis"):
        Concat().forward((a, b[:3]))
    with pytest.raises(TypeError, match="dtype"):
        Multiply().forward((a, b.astype(np.float64)))
    y, _, tape = Concat().forward((a, b[..., :1]), record=True)
    dx = Concat().backward(y, tape).dx
    assert_same_bits(dx[0], a)
    assert_same_bits(dx[1], np.ascontiguousarray(b[..., :1]))


HOSTILE = {
    "reads": lambda d: d["layers"][1].update(reads=["x", "nobody"]),
    "circle": lambda d: d["layers"][0].update(reads=["out"]),
    "no reads": lambda d: d["layers"][0].update(reads=[]),
    "reads a number": lambda d: d["layers"][0].update(reads=[3]),
    "reads text": lambda d: d["layers"][0].update(reads="x"),
    "one name": lambda d: d["layers"][1].update(name="lstm"),
    "empty name": lambda d: d["layers"][1].update(name=""),
    "long name": lambda d: d["layers"][1].update(name="a" * 201),
    "line break": lambda d: d["layers"][1].update(name="a\nb"),
    "no outputs": lambda d: d.update(outputs=[]),
    "outputs": lambda d: d.update(outputs=[["out", "nobody"]]),
    "outputs alone": lambda d: d.update(outputs=["out"]),
    "outputs triple": lambda d: d.update(outputs=[["out", "out", "out"]]),
    "same outputs": lambda d: d.update(outputs=[["y", "out"], ["y", "sum"]]),
    "inputs": lambda d: d.update(inputs=["x", "z"]),
    "inputs text": lambda d: d.update(inputs="x"),
    "inputs node": lambda d: d.update(inputs=["lstm"]),
    "tied": lambda d: d["layers"][0].update(tied={"weight_ih_l0": "nobody.weight"}),
    "unknown layer": lambda d: d["layers"][0].update(type="os.system"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_descriptions_are_refused_in_one_line(name):
    model = branches()
    description = json.loads(json.dumps(model.describe()))
    HOSTILE[name](description)
    with pytest.raises((TypeError, ValueError)) as error:
        build(description, model.parameters)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_many_paths_take_little_time():
    """Each node is read twice by the next: 2^200 paths, which nothing may walk one by one."""
    nodes = {"n0": Tanh()}
    for k in range(1, 200):
        nodes[f"n{k}"] = (Add(), f"n{k - 1}", f"n{k - 1}")
    model = Graph(nodes, "n199")
    assert len(model) == 200
    nodes["n0"] = (Tanh(), "n199")
    with pytest.raises(ValueError, match="circle"):
        Graph({**nodes, "n0": (Add(), "n199", "x")}, "n199")


def test_attention_over_a_branch():
    model = Graph(
        {"gru": GRU(D, 3), "look": Attention(3), "both": (Concat(), "gru", "look")}, "both", rng=0
    )
    assert gradcheck(model, floats(T, N, D)).ok


def test_a_rnn_branch_has_dropout_of_the_model():
    model = Graph({"rnn": RNN(D, D), "drop": Dropout(0.5), "sum": (Add(), "x", "drop")}, "sum")
    x = floats(T, N, D)
    a = model.forward(x, record=True)[0]
    model.generator = np.random.default_rng(0)
    b = model.forward(x, record=True)[0]
    model.generator = np.random.default_rng(0)
    assert_same_bits(model.forward(x, record=True)[0], b)
    assert a.tobytes() != model(x).tobytes()
