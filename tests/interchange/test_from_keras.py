"""from_keras against Keras on NumPy: layers in memory, files of Keras 3 and files of old."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.keras import keras

import recurrent
from recurrent import GRU, LSTM, Sequential, from_keras
from recurrent.conformance.tolerance import assert_close

h5py = pytest.importorskip("h5py", reason="files of Keras need h5py: recurrent-engine[keras]")
layers = keras.layers
# Keras on NumPy reads its variables by an interface that NumPy will drop.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
KINDS = {"SimpleRNN": layers.SimpleRNN, "LSTM": layers.LSTM, "GRU": layers.GRU}


@st.composite
def options(draw, kind):
    """Draw options of a recurrent layer of Keras."""
    found = dict(
        units=draw(st.integers(1, 4)),
        use_bias=draw(st.booleans()),
        return_sequences=draw(st.booleans()),
        dropout=draw(st.sampled_from([0.0, 0.25])),
        activation=draw(st.sampled_from(["tanh", "relu", "linear"])),
        unroll=draw(st.booleans()),
        zero_output_for_mask=draw(st.booleans()),
        recurrent_dropout=draw(st.sampled_from([0.0, 0.125])),
        trainable=draw(st.booleans()),
    )
    if kind != "SimpleRNN":
        found["recurrent_activation"] = draw(st.sampled_from(["sigmoid", "hard_sigmoid"]))
    if kind == "GRU":
        found["reset_after"] = draw(st.booleans()) or found["recurrent_dropout"] > 0
    return found


@st.composite
def models(draw):
    """Draw a Sequential model of Keras, as a function that makes it."""
    kind = draw(st.sampled_from(list(KINDS)))
    own = draw(options(kind))
    both, ids = draw(st.booleans()), draw(st.booleans())
    ways = ["concat", "sum", "mul", "ave"] if own["return_sequences"] else ["concat"]
    if not both and not own["return_sequences"]:
        own["go_backwards"] = draw(st.booleans())
    way, activation = draw(st.sampled_from(ways)), draw(st.sampled_from([None, "tanh", "softmax"]))
    after = [
        lambda: layers.Dense(4, activation=activation),
        lambda: layers.LayerNormalization(epsilon=1e-2),
        lambda: layers.Dropout(0.5),
        lambda: layers.Activation("sigmoid"),
        lambda: layers.LeakyReLU(0.25),
        lambda: layers.Dense(2, use_bias=False),
    ]
    chosen = draw(st.lists(st.sampled_from(after), max_size=3, unique=True))

    def build():
        first = [keras.Input((5,), dtype="int32"), layers.Embedding(7, 3)]
        made = first if ids else [keras.Input((5, 3))]
        layer = KINDS[kind](**own)
        made.append(layers.Bidirectional(layer, merge_mode=way) if both else layer)
        made += [make() for make in chosen]
        if own["return_sequences"]:
            made.append(layers.TimeDistributed(layers.Dense(2, activation="relu")))
        return keras.Sequential(made)

    return build


def inputs(model, N=3, T=5):
    rng = np.random.default_rng(0)
    if model.inputs[0].dtype == "int32":
        return rng.integers(0, 7, (N, T))
    return rng.standard_normal((N, T, *model.inputs[0].shape[2:])).astype(np.float32)


def randomise(model):
    """Give all weights of a model values of their own, biases too."""
    rng = np.random.default_rng(1)
    model.set_weights([0.5 * rng.standard_normal(v.shape) for v in model.weights])
    return model


def check(theirs, ours):
    x = inputs(theirs)
    expected = np.asarray(theirs(x))
    assert_close(ours(x), expected, 1000, max(1.0, np.abs(expected).max()))


def same(a, b):
    assert repr(a) == repr(b)
    for name, values in a.parameters.items():
        np.testing.assert_array_equal(values, b.parameters[name], strict=True)


@given(build=models())
def test_files_and_models_in_memory_are_the_same(build, tmp_path_factory):
    model = build()
    folder = tmp_path_factory.mktemp("keras")
    randomise(model).save(folder / "a.keras")
    ours = from_keras(model)
    same(from_keras(folder / "a.keras"), ours)
    assert ours.batch_first
    ours.save(folder / "a.safetensors")
    loaded = recurrent.load(folder / "a.safetensors")
    for name, values in ours.parameters.items():
        np.testing.assert_array_equal(loaded.parameters[name], values, strict=True)
    loaded.save(folder / "b.safetensors")
    data = [(folder / f"{name}.safetensors").read_bytes() for name in "ab"]
    assert data[0] == data[1]


@pytest.mark.ci
@settings(max_examples=12)
@given(build=models())
def test_outputs_of_any_options_are_those_of_keras(build):
    model = build()
    check(randomise(model), from_keras(model))


@pytest.mark.parametrize("kind", list(KINDS))
def test_outputs_are_those_of_keras(kind):
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(7, 3, mask_zero=False),
            layers.Bidirectional(KINDS[kind](4)),
            layers.Dense(2, activation="softmax"),
        ]
    )
    check(randomise(model), from_keras(model))


@given(
    padding=st.sampled_from(["valid", "same", "causal"]),
    strides=st.integers(1, 2),
    k=st.integers(1, 4),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
)
def test_convolutions_are_those_of_keras(padding, strides, k, dilation, bias):
    strides = 1 if padding == "same" or dilation > 1 else strides
    conv = layers.Conv1D(
        6, k, strides, padding, dilation_rate=dilation, use_bias=bias, activation="silu"
    )
    model = randomise(keras.Sequential([keras.Input((9, 3)), conv, layers.Dense(2)]))
    x = np.random.default_rng(0).standard_normal((2, 9, 3)).astype("f")
    expected = np.asarray(model(x))
    assert_close(from_keras(model)(x), expected, 200, max(1.0, np.abs(expected).max()))


def test_a_functional_chain_is_read(tmp_path):
    x = keras.Input((None, 3))
    y = layers.LSTM(4, return_sequences=True, name="first")(x)
    y = layers.LSTM(4, name="second")(layers.Dropout(0.1)(y))
    model = randomise(keras.Model(x, layers.Dense(2)(y)))
    model.save(tmp_path / "a.keras")
    ours = from_keras(tmp_path / "a.keras")
    same(ours, from_keras(model))
    check(model, ours)


def test_models_within_models_are_read(tmp_path):
    inner = keras.Sequential([layers.GRU(4, return_sequences=True), layers.GRU(3)])
    model = keras.Sequential([keras.Input((None, 2)), inner, layers.Dense(2)])
    randomise(model).save(tmp_path / "a.keras")
    ours = from_keras(tmp_path / "a.keras")
    same(ours, from_keras(model))
    check(model, ours)


def test_mask_zero_equals_lengths():
    model = keras.Sequential(
        [keras.Input((5,), dtype="int32"), layers.Embedding(7, 3, mask_zero=True), layers.LSTM(4)]
    )
    ours = from_keras(randomise(model))
    x = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 1, 2]])
    expected = np.asarray(model(x))
    y = ours.forward(x, lengths=(x != 0).sum(axis=1))[0]
    assert_close(y, expected, 1000, 1.0)
    assert ours[0].padding_idx == 0


def legacy(path, entries, version="2.15.0"):
    """Write a file as Keras 2 did: entries of (class name, config, arrays by name)."""
    config = [
        {"class_name": kind, "config": {"name": f"l{k}", **own}}
        for k, (kind, own, _) in enumerate(entries)
    ]
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": {"name": "s", "layers": config}}
        )
        file.attrs["keras_version"] = version
        top = file.create_group("model_weights")
        top.attrs["layer_names"] = [f"l{k}".encode() for k in range(len(entries))]
        for k, (_, _, arrays) in enumerate(entries):
            group = top.create_group(f"l{k}")
            group.attrs["weight_names"] = [f"l{k}/{n}:0".encode() for n in arrays]
            for n, a in arrays.items():
                group.create_dataset(f"l{k}/{n}:0", data=a)


def weights(kind, D, H, G, biases=1, seed=0):
    rng = np.random.default_rng(seed)
    shape = {0: (), 1: (G * H,), 2: (2 * G * H,)}[biases]
    arrays = {"kernel": (D, G * H), "recurrent_kernel": (H, G * H), "bias": shape}
    return {n: rng.standard_normal(s).astype("f") for n, s in arrays.items()}


def test_old_files_are_read(tmp_path):
    arrays = weights("LSTM", 3, 4, 4)
    own = dict(units=4, activation="tanh", recurrent_activation="hard_sigmoid", use_bias=True)
    legacy(tmp_path / "a.h5", [("LSTM", own, arrays)])
    ours = from_keras(tmp_path / "a.h5")
    assert ours[0].options["activations"] == ("hardsigmoid(0.2, 0.5)", "tanh", "tanh")
    i, f, g, o = np.split(arrays["kernel"].T, 4)
    np.testing.assert_array_equal(ours.parameters["0.weight_ih_l0"], np.concatenate([i, f, g, o]))


def from_cudnn(kernels, n, transform):
    """Return kernels of a CuDNN layer as those of the plain one: TensorFlow's hdf5_format.py."""
    return np.hstack([transform(kernel) for kernel in np.hsplit(kernels, n)])


