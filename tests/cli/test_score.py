"""The command score: one line a file, the values of eval, errors that name the file."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recurrent import CharLM
from recurrent.cli.commands import main
from recurrent.models import jobs as jobs_of

TEXT = "to be or not to be\n"


@pytest.fixture
def run(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CharLM(TEXT, layers=1, hidden=8, embedding=4).save("m")
    for name, text in {"a": "to be", "b": TEXT * 50, "unknown": "to & be", "short": "t"}.items():
        Path(name).write_text(text, encoding="utf-8")
    Path("binary").write_bytes(b"\xff\xfe\xff\xfe")

    def call(*arguments):
        code = main([str(a) for a in arguments])
        out, error = capfd.readouterr()
        assert "Traceback" not in error
        return code, out, error

    return call


@pytest.mark.parametrize("options", [(), ("--jobs", 2), ("--batch", 1)])
def test_a_line_for_each_file_and_the_mean(run, options):
    lm = CharLM.load("m")
    a, b = lm.bits_per_character("to be"), lm.bits_per_character(TEXT * 50)
    code, out, error = run("score", "m", "a", "b", *options)
    assert (code, error) == (0, "")
    assert out == (
        "bits/char    characters  file\n"
        f"   {a:.4f}             5  a\n"
        f"   {b:.4f}           950  b\n"
        f"   {(4 * a + 949 * b) / 953:.4f}           955  total of 2 files\n"
    )


def test_the_values_are_those_of_eval(run):
    for name in ("a", "b"):
        value = re.match(r"[\d.]+", run("eval", "m", name)[1])[0]
        line = run("score", "m", name)[1].splitlines()[1]
        assert line.split() == [value, str(len(Path(name).read_text())), name]


def test_a_model_of_documents_and_one_of_bytes(run):
    documents = [line for line in (TEXT * 3).split("\n") if line]
    lm = CharLM(documents, layers=1, hidden=8, embedding=4)
    lm.train(documents, documents="lines", batch=2, seq=5, updates=1, progress=False)
    lm.save("lines")
    CharLM(lm.vocabulary.bytes(), layers=1, hidden=8, embedding=4).save("bytes")
    for model, unit in (("lines", "char"), ("bytes", "byte")):
        code, out, error = run("score", model, "b")
        assert (code, error) == (0, "")
        assert out.startswith(f"bits/{unit}  ")
        assert out.splitlines()[1].split()[0] == run("eval", model, "b")[1].split()[0]


def test_other_characters(run):
    code, out, error = run("score", "m", "a", "unknown", "--unknown", "skip")
    assert (code, out.count("\n")) == (0, 4)
    assert error == "unknown: skipped, not in the vocabulary: '&'\n"
    code, out, error = run("score", "m", "a", "unknown")
    assert code == 1
    assert out.splitlines()[1].endswith("5  a")
    assert error.startswith("recurrent: unknown: character '&' (U+0026) at position 3 is not among")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("m", "a", "nothing"), 1, "nothing: No such file"),
        (("m", "a", "."), 1, ".: expected a text file, got a folder"),
        (("m", "a", "short"), 1, "short: the text needs at least 2 characters"),
        (("nothing", "a"), 1, "nothing: No such file"),
        (("a", "a"), 1, "a"),
        (("m",), 2, "Missing argument 'FILE"),
        (("m", "a", "--jobs", 0), 2, "Invalid value for '--jobs'"),
    ],
)
def test_errors_before_the_work_begins(run, arguments, code, words):
    found, out, error = run("score", *arguments)
    assert (found, out) == (code, "")
    assert error.startswith(f"recurrent: {words}")
    assert error.count("\n") == 1


def test_a_file_that_is_no_text_is_named(run):
    code, _, error = run("score", "m", "a", "binary")
    assert code == 1
    assert error.startswith("recurrent: binary: not UTF-8 text")


def test_a_missing_joblib_is_one_line(run, monkeypatch):
    monkeypatch.setattr(jobs_of, "find_spec", lambda name: None)
    code, out, error = run("score", "m", "a", "--jobs", 4)
    assert (code, out) == (2, "")
    assert error == (
        "recurrent: --jobs 4 needs joblib, which is not installed: "
        "pip install 'recurrent-engine[parallel]'\n"
    )


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_to_all_processes_is_one_line(name, tmp_path):
    CharLM(TEXT, layers=1, hidden=64, embedding=4).save(tmp_path / "m")
    (tmp_path / "text").write_text(TEXT * 100, encoding="utf-8")
    files = ["text"] * 2000
    with (tmp_path / "error").open("w+") as error:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "recurrent",
                "score",
                "m",
                *files,
                "--jobs",
                "2",
                "--batch",
                "2",
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=error,
            text=True,
            start_new_session=True,
        )
        for _ in range(3):
            process.stdout.readline()
        os.killpg(process.pid, getattr(signal, name))
        process.communicate(timeout=30)
        error.seek(0)
        said = {"SIGINT": "interrupted", "SIGTERM": "terminated"}[name]
        assert error.read() == f"recurrent: {said}\n"
    assert process.returncode == 128 + getattr(signal, name)
