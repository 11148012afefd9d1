"""The command line: every view of trained models and of given layers, one-line errors."""

import io
import json

import numpy as np
import pytest

import viz
from recurrent import CharLM
from recurrent.models import storage
from recurrent.tasks import backwards as reversal
from viz.cli import backwards, models
from viz.cli import commands as cli

TEXT = 'She said "no" 12 times.\n' * 20


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "model.safetensors"
    lm = CharLM(TEXT, layers=1, hidden=6, embedding=4, rng=0)
    lm.train(TEXT, seq=10, batch=4, updates=5, validation=0.1, progress=False, save_to=path)
    return path


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        "network LSTM:5:10,Linear:10:1",
        "unrolled gru:3:4 --steps 40 --window 20",
        "unit RNN:2:3 --unit 2",
        "unit LSTM:5:10 --unit 3 --gate f --steps 4",
        "layer GRU:3:40 --unit 20 --steps 2",
        "cell LSTM:3:4 --steps 2 --unit 1",
        "weights GRU:3:4 --steps 2",
        "task many-to-one LSTM:5:10,Last,Linear:10:2",
        "attention LSTM:3:4,Attention:4 --steps 3",
        "gradients LSTM:3:4",
    ],
)
def test_layers_on_the_command_line_are_drawn(arguments, tmp_path, capsys):
    view = arguments.split()[0]
    assert cli.main(arguments.split()) == 0
    assert capsys.readouterr().out == f"wrote {view}.svg\n"
    assert (tmp_path / f"{view}.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize(
    "more",
    [
        ["network"],
        ["unrolled"],
        ["unrolled", "--text", "She"],
        ["unit", "--text", "She"],
        ["gradients", "--text", "She"],
        ["curve"],
    ],
)
def test_a_trained_model_is_drawn(more, trained, tmp_path):
    view, *options = more
    assert cli.main([view, str(trained), "-o", "a.gv", *options]) == 0
    assert (tmp_path / "a.gv").read_text(encoding="utf-8").startswith("digraph")


def test_a_text_has_one_step_fewer_than_characters(trained, tmp_path):
    for options, steps in (["--text", "She sat"], 6), (["--text", "She sat", "--steps", "2"], 2):
        assert cli.main(["unrolled", str(trained), "-o", "a.gv", *options]) == 0
        drawn = (tmp_path / "a.gv").read_text(encoding="utf-8")
        assert f"t = {steps - 1}" in drawn
        assert f"t = {steps}" not in drawn
        assert "∂L/∂h" in drawn


def test_text_finds_the_unit_that_follows_a_feature(trained, tmp_path, capsys):
    assert (
        cli.main(["text", str(trained), TEXT[:30], "--like", "inside quotes", "-o", "a.html"]) == 0
    )
    best = viz.units_like(CharLM.load(trained), TEXT[:30], "inside quotes")[0]
    assert f"unit {best.unit} of layer {best.layer} follows" in capsys.readouterr().out
    assert "<span" in (page := (tmp_path / "a.html").read_text(encoding="utf-8"))
    assert (
        cli.main(
            ["text", str(trained), "--text", TEXT[:30], "--like", "inside quotes", "-o", "a.html"]
        )
        == 0
    )
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == page


def test_text_reads_a_file_a_folder_and_standard_input(trained, tmp_path, monkeypatch, capsys):
    words = 'She said "no" 12 times.\n'
    (tmp_path / "folder").mkdir()
    for name in ("book.txt", "folder/a.txt"):
        (tmp_path / name).write_bytes(words.encode().replace(b"\n", b"\r\n"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(words.encode())))
    drawn = set()
    for given in (["--text", words], [words], ["book.txt"], ["folder"], ["-"]):
        assert cli.main(["text", str(trained), *given, "-o", "a.svg"]) == 0
        drawn.add((tmp_path / "a.svg").read_text(encoding="utf-8"))
    assert len(drawn) == 1
    assert cli.main(["text", str(trained), "--text", "book.t", "-o", "a.svg"]) == 1
    assert "character 'b'" in capsys.readouterr().err