def transposed_input(kernel):
    return kernel.T.reshape(kernel.shape, order="F")


@pytest.mark.parametrize(("kind", "G"), [("LSTM", 4), ("GRU", 3)])
def test_cudnn_layers_of_old_files_equal_plain_ones(kind, G, tmp_path):
    """CuDNN files hold two biases; the plain layer that TensorFlow makes of them is the oracle."""
    D, H = 3, 4
    arrays = weights(kind, D, H, G, biases=2)
    legacy(tmp_path / "a.h5", [(f"CuDNN{kind}", dict(units=H, return_sequences=True), arrays)])
    bias = arrays["bias"]
    plain = [
        from_cudnn(arrays["kernel"], G, transposed_input),
        from_cudnn(arrays["recurrent_kernel"], G, lambda k: k.T),
        sum(np.split(bias, 2)) if kind == "LSTM" else bias.reshape(2, -1),
    ]
    model = keras.Sequential([keras.Input((None, D)), KINDS[kind](H, return_sequences=True)])
    model.set_weights(plain)
    check(model, from_keras(tmp_path / "a.h5"))


def test_a_keras_3_file_in_the_old_format_is_read(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), layers.GRU(4), layers.Dense(2)])
    randomise(model)
    model.save(tmp_path / "a.h5")
    same(from_keras(tmp_path / "a.h5"), from_keras(model))


