"""A model of every kind is saved and loaded; a file that is something else is named in words."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.checkpoints import parts

import recurrent
from recurrent import (
    GRU,
    LSTM,
    Add,
    Attention,
    CharLM,
    Dropout,
    Embedding,
    Graph,
    Linear,
    Recurrent,
    Residual,
    Seq2Seq,
    Sequential,
)
from recurrent.charlm.text import Vocabulary
from recurrent.charlm.translator import Translator
from recurrent.layers.base import LAYERS, Layer
from recurrent.tasks import TASKS, task
from recurrent.training import checkpoint
from recurrent.training.state import TrainingState

RNG = np.random.default_rng(0)
GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"
LETTERS = Vocabulary.of("abcdefgh")


def pair():
    decoder = Sequential(
        Embedding(8, 2), LSTM(2, 6), Attention(6, 6, output_size=3), Linear(3, 8), rng=1
    )
    encoder = Sequential(Embedding(8, 2), LSTM(2, 3, bidirectional=True), rng=0)
    return Seq2Seq(encoder, decoder, start=1, end=2)


def frozen():
    model = Sequential(LSTM(2, 3), Linear(3, 1), rng=8)
    model[0].trainable = False
    return model


MODELS = {
    "Sequential": lambda: Sequential(LSTM(2, 3), Linear(3, 1), rng=4),
    "float64": lambda: Sequential(GRU(2, 3, bidirectional=True), rng=5, dtype="float64"),
    "own generator": lambda: Sequential(LSTM(2, 3), rng=np.random.Generator(np.random.SFC64(3))),
    "nested": lambda: Sequential(
        Sequential(Embedding(7, 4), LSTM(4, 4)), Residual(GRU(4, 4), Linear(4, 4)), rng=6
    ),
    "tied": lambda: Sequential(
        Embedding(7, 4), GRU(4, 4), Linear(4, 7), tie={"2.weight": "0.weight"}, rng=7
    ),
    "frozen": frozen,
    "batch first": lambda: Sequential(LSTM(2, 3), rng=9, batch_first=True),
    "cell with options": lambda: Sequential(
        Recurrent("mgu", 2, 3, bidirectional=True, merge="sum", learn_state=True), rng=9
    ),
    "Seq2Seq": pair,
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_as_it_was(name, tmp_path):
    model = MODELS[name]()
    model.save(tmp_path / "m")
    again = recurrent.load(tmp_path / "m")
    assert type(again) is type(model)
    assert again.describe() == model.describe()
    assert repr(again) == repr(model)
    assert list(again.parameters) == list(model.parameters)
    assert [layer.trainable for layer in again.layers] == [a.trainable for a in model.layers]
    assert again.flat.tobytes() == model.flat.tobytes()
    assert again.flat.dtype == model.flat.dtype
    assert again.generator.random() == model.generator.random()
    again.save(tmp_path / "n")  # and once more
    assert recurrent.load(tmp_path / "n").flat.tobytes() == model.flat.tobytes()


def graph():
    nodes = {
        "lstm": (LSTM(4, 4), "a"),
        "gru": (GRU(4, 4), "b"),
        "sum": (Add(), "lstm", "gru"),
        "out": Sequential(Linear(4, 2), Dropout(0.5)),
    }
    return Graph(nodes, ["out", "sum"], rng=3, batch_first=True)


KINDS = {
    **MODELS,
    "Graph": graph,
    "int8": lambda: MODELS["Sequential"]().quantize("int8"),
    "bfloat16": lambda: graph().quantize("bfloat16"),
    "quantised Seq2Seq": lambda: pair().quantize("int8"),
    "CharLM": lambda: CharLM("to be or not to be", layers=1, hidden=5, embedding=3, rng=2),
    "Translator": lambda: Translator(pair(), LETTERS, LETTERS),
}


@pytest.mark.parametrize("name", KINDS)
def test_save_load_save_gives_the_same_bytes(name, tmp_path):
    model = KINDS[name]()
    model.save(tmp_path / "first")
    recurrent.load(tmp_path / "first").save(tmp_path / "second")
    model.save(tmp_path / "third")
    data = (tmp_path / "first").read_bytes()
    assert (tmp_path / "second").read_bytes() == data
    assert (tmp_path / "third").read_bytes() == data
    metadata = parts(tmp_path / "first")[1]
    places = [data.index(json.dumps(key).encode()) for key in sorted(metadata)]
    assert places == sorted(places)  # in the order of their names


def test_a_checkpoint_of_a_training_is_saved_as_the_same_bytes(tmp_path):
    text = "to be or not to be, that is the question " * 4
    lm = CharLM(text, layers=1, hidden=5, embedding=3, rng=2)
    own = dict(seq=6, batch=4, updates=3, save_to=tmp_path / "first", progress=False)
    lm.train(text, **own)
    checkpoint.save(tmp_path / "second", checkpoint.load(tmp_path / "first"))
    assert (tmp_path / "second").read_bytes() == (tmp_path / "first").read_bytes()


def test_a_file_of_a_model_is_a_checkpoint_without_training(tmp_path):
    model = MODELS["Sequential"]()
    model.save(tmp_path / "m")
    checkpoint.save(tmp_path / "c", checkpoint.Checkpoint(model))
    (arrays, metadata), (others, expected) = parts(tmp_path / "m"), parts(tmp_path / "c")
    assert metadata == expected
    assert {n: a.tobytes() for n, a in arrays.items()} == {
        n: a.tobytes() for n, a in others.items()
    }
    assert checkpoint.load(tmp_path / "m").training is None


def test_the_model_of_a_checkpoint_of_a_training(tmp_path):
    model, x = MODELS["Sequential"](), RNG.standard_normal((4, 3, 2)).astype(np.float32)
    data, optimizer = recurrent.data.Batches(x, x[..., :1], 3), recurrent.optim.Adam(0.01)
    loss = recurrent.losses.mean_squared_error
    history = recurrent.fit(model, data, loss, optimizer, updates=3, progress=False)
    state = TrainingState(optimizer, history)
    checkpoint.save(tmp_path / "c", checkpoint.Checkpoint(model, training=state))
    assert recurrent.load(tmp_path / "c").flat.tobytes() == model.flat.tobytes()


def test_a_character_model_keeps_its_vocabulary(tmp_path):
    lm = CharLM("to be or not to be", layers=1, hidden=5, embedding=3, rng=2)
    lm.save(tmp_path / "m")
    again = recurrent.load(tmp_path / "m")
    assert type(again) is CharLM
    assert again.sample("to", 20, seed=1) == lm.sample("to", 20, seed=1)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.safetensors")), ids=lambda p: p.stem)
def test_files_of_the_first_version(path):
    lm = recurrent.load(path)
    assert type(lm) is CharLM
    assert lm.model.flat.tobytes() == CharLM.load(path).model.flat.tobytes()


def test_a_translator_keeps_its_vocabularies(tmp_path):
    made = Translator(pair(), LETTERS, LETTERS)
    made.save(tmp_path / "m")
    again = recurrent.load(tmp_path / "m")
    assert type(again) is Translator
    text = made.translate("abba", 9)
    assert again.translate("abba", 9) == text
    ids = made.model.generate(LETTERS.encode("abba")[:, None], 9).best[0]
    assert text == LETTERS.decode(ids)
    with pytest.raises(ValueError, match="vocabularies of 2 and 8 symbols need a Seq2Seq"):
        Translator(pair(), Vocabulary.of("ab"), LETTERS)
    with pytest.raises(ValueError, match="text must have at least 1 character"):
        again.translate("")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_keeps_its_vocabularies(name, tmp_path):
    made = task(name)
    made.save(tmp_path / "m")
    again = recurrent.load(tmp_path / "m")
    if made.vocabularies is not None:
        assert (again.reads.describe(), again.writes.describe()) == tuple(
            v.describe() for v in made.vocabularies
        )
        again = again.model
    assert again.flat.tobytes() == made.model.flat.tobytes()


def test_a_layer_of_ones_own_must_be_defined_before(tmp_path):
    class Own(Layer):
        pass

    try:
        Sequential(Own()).save(tmp_path / "m")
        assert type(recurrent.load(tmp_path / "m")[0]) is Own
    finally:
        del LAYERS["Own"]
    with pytest.raises(ValueError, match="unknown layer type 'Own': define its class before"):
        recurrent.load(tmp_path / "m")


def test_a_failed_save_leaves_the_file(tmp_path):
    model = MODELS["Sequential"]()
    model.save(tmp_path / "m")
    before = (tmp_path / "m").read_bytes()
    LAYERS["LSTM"], kept = Linear, LAYERS["LSTM"]
    try:
        with pytest.raises(TypeError, match="found by the name of their class, and LSTM is not"):
            model.save(tmp_path / "m")
    finally:
        LAYERS["LSTM"] = kept
    assert (tmp_path / "m").read_bytes() == before


# Files that are something else


class Runs:
    """A pickle of this runs code."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def zipped(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, pickle.dumps(Runs()))


