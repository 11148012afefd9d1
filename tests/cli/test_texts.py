"""Texts of the commands: line ends, byte-order marks, unknown characters, another text, samples."""

import numpy as np
import pytest

from recurrent import CharLM
from recurrent.charlm.text import Vocabulary
from recurrent.cli.commands import main
from recurrent.cli.source import CHUNK, read_text

TEXT = "the cat sat on the mat.\nthe dog lay on the log.\n" * 20
SMALL = ["--layers", "1", "--hidden", "8", "--embedding", "4", "--seq", "5", "--batch", "2"]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run a command in a folder with a text and a model m; returns code, output and error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)

    def call(*arguments):
        capfd.readouterr()
        code = main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        lines = [line for line in err.splitlines() if not line.startswith("update ")]
        return code, out, "\n".join(lines)

    assert call("train", "text.txt", *SMALL, "--updates", 3, "--out", "m")[0] == 0
    return call


def test_line_ends_and_marks_are_read_as_one_and_said(tmp_path):
    files = {
        "crlf": (b"a\r\nb\r\n", "a\nb\n", ["line ends CRLF read as LF"]),
        "cr": (b"a\rb\r", "a\nb\n", ["line ends CR read as LF"]),
        "mark": (b"\xef\xbb\xbfa\n", "a\n", ["byte-order mark left out"]),
        "all": (
            b"\xef\xbb\xbfa\r\nb\rc\n",
            "a\nb\nc\n",
            ["byte-order mark left out, line ends CRLF and CR read as LF"],
        ),
        "plain": ("ä\n€\ufeff".encode(), "ä\n€\ufeff", []),
    }
    for name, (data, expected, notes) in files.items():
        (tmp_path / name).write_bytes(data)
        text = read_text(str(tmp_path / name))
        assert "".join(text.pieces) == expected
        assert text.notes == [f"{tmp_path / name}: {note}" for note in notes]
    assert "".join(read_text(str(tmp_path / "all"), keep="\r\ufeff").pieces) == "\ufeffa\r\nb\rc\n"
    assert list(read_text(str(tmp_path / "all"), raw=True).pieces) == [files["all"][0]]


def test_pieces_are_those_of_the_whole_text(tmp_path):
    """Characters and line ends may stand at the end of a chunk."""
    text = "€" * (CHUNK // 3) + "a\r\n" + "ä" * CHUNK
    for shift in range(3):
        (tmp_path / "a").write_bytes(b"x" * shift + text.encode())
        pieces = list(read_text(str(tmp_path / "a")).pieces)
        assert len(pieces) > 2
        assert "".join(pieces) == "x" * shift + text.replace("\r\n", "\n")
    (tmp_path / "a").write_bytes(text.encode() + b"\xff")
    with pytest.raises(ValueError, match=rf"byte 0xff at position {len(text.encode())}\)"):
        list(read_text(str(tmp_path / "a")).pieces)
    (tmp_path / "a").write_bytes("text".encode("utf-16"))
    with pytest.raises(ValueError, match="not UTF-8 text but UTF-16; convert it: iconv"):
        list(read_text(str(tmp_path / "a")).pieces)


def test_a_model_that_knows_carriage_returns_still_reads_them(run, tmp_path):
    (tmp_path / "crlf").write_bytes(TEXT.replace("\n", "\r\n").encode())
    lm = CharLM(TEXT + "\r", layers=1, hidden=4, embedding=3)
    lm.save(tmp_path / "old")
    code, out, err = run("eval", "old", "crlf")
    assert (code, err) == (0, "")
    assert f"over {len(TEXT) + 40:,} characters" in out
    assert run("eval", "m", "crlf")[2] == "crlf: line ends CRLF read as LF"


def test_unknown_characters_are_refused_skipped_or_replaced(run, tmp_path):
    (tmp_path / "other").write_text("the cat, the DOG! " * 9)
    code, _, err = run("eval", "m", "other")
    assert code == 1
    assert "other: character ',' (U+002C) at position 7 is not among the" in err
    code, out, err = run("eval", "m", "other", "--unknown", "skip")
    assert (code, err) == (0, "skipped, not in the vocabulary: '!', ',', 'D', 'G', 'O'")
    assert f"over {9 * 13} characters" in out
    code, out, err = run("eval", "m", "other", "--unknown", "replace")
    assert (code, err.split(":")[0]) == (0, "replaced, not in the vocabulary")
    assert f"over {9 * 18} characters" in out


def test_training_on_with_another_text_keeps_the_vocabulary(run, tmp_path):
    (tmp_path / "other").write_text("the hen, on a log. " * 20)
    command = ["train", "other", "--init-from", "m", "--seq", 5, "--batch", 2, "--out", "n"]
    code, _, err = run(*command, "--updates", 2)
    assert code == 1
    assert "other: character ',' (U+002C) at position 7 is not among" in err
    assert not (tmp_path / "n").exists()
    code, out, err = run(*command, "--updates", 2, "--unknown", "skip")
    assert (code, err) == (0, "skipped, not in the vocabulary: ','")
    assert "2 updates done" in out
    before, after = CharLM.load(tmp_path / "m"), CharLM.load(tmp_path / "n")
    assert before.vocabulary == after.vocabulary
    again = CharLM.load(tmp_path / "m")
    text = (tmp_path / "other").read_text()
    again.train(
        text, unknown="skip", seq=5, batch=2, updates=2, progress=False, validate_every=None
    )
    np.testing.assert_array_equal(again.model.flat, after.model.flat)
    code, out, err = run("train", "other", "--resume", "--out", "n", "--updates", 4)
    assert (code, err) == (0, "skipped, not in the vocabulary: ','")
    assert "4 updates done" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--init-from", "m", "--resume"], "--init-from cannot be combined with --resume"),
        (["--init-from", "m", "--hidden", 9], "--hidden cannot be combined with --init-from: the"),
        (["--init-from", "m", "--bytes"], "--bytes cannot be combined with --init-from"),
        (["--init-from", "m", "--seed", 1], "--seed cannot be combined with --init-from"),
        (["--init-from", "m", "--documents", "lines"], "lacks: it was trained without --documents"),
        (["--init-from", "text.txt"], "text.txt: this is a text"),
        (
            ["--unknown", "skip"],
            "--unknown: a new model knows all characters; it needs --init-from",
        ),
        (["--documents", "lines", "--bytes"], "--documents cannot be combined with --bytes"),
        (["--documents", ""], "--documents: expected a text that is not empty"),
        (["--documents", "\\"], "--documents: expected a text with"),
        (["--optimizer", "adamm"], "sgd, rmsprop, adagrad, adam, adamw"),
        (["--schedule", "cosinus"], "schedule"),
    ],
)
def test_options_are_checked_before_the_text_is_read(run, arguments, words):
    """The text does not exist, which would be the next error."""
    out = ["--out", "m" if "--resume" in arguments else "n"]
    code, _, err = run("train", "nothing", *arguments, *out)
    assert code in (1, 2)
    assert words in err
    assert "\n" not in err