def model_of(*made):
    return keras.Sequential([keras.Input((5, 3)), *made])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: model_of(layers.BatchNormalization()),
         r"\(BatchNormalization\): no layer here is its equal; layers of Keras that are read are"),
        (lambda: model_of(layers.LSTM(2, activation="gelu")), "activation must be one of .*'gelu'"),
        (lambda: model_of(layers.Bidirectional(layers.LSTM(2), merge_mode="sum")),
         "merge_mode='sum' without return_sequences"),
        (lambda: model_of(layers.LSTM(2, go_backwards=True, return_sequences=True)),
         "go_backwards=True with return_sequences=True returns the steps in reverse"),
        (lambda: model_of(layers.Bidirectional(layers.LSTM(2), merge_mode=None)),
         "merge_mode must be one of concat, sum, mul, ave, got None"),
        (lambda: model_of(layers.Bidirectional(
            layers.LSTM(2, return_sequences=True),
            backward_layer=layers.LSTM(2, return_sequences=True, go_backwards=True, use_bias=False),
         )), "backward_layer must have the options of the forward one"),
        (lambda: model_of(layers.TimeDistributed(layers.Softmax(axis=1))),
         "TimeDistributed of Softmax is not known"),
        (lambda: model_of(layers.GRU(2, reset_after=False, recurrent_dropout=0.5)),
         r"gru\w* \(GRU\): recurrent_dropout: .*a mask acts on that state alone"),
        (lambda: model_of(layers.LayerNormalization(axis=1)), "axis=-1, got axis="),
        (lambda: model_of(layers.ReLU(max_value=1.0)), "max_value must be None"),
    ],
)  # fmt: skip
def test_what_has_no_equal_is_named(make, words):
    with pytest.raises(ValueError, match=words) as error:
        from_keras(make())
    assert "\n" not in str(error.value)