def field(number, kind, value):
    """A field of a protobuf message, of a small number or less than 128 bytes."""
    key = bytes([number << 3 | kind])
    return key + (bytes([value]) if kind == 0 else bytes([len(value)]) + value)


ONNX = (
    field(1, 0, 8) + field(2, 2, b"pytorch") + field(7, 2, b"\n\0" * 50) + field(8, 2, b"\x10\x11")
)

FOREIGN = {
    "onnx": (ONNX, "an ONNX file"),
    "onnx cut off": (ONNX[:60], "an ONNX file"),
    "onnx cut off in a number": (ONNX[:-3], "an ONNX file"),
    "keras": (("metadata.json", "config.json", "model.weights.h5"), r"a Keras model \(.keras\)"),
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(90), "an HDF5 file, as Keras writes"),
    "torch": (("m/data.pkl", "m/data/0", "m/version"), "a file of PyTorch's torch.save"),
    "torch script": (("m/code/a.py", "m/data.pkl"), "a file of PyTorch's torch.save"),
    "old torch": (pickle.dumps(0x1950A86A20F9469CFC6C, 2), "a file of PyTorch's torch.save"),
    "pickle": (pickle.dumps(Runs(), 4), "a pickle: pickles can run any code"),
    "npz": (("arr_0.npy", "b.npy"), r"a file of NumPy's arrays \(.npz\)"),
    "npy": (b"\x93NUMPY\1\0", r"an array of NumPy \(.npy\)"),
    "zip": (("a.txt",), "a ZIP archive: unpack it"),
    "empty zip": ((), "a ZIP archive: unpack it"),
    "cut off zip": (b"PK\x03\x04" + bytes(30), "a ZIP archive that is damaged or cut off"),
    "gzip": (b"\x1f\x8b\x08" + bytes(30), "a file compressed by gzip: unpack it"),
    "text": ("Grüße\r\n".encode() * 2000, "a text: python -m recurrent train trains a model"),
    "text with a BOM": ("\ufeffabc".encode(), "a text: "),
    "json": (json.dumps({"losses": [1.0]}).encode(), "a JSON text"),
    "empty": (b"", "an empty file"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_another_file_is_named_by_what_it_is(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    contents, words = FOREIGN[name]
    if isinstance(contents, tuple):
        zipped("file", *contents)
    else:
        (tmp_path / "file").write_bytes(contents)
    for load in (recurrent.load, CharLM.load, checkpoint.load):
        with pytest.raises(ValueError, match=f"^file: this is {words}") as error:
            load("file")
        assert "\n" not in str(error.value)
    assert os.listdir() == ["file"]  # nothing was unpickled or unpacked


@pytest.mark.parametrize("size", [1, 9, 5000])
def test_bytes_of_no_known_kind(size, tmp_path):
    (tmp_path / "file").write_bytes(b"\xff" * size)
    with pytest.raises(ValueError, match=rf"not a complete .safetensors file \({size:,} bytes\)"):
        recurrent.load(tmp_path / "file")


def test_a_long_file_of_tiny_fields_takes_no_time(tmp_path):
    (tmp_path / "file").write_bytes(field(1, 0, 8) * 2_000_000)
    with pytest.raises(ValueError, match="not a complete"):
        recurrent.load(tmp_path / "file")


def test_files_that_the_other_programs_write(tmp_path):
    torch, onnx = pytest.importorskip("torch"), pytest.importorskip("onnx")
    state = torch.nn.LSTM(2, 3).state_dict()
    torch.save(state, tmp_path / "a")
    torch.save(state, tmp_path / "b", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "c.npz", a=np.ones(3))
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(n, 1, [1]) for n in "xy"]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "d"))
    for name, words in (("a", "PyTorch"), ("b", "PyTorch"), ("c.npz", "NumPy"), ("d", "ONNX")):
        with pytest.raises(ValueError, match=words):
            recurrent.load(tmp_path / name)