def test_text_reads_the_beginning_of_a_long_file(trained, tmp_path, capsys):
    (tmp_path / "book.txt").write_text(TEXT * 50)
    assert cli.main(["text", str(trained), "book.txt", "-o", "a.html"]) == 0
    assert capsys.readouterr().err == "book.txt: only the first 20,000 characters are read\n"
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "the first 1,200 of 20,000 characters" in page


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("empty.txt", "", "empty.txt: expected a text of at least 1 character, got none"),
        ("other.txt", "said: z", "other.txt: character ':' (U+003A) at position 4 is not among"),
        ("boo.txt", None, "boo.txt: no such file; give a text by --text"),
        ("folder", None, "folder: no text files in this folder"),
    ],
)
def test_text_refuses_a_file_in_one_line(trained, tmp_path, capsys, name, words, message):
    (tmp_path / "folder").mkdir()
    if words is not None:
        (tmp_path / name).write_text(words)
    assert cli.main(["text", str(trained), name]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"viz: {message}")
    assert (out, err.count("\n")) == ("", 1)
    assert not (tmp_path / "text.svg").exists()


def test_pages_of_layers_and_of_a_trained_model(trained, tmp_path, capsys):
    for arguments in (["LSTM:3:4", "--steps", "3"], [str(trained), "--text", "She said"]):
        assert cli.main(["explore", *arguments]) == 0
        assert capsys.readouterr().out == "wrote explore.html\n"
        assert "<script" in (tmp_path / "explore.html").read_text(encoding="utf-8")


def test_an_encoder_decoder_is_drawn_on_its_own_output(tmp_path, capsys):
    translator = backwards.train(1, progress=False)
    translator.save(tmp_path / "a.safetensors")
    again = models.model("a.safetensors")
    assert np.array_equal(again.model.flat, translator.model.flat)
    run = models.run(again, "abc", 0)
    assert run.inputs == ["a", "b", "c"]
    assert run.recording.loss > 0
    assert len(run.outputs) == len(run.recording.y) == len(run.recording.layers[4].weights)
    assert run.recording.x[1][0, 0] == again.model.start
    for more in (
        "attention --text abc",
        "attention --steps 4",
        "gradients --text abc",
        "layer --layer 3 --text abc",
        "network",
        "task encoder-decoder",
    ):
        view, *options = more.split()
        arguments = (
            [view, "a.safetensors", *options]
            if view != "task"
            else [view, *options, "a.safetensors"]
        )
        assert cli.main([*arguments, "-o", "a.gv"]) == 0
    assert cli.main(["explore", "a.safetensors", "--text", "abc", "--part", "encoder"]) == 0
    capsys.readouterr()
    for more, message in (
        (["attention", "--text", "a1"], "character '1' (U+0031) at position 1 is not among the 26"),
        (["attention", "--text", ""], "--text must have at least 1 character"),
        (["unrolled"], "give model.encoder or model.decoder"),
    ):
        view, *options = more
        assert cli.main([view, "a.safetensors", *options]) == 1
        out, err = capsys.readouterr()
        assert message in err
        assert (out, err.count("\n")) == ("", 1)


def test_curve_reads_a_history(trained, tmp_path):
    (tmp_path / "history.json").write_text(json.dumps(CharLM.load(trained).history.to_dict()))
    assert cli.main(["curve", "history.json", "-o", "a.gv"]) == 0
    assert cli.main(["curve", str(trained), "-o", "b.gv"]) == 0
    assert (tmp_path / "a.gv").read_bytes() == (tmp_path / "b.gv").read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 10**5, "it is nested too deeply to be read"),
        ("{", "it is not JSON"),
        ('{"losses": [1, "x"]}', "history.losses[1] must be a number, got 'x'"),
        ('{"losses": [1], "validation": [[1]]}', "history.validation[0] must have 2 entries"),
        ('{"losses": [1], "start": -1}', "history.start must be at least 0, got -1"),
        ('{"losses": [1%s]}' % ("0" * 400), "too large"),
        ('{"losses": [NaN]}', "no finite loss to draw"),
        ('{"a": 3}', "history['a'] must be a dict, got int"),
        ("3", "history must be a dict, got int"),
    ],
)
def test_curve_refuses_what_is_no_history(tmp_path, capsys, text, words):
    (tmp_path / "history.json").write_text(text)
    assert cli.main(["curve", "history.json"]) == 1
    out = capsys.readouterr()
    assert out.err.count("\n") == 1
    assert "history.json is not a history: " in out.err
    assert words in out.err