def test_other_files_are_named(tmp_path):
    model = randomise(model_of(layers.LSTM(2)))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="text: this is a text"):
        from_keras(tmp_path / "text")
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        archive.writestr("config.json", "[" * 100_000)
        archive.writestr("model.weights.h5", "")
    with pytest.raises(ValueError, match="configuration of the model is no JSON text"):
        from_keras(tmp_path / "b.keras")
    with zipfile.ZipFile(tmp_path / "c.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(10_000_000))
    with pytest.raises(ValueError, match=r"model.weights.h5 declares 10,000,000 bytes"):
        from_keras(tmp_path / "c.keras")
    for value in (3, None, model.layers[0], keras.Model):
        with pytest.raises(TypeError, match="model must be a model of Keras"):
            from_keras(value)


def test_files_of_weights_are_read_with_the_configuration(tmp_path):
    inner = keras.Sequential([layers.GRU(4, return_sequences=True), layers.Bidirectional(
        layers.LSTM(3))])  # fmt: skip
    model = randomise(model_of(inner, layers.Dense(2)))
    path, text = tmp_path / "a.weights.h5", model.to_json()
    model.save_weights(path)
    (tmp_path / "a.json").write_text(text)
    expected = from_keras(model)
    for config in (text, json.loads(text), tmp_path / "a.json", str(tmp_path / "a.json")):
        same(from_keras(path, config=config), expected)
    words = r"without the configuration of their model: write from_keras\(path, config=model.to_j"
    with pytest.raises(ValueError, match=words):
        from_keras(path)
    with pytest.raises(ValueError, match=r"must have a class_name and a config, .*name"):
        from_keras(path, config=model.get_config())
    with pytest.raises(ValueError, match="config is for a file of weights"):
        from_keras(model, config=text)
    with pytest.raises(TypeError, match=r"config must be the text of model.to_json\(\)"):
        from_keras(path, config=3)
    with pytest.raises(ValueError, match="is no JSON text"):
        from_keras(path, config="{")
    for name in ("a.keras", "a.h5"):
        model.save(tmp_path / name)
        with pytest.raises(ValueError, match="holds the configuration of its model: leave config"):
            from_keras(tmp_path / name, config=text)
    other = model_of(layers.LSTM(7)).to_json()
    with pytest.raises(ValueError, match=r"lstm.* \(LSTM\): must have 3 arrays, got 0"):
        from_keras(path, config=other)


def test_files_of_weights_of_before_keras_3_are_read(tmp_path):
    """`save_weights` of Keras 2 wrote what `model.save` writes below model_weights."""
    model = randomise(model_of(layers.GRU(4), layers.Dense(2)))
    model.save(tmp_path / "whole.h5")
    with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(tmp_path / "a.h5", "w") as file:
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", file)
        for name, value in whole["model_weights"].attrs.items():
            file.attrs[name] = value
    same(from_keras(tmp_path / "a.h5", config=model.to_json()), from_keras(model))
    # The version decides what a hard sigmoid is: that of the file, or else of the configuration.
    config, slopes = json.loads(model.to_json()), []
    config["config"]["layers"][1]["config"]["recurrent_activation"] = "hard_sigmoid"
    for of_config, of_file in (("3.0.0", None), ("2.15.0", None), ("3.0.0", b"2.2.4-tf")):
        config["keras_version"] = of_config
        with h5py.File(tmp_path / "a.h5", "a") as file:
            file.attrs.pop("keras_version", None)
            if of_file:
                file.attrs["keras_version"] = of_file
        ours = from_keras(tmp_path / "a.h5", config=config)
        slopes.append(ours[0].options["activations"][0].partition(",")[0])
    assert slopes == ["hardsigmoid(0.16666666666666666", "hardsigmoid(0.2", "hardsigmoid(0.2"]


def test_nothing_outside_a_file_is_read(tmp_path):
    arrays = weights("LSTM", 3, 4, 4)
    own = dict(units=4)
    legacy(tmp_path / "a.h5", [("LSTM", own, arrays)])
    (tmp_path / "secret").write_bytes(bytes(1000))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        group = file["model_weights/l0/l0"]
        del group["kernel:0"]
        group["kernel:0"] = h5py.ExternalLink("other.h5", "/x")
    with pytest.raises(ValueError, match="is missing, or a link"):
        from_keras(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        group = file["model_weights/l0/l0"]
        del group["kernel:0"]
        group.create_dataset(
            "kernel:0", (3, 16), "f", external=[(str(tmp_path / "secret"), 0, 192)]
        )
    with pytest.raises(ValueError, match="must be an array in the file itself"):
        from_keras(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        group = file["model_weights/l0/l0"]
        del group["kernel:0"]
        group.create_dataset("kernel:0", (3, 10**9), "f", chunks=(1, 100))
    with pytest.raises(ValueError, match="declares 12,000,000,000 bytes, more than the file has"):
        from_keras(tmp_path / "a.h5")


@pytest.mark.filterwarnings("error")
def test_a_stateful_layer_is_read_with_a_warning():
    layer = layers.LSTM(4, stateful=True, return_sequences=True)
    model = randomise(keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), layer]))
    with pytest.warns(UserWarning, match=r"keeps the state of lstm\w* from call .* model.stream"):
        ours = from_keras(model)
    x, state = inputs(model, 2), None
    for _ in range(2):
        expected = np.asarray(model(x))
        y, state, _ = ours.forward(x, state)
        assert_close(y, expected, 1000, 1.0)
    both = layers.Bidirectional(layers.GRU(2, stateful=True))
    with pytest.warns(UserWarning, match="keeps the state of bidirectional"):
        from_keras(keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), both]))


