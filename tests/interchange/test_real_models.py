"""Files of real models made by others: as near to float64 as the programs they were made for.

Those of packages are read where the package is installed (`.ci/run` does it); the others where the
environment variable RECURRENT_MODELS names their folder.
"""

import ast
import warnings

import numpy as np
import pytest
from oracles.onnx import onnx_session
from safetensors.numpy import load_file
from support.real_models import FILES, MODELS, SILERO, audio, distances, found, normal

from recurrent import (
    LSTM,
    Conv1d,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    from_keras,
    from_onnx,
    from_torch,
    to_onnx,
)

onnx = pytest.importorskip("onnx", reason="ONNX files need onnx: recurrent-engine[onnx]")


def here(place):
    """Return the path of a file, or skip."""
    path = found(place)
    if path is None:
        module, _, inner = place.partition("/")
        name = {"piper": "piper-tts"}.get(module, module.replace("_", "-"))
        pytest.skip(
            f"pip install --no-deps {name}" if inner else f"{MODELS} names no folder with {place}"
        )
    return path


# Those of no package, which CI does not have, are slow.
MARKED = [
    pytest.param(name, marks=[] if "/" in file.place else [pytest.mark.slow])
    for name, file in FILES.items()
    if name != "dksplit"
]


@pytest.mark.parametrize("name", MARKED)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_file_is_as_near_to_float64_as_onnxruntime(name):
    """Deep nets amplify the rounding of float32, and states are as large as 70."""
    here(FILES[name].place)
    model, found_ = distances(FILES[name])
    assert found_
    for output, (largest, ours, theirs) in found_.items():
        assert theirs < 1e-4 * largest, output  # float64 computes what ONNX Runtime does
        assert ours <= 4 * theirs + 2e-7 * largest, output
    if name == "nnsplit":
        assert isinstance(model, Sequential)


def test_a_quantised_file_is_nearer_to_its_float_model_than_onnxruntime():
    """Both have the same int8 weights. The file itself rounds the input of its last product.

    ONNX Runtime also rounds x and h of the LSTMs.
    """
    here(FILES["dksplit"].place)
    _, found_ = distances(FILES["dksplit"])
    ((largest, ours, theirs),) = found_.values()
    assert largest > 5
    assert 1e-4 < ours < 0.03
    assert ours < theirs / 2


@pytest.mark.slow
def test_nnsplit_gives_the_answer_that_comes_with_it():
    arrays = np.load(here("byte_sb_bidi_lstm.npz"))
    model = from_onnx(here("byte_sb_bidi_lstm.onnx"))
    y = model(arrays["input"])
    assert y.shape == arrays["Add_26"].shape
    np.testing.assert_allclose(y, arrays["Add_26"], atol=2e-5)


class Theirs:
    """g2p-en's own loops in NumPy, without the package, which needs others and their data."""

    def __init__(self, arrays):
        vars(self).update(arrays)
        source = here("g2p_en/g2p.py").read_text(encoding="utf-8")
        with warnings.catch_warnings():  # of an escape that is none
            warnings.simplefilter("ignore")
            (kind,) = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef)]
        kept = ("sigmoid", "grucell", "gru", "encode", "predict")
        functions = [f for f in kind.body if isinstance(f, ast.FunctionDef) and f.name in kept]
        space = {"np": np}
        exec(compile(ast.Module(functions, []), "g2p.py", "exec"), space)
        for name in kept:
            setattr(self, name, space[name].__get__(self))
        letters = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
        self.g2idx = {letter: k for k, letter in enumerate(letters)}
        self.idx2p = {k: k for k in range(len(self.dec_emb))}  # ids in place of the names


def g2p(arrays):
    """Return encoder and decoder of g2p-en, which names its arrays in its own way."""
    fields = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}

    def part(name):
        own = {"emb.weight": arrays[f"{name}_emb"]}
        return own | {f"gru.{new}_l0": arrays[f"{name}_{old}"] for old, new in fields.items()}

    fc = {"fc.weight": arrays["fc_w"], "fc.bias": arrays["fc_b"]}
    return from_torch(part("enc"), batch_first=True), from_torch(part("dec") | fc)


def phonemes(encoder, decoder, ids):
    """Return the most likely phonemes of a word, each chosen by the one before it."""
    _, state, _ = encoder.forward(ids)
    stream, found_, last = decoder.stream((None, state[1], None)), [], 2
    while len(found_) < 20:
        last = int(stream.step(np.array([last])).argmax())
        if last == 3:
            break
        found_.append(last)
    return found_


def test_the_grus_of_g2p():
    """Its decoder names the phonemes of words as the loop of the package does.

    Its encoder is as near to float64 as ONNX Runtime. (NumPy adds up in another order: nearer.)
    """
    arrays = dict(np.load(here("g2p_en/checkpoint20.npz")))
    theirs = Theirs(arrays)
    encoder, decoder = g2p(arrays)
    wide, _ = g2p({n: a.astype(np.float64) for n, a in arrays.items()})
    runtime = onnx_session(to_onnx(encoder).SerializeToString())
    source = runtime.get_inputs()[0].name
    words = ("recurrent", "gradient", "keras", "onnx", "forgetfulness", "zyzzyva", "q")
    assert len({tuple(theirs.predict(word)) for word in words}) == len(words)
    for word in words:
        ids = np.array([[theirs.g2idx[letter] for letter in word] + [2]])
        steps = theirs.gru(
            theirs.encode(word), len(word) + 1, *(arrays[f"enc_{n}"] for n in
                                                  ("w_ih", "w_hh", "b_ih", "b_hh"))
        )  # fmt: skip
        true = wide(ids)
        y, (other,) = encoder(ids), runtime.run(None, {source: ids})
        near, far = np.abs(y - true).max(), np.abs(other - true).max()
        assert far < 1e-5
        assert near <= 3 * far
        np.testing.assert_allclose(y, steps, atol=1e-5)
        assert phonemes(encoder, decoder, ids) == theirs.predict(word)