def test_a_translator_has_the_vocabularies_of_its_model(tmp_path, capsys):
    model, right = reversal.model(), (reversal.SOURCE, reversal.TARGET)
    for reads, writes in (right, (right[1], right[1]), (right[0], right[0])):
        about = {"reads": reads.describe(), "writes": writes.describe()}
        storage.save(tmp_path / "m", model, {"kind": "Translator", **about})
        fits = (reads, writes) == right
        assert cli.main(["network", "m", "-o", "a.gv"]) == (0 if fits else 1)
    assert "m: vocabularies of 26 and 26 symbols need a Seq2Seq" in capsys.readouterr().err


def test_the_loss_of_the_last_step_reaches_others_only_through_time():
    made = models.model("LSTM:3:4")
    dy = models.recording(made, None, 6, last=True).layers[0].dy
    assert not np.any(dy[:-1])
    assert np.all(dy[-1])
    assert np.all(models.recording(made, None, 6).layers[0].dy)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["network", "nothing.safetensors"], 1, "nothing.safetensors: No such file or directory"),
        (["network", "Lstm:5"], 1, "write a layer as LSTM:5:10"),
        (["network", "Foo:5:10"], 1, "no such file, and no such layer; the layers are"),
        (
            ["network", "LSTM:5:10,Linear:9:1"],
            1,
            "takes 9 input features, but layer 0 (LSTM) outputs 10",
        ),
        (["network", "LSTM:5:10", "-o", "a.jpg"], 1, "must end in .svg"),
        (["unit", "LSTM:5:10", "--unit", "10"], 1, "--unit must be in 0..9"),
        (["unit", "LSTM:5:10", "--gate", "q"], 1, "--gate must be one of i, f, g, o"),
        (["layer", "LSTM:5:10", "--direction", "reverse"], 1, "needs a bidirectional layer"),
        (["layer", "LSTM:5:10", "--unit", "10"], 1, "unit must be in 0..9"),
        (["task", "many-to-some"], 1, "kind must be one of one-to-one, one-to-many"),
        (
            ["task", "many-to-one", "LSTM:5:10"],
            1,
            "one output for a sequence: Last, MeanPool or MaxPool",
        ),
        (["attention", "LSTM:5:10"], 1, "a model with an Attention layer"),
        (["unit", "Linear:5:10"], 1, "--layer must be a recurrent layer, and this model has none"),
        (
            ["network", "LSTM:a:10"],
            1,
            "LSTM:a:10: expected numbers, got 'a'; write a layer as LSTM:5:10",
        ),
        (["text", "LSTM:5:10"], 2, "give the text once: FILE, TEXT or --text TEXT"),
        (["text", "LSTM:5:10", "a", "--text", "b"], 2, "give the text once"),
        (["unit", "LSTM:5:10", "--text", "a"], 1, "--text needs a character model"),
        (["text", "LSTM:5:10", "a"], 1, "needs a character model"),
        (["text", "LSTM:5:10", "a", "--like", "digit", "--unit", "1"], 2, "leave out --unit"),
        (["gradients", "Linear:5:10"], 1, "the recording has no gradients"),
        (["unrolled", "LSTM:5:10", "--steps", "0"], 2, "--steps"),
        (["nothing"], 2, "nothing"),
    ],
)
def test_errors_are_one_line(arguments, code, message, capsys):
    assert cli.main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("viz: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "view",
    [
        "network",
        "unrolled",
        "cell",
        "explore",
        "layer",
        "unit",
        "weights",
        "task",
        "attention",
        "gradients",
        "text",
        "curve",
        "gallery",
    ],
)
def test_help_has_an_example(view, capsys):
    assert cli.main([view, "--help"]) == 0
    assert f"python -m viz {view}" in capsys.readouterr().out