def test_a_state_dict_is_loaded_as_the_message_says(tmp_path):
    from safetensors.numpy import load_file

    model = MODELS["Sequential"]()
    arrays = {name: a + 1 for name, a in model.parameters.items()}
    save_file(arrays, tmp_path / "file")
    with pytest.raises(ValueError, match=r"6 arrays \(0.bias_hh_l0, 0.bias_ih_l0, ...\)") as error:
        recurrent.load(tmp_path / "file")
    assert "model.parameters.update(safetensors.numpy.load_file(path))" in str(error.value)
    model.parameters.update(load_file(tmp_path / "file"))
    np.savez(tmp_path / "file.npz", **arrays)
    model.parameters.update(np.load(tmp_path / "file.npz"))  # as the message for such a file says
    assert all(np.array_equal(model.parameters[name], a) for name, a in arrays.items())


def test_a_folder_is_told_with_the_model_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("demo")
    with pytest.raises(IsADirectoryError, match=r"^demo: expected a file, got a folder$"):
        recurrent.load("demo")
    MODELS["Sequential"]().save("demo/model.safetensors")
    with pytest.raises(IsADirectoryError, match=r"did you mean demo/model.safetensors"):
        recurrent.load("demo")
    (tmp_path / "demo" / "saved_model.pb").touch()
    with pytest.raises(IsADirectoryError, match="it holds a SavedModel of TensorFlow"):
        recurrent.load("demo")