def test_axes_of_old_files_are_checked(tmp_path):
    own = dict(units=4, time_major=True)
    legacy(tmp_path / "a.h5", [("LSTM", own, weights("LSTM", 3, 4, 4))])
    with pytest.raises(ValueError, match=r"l0 \(LSTM\): time_major must be False"):
        from_keras(tmp_path / "a.h5")


@pytest.mark.parametrize("zeros", [False, True])
def test_masked_steps_are_lengths(zeros):
    """Keras masks any step; lengths mask those at the end, where zeros are the output here."""
    layer = layers.GRU(4, return_sequences=True, zero_output_for_mask=zeros)
    table = layers.Embedding(7, 3, mask_zero=True)
    model = randomise(keras.Sequential([keras.Input((5,), dtype="int32"), table, layer]))
    ours = from_keras(model)
    ids = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 1, 2]])
    lengths = np.array([3, 5])
    y = ours.forward(ids, lengths=lengths)[0]
    expected = np.asarray(model(ids))
    assert_close(y[1], expected[1], 1000, 1.0)
    assert_close(y[0, :3], expected[0, :3], 1000, 1.0)
    if zeros:
        np.testing.assert_array_equal(y[0, 3:], expected[0, 3:])
    # Padding in the middle: the steps without it are the same sequence.
    middle = np.asarray(model(np.array([[1, 0, 2, 0, 3]])))[0, [0, 2, 4]]
    assert_close(ours(np.array([[1, 2, 3]]))[0], middle, 1000, 1.0)


@pytest.mark.parametrize("size", [0, 2**64 - 1])
def test_a_file_whose_texts_have_wrong_sizes_is_damaged(size, tmp_path):
    """libhdf5 reads such an entry again and again."""
    legacy(tmp_path / "a.h5", [("LSTM", dict(units=4), weights("LSTM", 3, 4, 4))])
    data = bytearray((tmp_path / "a.h5").read_bytes())
    place = data.index(b"GCOL") + 16
    place += 16 + -(-int.from_bytes(data[place + 8 : place + 16], "little") // 8) * 8
    data[place : place + 16] = bytes(8) + size.to_bytes(8, "little")
    (tmp_path / "a.h5").write_bytes(data)
    with pytest.raises(ValueError, match="the file is damaged: the sizes of its texts are wrong"):
        from_keras(tmp_path / "a.h5")


def test_options_are_kept():
    model = model_of(layers.LSTM(4, recurrent_dropout=0.25, return_sequences=True, trainable=False))
    ours = from_keras(model)
    assert repr(ours[0]) == repr(LSTM(3, 4, biases=1, recurrent_dropout=0.25))
    assert not ours[0].trainable
    assert isinstance(ours, Sequential)
    assert repr(from_keras(model_of(layers.GRU(4)))[0]) == repr(GRU(3, 4))