SILERO_LAYERS = {
    "stft_conv": None,
    "conv1": Conv1d(129, 128, 3, padding=1), "relu1": ReLU(),
    "conv2": Conv1d(128, 64, 3, 2, padding=1), "relu2": ReLU(),
    "conv3": Conv1d(64, 64, 3, 2, padding=1), "relu3": ReLU(),
    "conv4": Conv1d(64, 128, 3, padding=1), "relu4": ReLU(),
    "lstm_cell": ..., "relu5": ReLU(),
    "final_conv": Conv1d(128, 1, 1), "probability": Sigmoid(),
}  # fmt: skip


def test_silero_from_its_safetensors():
    """Its magnitudes of frequencies lie between two layers: the file is two models.

    No file of ONNX has these weights, so the oracle is one of them with its arrays replaced.
    """
    path = here(f"{SILERO}_16k.safetensors")
    with pytest.raises(ValueError, match=r"perhaps a Conv1d, whose stride and padding are not in"):
        from_torch(path)
    first = dict.fromkeys(n for n in SILERO_LAYERS if "conv" in n or n == "lstm_cell")
    waves = from_torch(path, first | {"stft_conv": Conv1d(1, 258, 256, 128, bias=False)})
    model = from_torch(path, SILERO_LAYERS)
    reference = onnx_session(_with_arrays(here(f"{SILERO}_16k_op15.onnx"), load_file(path)))
    rng = np.random.default_rng(0)
    state = normal(rng, 2, 3, 128)
    ours = tuple((state[0], state[1]) if type(one) is LSTM else None for one in model.layers)
    for _ in range(20):
        x = audio(rng, 3, 576)
        padded = np.pad(x, [(0, 0), (0, 64)], mode="reflect")
        parts = waves(padded.T[:, :, None])  # (T, N, 258)
        p, ours, _ = model.forward(np.hypot(parts[..., :129], parts[..., 129:]), ours)
        feeds = {"input": x, "state": state, "sr": np.array(16_000)}
        expected, state = reference.run(None, feeds)
        np.testing.assert_allclose(p[0], expected, atol=1e-6)
        (own,) = [one for one in ours if one is not None]
        np.testing.assert_allclose(np.stack(own), state, atol=2e-5)
    assert state.max() > 3


def _with_arrays(path, arrays):
    """Return the bytes of silero's file of ONNX with other weights."""
    names = {"model.stft.forward_basis_buffer": "stft_conv.weight"}
    for word in ("weight", "bias"):
        for k in range(4):
            names[f"model.encoder.{k}.reparam_conv.{word}"] = f"conv{k + 1}.{word}"
        for kind in ("ih", "hh"):
            names[f"model.decoder.rnn.{word}_{kind}"] = f"lstm_cell.{word}_{kind}"
        names[f"model.decoder.decoder.2.{word}"] = f"final_conv.{word}"
    proto = onnx.load(path)
    replaced = [t for t in proto.graph.initializer if t.name in names]
    assert len(replaced) == len(arrays)
    for tensor in replaced:
        a = arrays[names[tensor.name]]
        assert list(tensor.dims) == list(a.shape)
        tensor.CopyFrom(onnx.numpy_helper.from_array(a, tensor.name))
    return proto.SerializeToString()


def keras_model(number, width, units):
    """Return the configuration of one of the two nets of DTLN, by its names of layers."""
    first = {0: ("lstm", "lstm_1", "dense"), 1: ("lstm_2", "lstm_3", "dense_1")}[number]
    layers = [
        {"class_name": "LSTM", "config": {"name": n, "units": 128, "return_sequences": True}}
        for n in first[:2]
    ]
    dense = {"name": first[2], "units": units, "activation": "sigmoid"}
    layers.append({"class_name": "Dense", "config": dense})
    layers[0]["config"]["batch_input_shape"] = [None, None, width]
    return {"class_name": "Sequential", "config": {"name": "net", "layers": layers}}


@pytest.mark.slow
def test_the_weights_of_dtln_in_keras_equal_its_onnx():
    """The file of Keras has both nets; the mask of the first is an output of its file of ONNX."""
    path = here("dtln_model.h5")
    model = from_keras(path, keras_model(0, 257, 257))
    assert [type(one) for one in model.layers] == [LSTM, LSTM, Linear, Sigmoid]
    reference = from_onnx(here("dtln_model_1.onnx"))
    rng = np.random.default_rng(0)
    x = np.abs(np.fft.rfft(audio(rng, 30, 512))).astype(np.float32)
    state, masks = np.zeros((1, 2, 128, 2), np.float32), []
    for frame in x:
        y = reference({"input_2": frame[None, None], "input_3": state})
        state = y["tf_op_layer_stack_2"]
        masks.append(y["activation_2"][0, 0])
    np.testing.assert_allclose(model(x), masks, atol=1e-5)
    second = from_keras(path, keras_model(1, 256, 256))
    proto = onnx.load(here("dtln_model_2.onnx"))
    arrays = [onnx.numpy_helper.to_array(t) for t in proto.graph.initializer]
    weight = second.layers[0].parameters["weight_ih_l0"]
    assert any(a.shape == weight.T.shape and np.array_equal(a, weight.T) for a in arrays)