def test_samples_stop_at_a_text_and_go_to_a_file(run, tmp_path):
    lm = CharLM.load(tmp_path / "m")
    text = lm.sample("the ", 60, seed=2)
    stop = text[20:22]
    command = ["sample", "m", "--prime", "the ", "--length", 60, "--seed", 2]
    expected = "the " + text[: text.index(stop)]
    assert run(*command, "--stop", stop)[1] == expected + "\n"
    assert run(*command, "--stop", stop, "--out", "s.txt")[1] == "wrote s.txt\n"
    assert (tmp_path / "s.txt").read_text() == expected + "\n"
    assert run(*command, "--stop", "\\n")[1] == "the " + text.partition("\n")[0] + "\n"
    code, _, err = run(*command, "--out", "no/s.txt")
    assert (code, "\n" in err) == (1, False)
    assert Vocabulary.of(TEXT) == lm.vocabulary


@pytest.mark.parametrize(
    ("documents", "separator"), [("lines", "\n"), ("\\n\\n", "\n\n"), ("<e>", "<e>")]
)
def test_documents_of_the_command_line(run, tmp_path, documents, separator):
    names = ["anna", "bo", "cleo", "dan"] * 9
    (tmp_path / "names").write_text(separator.join(names) + separator)
    train = ["train", "names", "--documents", documents, *SMALL, "--out", "d"]
    assert run(*train, "--updates", 2)[0] == 0
    assert run("train", "names", "--resume", "--out", "d", "--updates", 5)[0] == 0
    lm = CharLM.load(tmp_path / "d")
    whole = CharLM(names, layers=1, hidden=8, embedding=4)
    recipe = dict(seq=5, batch=2, updates=5, progress=False)
    whole.train(
        separator.join(names), documents=separator if separator != "\n" else "lines", **recipe
    )
    assert whole.model.flat.tobytes() == lm.model.flat.tobytes()
    code, out, _ = run("eval", "d", "names")
    assert code == 0
    assert out.startswith(f"{whole.bits_per_character(names):.4f} bits per character")
    code, _, err = run(*train[:2], "--resume", "--documents", "-", "--out", "d", "--updates", 9)
    assert code == 2
    assert "--documents - contradicts d, which was trained with" in err
    lm.model.parameters["2.bias"][lm.vocabulary.end_id] = 100.0
    lm.save(tmp_path / "d")
    assert run("sample", "d", "--prime", "bo")[1] == "bo\n"


def test_the_files_of_a_folder_are_documents(tmp_path):
    for name, text in {"a": "one\ntwo", "b": "", "c": "three\n"}.items():
        (tmp_path / name).write_text(text)
    text = read_text(str(tmp_path), documents="files")
    assert "".join(text.pieces) == "\x03one\ntwo\x03three\n\x03"
    lines = read_text(str(tmp_path), documents="lines")
    assert "".join(lines.pieces) == "\x03one\x03two\x03three\x03"
