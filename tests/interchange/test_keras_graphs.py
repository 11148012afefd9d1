"""from_keras reads functional models with branches as `Graph`, from memory and all files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.keras import keras

import recurrent
from recurrent import Graph, Sequential, from_keras
from recurrent.conformance.tolerance import assert_close

h5py = pytest.importorskip("h5py", reason="files of Keras need h5py: recurrent-engine[keras]")
layers = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
T, D = 5, 3


def randomise(model):
    rng = np.random.default_rng(1)
    model.set_weights([0.5 * rng.standard_normal(v.shape) for v in model.weights])
    return model


def feeds(model, N=2):
    """Return inputs by name, of Keras and of ours: one without steps is one of one step here."""
    rng, theirs, ours = np.random.default_rng(0), {}, {}
    for one in model.inputs:
        shape = (N, *[T if n is None else n for n in one.shape[1:]])
        if one.dtype == "int32":
            theirs[one.name] = ours[one.name] = rng.integers(0, 7, shape)
        else:
            a = rng.standard_normal(shape).astype("f")
            theirs[one.name], ours[one.name] = a, a if a.ndim == 3 else a[:, None]
    return theirs, ours


def check(model, ours):
    """Compare the outputs of Keras with ours."""
    x, own = feeds(model)
    expected = model(list(x.values()) if len(x) > 1 else next(iter(x.values())))
    found = ours(own if len(own) > 1 else next(iter(own.values())))
    expected = list(expected.values()) if isinstance(expected, dict) else expected
    expected = expected if isinstance(expected, (list, tuple)) else [expected]
    found = list(found.values()) if isinstance(found, dict) else [found]
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        b = np.asarray(b)
        assert_close(a, b, 1000, max(1.0, np.abs(b).max()))


def same(a, b):
    assert repr(a) == repr(b)
    assert a.flat.tobytes() == b.flat.tobytes()


def sequence(name, ids=False):
    return keras.Input((T,), dtype="int32", name=name) if ids else keras.Input((T, D), name=name)


def residual():
    x = sequence("x")
    y = layers.GRU(D, return_sequences=True, name="gru")(x)
    both = layers.Add(name="both")([x, y])
    return keras.Model(x, layers.Dense(2, activation="tanh", name="out")(both))


def operators():
    """Joins written as operators: classes of Keras with the names of the layers."""
    x = sequence("x")
    y = layers.Dense(D, activation="relu")(x)
    z = keras.ops.concatenate([x + y, x * y], axis=-1)
    return keras.Model(x, layers.LSTM(2)(z))


def siamese():
    """Two inputs and a layer for both, with a table of rows for both."""
    a, b = sequence("a", True), sequence("b", True)
    table, encoder = layers.Embedding(7, D, name="table"), layers.LSTM(4, name="encoder")
    u, v = encoder(table(a)), encoder(table(b))
    both = layers.Concatenate()([u, v, layers.Multiply()([u, v])])
    return keras.Model([a, b], layers.Dense(1, activation="sigmoid", name="out")(both))


def heads():
    """Two outputs, one of every step, and an input without steps."""
    x, static = sequence("x"), keras.Input((2,), name="static")
    y = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both")(x)
    last = layers.GlobalMaxPooling1D()(y)
    joined = layers.Concatenate(axis=1)([last, static])
    tags = layers.TimeDistributed(layers.Dense(2, activation="softmax"), name="tags")(y)
    return keras.Model([x, static], [tags, layers.Dense(3, name="kind")(joined)])


def nested():
    """A model with a branch, called twice, within a model."""
    inner_x = keras.Input((T, D))
    inner_y = layers.LSTM(D, return_sequences=True, name="lstm")(inner_x)
    inner = keras.Model(inner_x, layers.Add()([inner_x, inner_y]), name="inner")
    x = sequence("x")
    tail = [layers.GRU(3, return_sequences=True), layers.Dense(2, name="last")]
    tail = keras.Sequential(tail, name="tail")
    y = inner(inner(x))
    return keras.Model(x, layers.Concatenate(axis=2)([tail(y), x]))


MODELS = [residual, operators, siamese, heads, nested]


@pytest.mark.parametrize("make", MODELS)
def test_branches_become_a_graph(make, tmp_path):
    model = randomise(make())
    ours = from_keras(model)
    assert isinstance(ours, Graph)
    assert ours.batch_first
    check(model, ours)
    for name in ("a.keras", "a.h5"):
        model.save(tmp_path / name)
        same(from_keras(tmp_path / name), ours)
    model.save_weights(tmp_path / "a.weights.h5")
    same(from_keras(tmp_path / "a.weights.h5", config=model.to_json()), ours)
    ours.save(tmp_path / "first")
    recurrent.load(tmp_path / "first").save(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_names_are_those_of_keras():
    ours = from_keras(siamese())
    assert ours.inputs == ("a", "b")
    assert ours.outputs == ("out",)
    assert "table.weight" in ours.parameters
    assert ours.tie["table_1.weight"] == "table.weight"
    assert from_keras(heads()).outputs == ("tags", "kind")
    assert "inner/lstm.weight_ih_l0" in from_keras(nested()).parameters
    x = sequence("x")
    y = layers.GRU(2, return_sequences=True, name="gru")(x)
    ends = {"tags": layers.Dense(2, activation="relu")(y), "kind": layers.LSTM(3)(y)}
    assert from_keras(keras.Model(x, ends)).outputs == ("tags", "kind")
    ours = from_keras(residual())
    assert [layer.origin for layer in ours.layers] == ["gru", "both", "out", "out"]


def test_a_graph_of_keras_can_be_trained():
    ours = from_keras(randomise(residual()))
    x = np.random.default_rng(0).standard_normal((2, T, D)).astype("f")
    y, _, tape = ours.forward(x, record=True)
    gradients = ours.backward(np.ones_like(y), tape)
    assert gradients.params.keys() == ours.parameters.keys()


def old(config):
    """Return the configuration of a model as Keras 2 wrote it: tensors are lists."""

    def tensors(value):
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            return [[*value["config"]["keras_history"], {}]]
        if isinstance(value, (list, tuple)):
            return [t for v in value for t in tensors(v)]
        return []

    for entry in config["layers"]:
        entry["inbound_nodes"] = [
            tensors([node["args"], node["kwargs"].get("initial_state")])
            for node in entry["inbound_nodes"]
        ]
        if entry["class_name"] == "Functional":
            old(entry["config"])
    return config


@pytest.mark.parametrize("make", [residual, siamese, nested])
def test_configurations_of_keras_2_are_read(make, tmp_path):
    model = randomise(make())
    same(from_keras(old_file(model, tmp_path / "a.h5")), from_keras(model))


def old_file(model, path):
    """Write a file with a configuration of Keras 2; return its path."""
    model.save(path)
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        old(config["config"])
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
    return path


@st.composite
def wirings(draw):
    """Draw a model whose layers each read some of those before, all of one width."""
    inputs = draw(st.integers(1, 2))
    shared = draw(st.booleans())
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["GRU", "Dense", "Shared", "Add", "Multiply", "Concatenate"]),
                st.lists(st.integers(0, 99), min_size=3, max_size=3),
            ),
            min_size=1,
            max_size=6,
        )
    )
    outputs = draw(st.integers(1, 2))

    def build():
        values = [sequence(f"x{k}") for k in range(inputs)]
        inner = layers.SimpleRNN(D, return_sequences=True, name="shared")
        made, read = [], set()
        for kind, picks in steps:
            joins = kind in ("Add", "Multiply", "Concatenate")
            picks = [p % len(values) for p in picks[: 2 + picks[0] % 2 if joins else 1]]
            given = [values[p] for p in picks]
            read.update(picks)
            if joins:
                y = getattr(layers, kind)()(given)
                y = layers.Dense(D)(y) if kind == "Concatenate" else y
            elif kind == "GRU":
                y = layers.GRU(D, return_sequences=True)(given[0])
            elif kind == "Shared" and shared:
                y = inner(given[0])
            else:
                y = layers.Dense(D, activation="tanh")(given[0])
            values.append(y)
            made.append(len(values) - 1)
        for k in range(inputs):  # all inputs and layers are used
            if k not in read:
                made.append(k)
        loose = [values[k] for k in made if k not in read]
        end = loose[0] if len(loose) == 1 else layers.Concatenate()(loose)
        ends = [layers.Dense(2)(end) for _ in range(outputs)]
        return keras.Model(values[:inputs], ends)

    return build


@given(build=wirings())
def test_any_wiring_is_that_of_keras(build, tmp_path_factory):
    model = randomise(build())
    ours = from_keras(model)
    check(model, ours)
    folder = tmp_path_factory.mktemp("keras")
    model.save(folder / "a.keras")
    same(from_keras(folder / "a.keras"), ours)


def states():
    x = sequence("x")
    _, h, c = layers.LSTM(3, return_state=True, name="one")(x)
    return keras.Model(x, layers.LSTM(3, name="two")(x, initial_state=[h, c]))


def state_read():
    x = sequence("x")
    _, h, c = layers.LSTM(3, return_state=True, name="one")(x)
    return keras.Model(x, layers.Add(name="sum")([h, c]))


def state_returned():
    x = sequence("x")
    return keras.Model(x, layers.GRU(3, return_state=True, name="one")(x))


def state_last():
    x = sequence("x")
    _, h = layers.GRU(3, return_sequences=True, return_state=True, name="one")(x)
    return keras.Model(x, layers.Dense(2, name="out")(h))


def trained_call():
    x = sequence("x")
    return keras.Model(x, layers.Dropout(0.5, name="drop")(x, training=True))


def along_time():
    x = sequence("x")
    return keras.Model(x, layers.Concatenate(axis=1, name="longer")([x, x]))


def unknown_join():
    x = sequence("x")
    return keras.Model(x, layers.Subtract(name="minus")([x, layers.Dense(D)(x)]))


def number():
    x = sequence("x")
    y = x + 1.0
    return keras.Model(x, layers.Dense(2)(y))


def broadcast():
    x = sequence("x")
    return keras.Model(x, layers.Multiply(name="gate")([x, layers.Dense(1)(x)]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (states, r"two \(LSTM\) takes its initial_state from another layer"),
        (state_read, r"sum \(Add\) reads a final state of one \(LSTM\), return_state=True"),
        (state_returned, r"the output reads a final state of one \(GRU\), return_state=True"),
        (state_last, r"out \(Dense\) reads a final state of one \(GRU\), return_state=True"),
        (trained_call, r"drop \(Dropout\) is called with training=True"),
        (along_time, r"longer \(Concatenate\) must join the last axis, axis=-1, got axis=1"),
        (unknown_join, r"minus \(Subtract\) reads .*several are Add, Multiply, Concatenate"),
        (number, r"add\w* \(Add\) must read two layers or more, got x"),
        (broadcast, r"must have one number of features, got 3 and 1"),
    ],
)
def test_what_has_no_equal_is_named(make, words):
    with pytest.raises(ValueError, match=words) as error:
        from_keras(make())
    assert "\n" not in str(error.value)


def test_states_of_keras_2_are_named(tmp_path):
    """Keras 2 lists initial states among the inputs of a layer."""
    with pytest.raises(ValueError, match=r"two \(LSTM\) takes its initial_state from another"):
        from_keras(old_file(states(), tmp_path / "a.h5"))


def test_damaged_wirings_are_named(tmp_path):
    """A layer that reads nothing, one that is not there, two that read each other."""
    model = residual()

    def words(*changes):
        model.save(tmp_path / "a.h5")
        with h5py.File(tmp_path / "a.h5", "a") as file:
            config = json.loads(file.attrs["model_config"])
            entries = {entry["name"]: entry for entry in config["config"]["layers"]}
            for name, reads in changes:
                entries[name]["inbound_nodes"] = [[[source, 0, 0, {}] for source in reads]]
            file.attrs["model_config"] = json.dumps(config)
        with pytest.raises(ValueError) as error:  # noqa: PT011
            from_keras(tmp_path / "a.h5")
        return str(error.value).partition("a.h5: ")[2]

    assert words(("gru", [])) == "gru (GRU) reads nothing: its inbound_nodes name no layer"
    assert words(("gru", ["wrong"])) == (
        "gru (GRU) reads 'wrong', which no layer before it computes"
    )
    assert words(("gru", ["both"])) == "gru (GRU) reads 'both', which no layer before it computes"


def test_states_that_nobody_reads_are_left_out():
    x = sequence("x")
    y, _, _ = layers.LSTM(3, return_sequences=True, return_state=True)(x)
    model = randomise(keras.Model(x, layers.Dense(2)(y)))
    ours = from_keras(model)
    assert isinstance(ours, Sequential)
    check(model, ours)
