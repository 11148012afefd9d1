"""`predict` over iterators and in several jobs: the same bits, bounded memory, no lost run."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec
from multiprocessing import active_children
from pathlib import Path

import joblib
import numpy as np
import pytest
from support import launch

from recurrent import (
    GRU,
    LSTM,
    Add,
    CharLM,
    Embedding,
    Graph,
    Last,
    Linear,
    Sequential,
    get_num_threads,
    predict,
    progress,
)
from recurrent.models import jobs as jobs_of
from recurrent.models import rounds
from recurrent.models.jobs import Jobs
from recurrent.models.predict import outputs

STEPS = Sequential(LSTM(2, 3), Linear(3, 4), rng=0)
POOLED = Sequential(GRU(2, 3), Last(), Linear(3, 4), rng=0)
IDS = Sequential(Embedding(7, 2), LSTM(2, 3), rng=0)


def sequences(n, seed=0, least=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((T, 2), np.float32) for T in rng.integers(least, 12, n)]


def equal(ys, expected):
    ys = list(ys)
    assert len(ys) == len(expected)
    for y, other in zip(ys, expected, strict=True):
        np.testing.assert_array_equal(y, other, strict=True)


@pytest.fixture(scope="module")
def dask():
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        yield client


# An iterator in this process


@pytest.mark.parametrize("batch", [1, 3, 256])
@pytest.mark.parametrize("model", [STEPS, POOLED], ids=["steps", "pooled"])
def test_an_iterator_has_the_outputs_of_a_list(model, batch):
    x = sequences(30, least=1)
    equal(predict(model, iter(x), batch), predict(model, x))


def test_any_iterable_is_taken():
    class Dataset:
        def __len__(self):
            return 5

        def __getitem__(self, n):
            return x[n] if n < 5 else x[5]  # IndexError ends it

    x = sequences(5)
    expected = predict(STEPS, x)
    for many in (iter(x), (a for a in x), map(np.array, x), dict(enumerate(x)).values(), Dataset()):
        equal(predict(STEPS, many), expected)
    assert list(predict(STEPS, iter([]))) == []
    assert predict(IDS, range(5)).shape == (5, 3)  # as before, an array of ids


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_iterator_is_read_a_round_at_a_time(n_jobs):
    read, most = [], 8 * n_jobs

    def reading():
        for n, a in enumerate(sequences(100)):
            read.append(n)
            yield a

    outputs = predict(STEPS, reading(), 2, n_jobs=n_jobs)
    assert read == []
    for n, _ in enumerate(outputs):
        assert len(read) <= n // most * most + most
    assert len(read) == 100


def test_a_round_is_bounded_in_bytes_too(monkeypatch):
    monkeypatch.setattr(rounds, "LARGEST", 1000)
    read = []
    x = [np.zeros((50, 2), np.float32)] * 9  # 400 bytes each, and 800 of its output
    for model, count in ((STEPS, 1), (POOLED, 3)):
        read.clear()
        outputs = predict(model, (read.append(n) or a for n, a in enumerate(x)))
        next(outputs)
        assert len(read) == count
        assert len(list(outputs)) == 8


def test_each_job_has_a_part_of_a_small_round():
    sizes = []
    jobs = Jobs(STEPS, 2)
    run = jobs.map
    jobs.map = lambda function, parts, words: run(
        function, (sizes.append(len(p[0])) or p for p in parts), words
    )
    assert len(list(outputs(jobs, sequences(10), 256, str, None))) == 10
    assert sizes == [5, 5]


def test_an_iterator_may_fill_one_array_again_and_again():
    x = [np.full((3, 2), n, np.float32) for n in range(10)]

    def reused():
        a = np.empty((3, 2), np.float32)
        for value in x:
            a[:] = value
            yield a

    equal(predict(STEPS, reused()), predict(STEPS, x))


def test_no_joblib_is_imported_for_one_job():
    code = """
import sys, numpy as np
from recurrent import GRU, Sequential, predict
x = [np.zeros((T, 2), np.float32) for T in (3, 4)]
predict(Sequential(GRU(2, 3)), x), list(predict(Sequential(GRU(2, 3)), iter(x)))
sys.exit("joblib" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Jobs


@pytest.mark.parametrize("kind", ["iterator", "list", "array", "lengths", "mask", "path"])
@pytest.mark.parametrize("model", [STEPS, POOLED], ids=["steps", "pooled"])
def test_processes_change_no_bit(model, kind, tmp_path):
    x = sequences(40, least=1)
    if kind == "path":
        model.save(tmp_path / "m")
        equal(predict(tmp_path / "m", iter(x), 3, n_jobs=2), predict(model, x))
    elif kind == "iterator":
        equal(predict(model, iter(x), 3, n_jobs=2), predict(model, x))
    elif kind == "list":
        ys, expected = predict(model, x, 3, n_jobs=2), predict(model, x)
        assert type(ys) is type(expected)
        equal(ys, expected)
    else:
        a, rng = np.ones((6, 20, 2), np.float32), np.random.default_rng(0)
        lengths = {"lengths": rng.integers(0, 7, 20), "mask": rng.random((6, 20)) < 0.6}.get(kind)
        y = predict(model, a, 3, n_jobs=2, lengths=lengths)
        np.testing.assert_array_equal(y, predict(model, a, lengths=lengths), strict=True)


def test_several_inputs_and_batch_first():
    nodes = {"p": (GRU(2, 3), "a"), "q": (GRU(2, 3), "b"), "sum": (Add(), "p", "q")}
    graph = Graph(nodes, "sum", rng=0)
    x = {n: np.ones((5, 20, 2), np.float32) * k for k, n in enumerate("ab")}
    np.testing.assert_array_equal(predict(graph, x, 3, n_jobs=2), predict(graph, x), strict=True)
    with pytest.raises(TypeError, match="x must be arrays or lists with a model of several inputs"):
        predict(graph, iter([1]))
    model = Sequential(LSTM(2, 3), rng=0, batch_first=True)
    x = np.random.default_rng(0).standard_normal((20, 5, 2), np.float32)
    np.testing.assert_array_equal(predict(model, x, 3, n_jobs=2), model(x), strict=True)
    equal(predict(model, iter(list(x)), 3, n_jobs=2), list(model(x)))


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_context_takes_the_same_call(n_jobs, dask):
    x = sequences(40)
    with joblib.parallel_config("dask"):
        equal(predict(STEPS, iter(x), 3, n_jobs=n_jobs), predict(STEPS, x))
    with joblib.parallel_config("threading", n_jobs=2):
        equal(predict(STEPS, iter(x), 3, n_jobs=n_jobs), predict(STEPS, x))
    with joblib.parallel_config("loky", n_jobs=2):
        assert Jobs(STEPS).count == 2
        jobs = Jobs(STEPS)
    # The context of the call holds, also when it has ended.
    assert os.getpid() not in {k for k, _, _ in jobs.map(seen, [(0,), (1,)])}
    jobs.close()
    assert Jobs(STEPS).options is None


def seen(net, k):
    """Return the process, the model that it uses, and the number of its threads."""
    return os.getpid(), id(net), get_num_threads()


def in_workers(function, many=20, model=STEPS, **options):
    jobs = Jobs(model, 2)
    try:
        yield from jobs.map(partial(function, **options), ((k,) for k in range(many)), "items")
    finally:
        jobs.close()


@pytest.mark.parametrize("kind", ["object", "path"])
def test_a_worker_opens_a_model_once(kind, tmp_path):
    STEPS.save(tmp_path / "m")
    found = list(in_workers(seen, model=STEPS if kind == "object" else tmp_path / "m"))
    models = {(process, model) for process, model, _ in found}
    assert 1 <= len(models) == len({process for process, _ in models}) <= 2
    assert os.getpid() not in {process for process, _ in models}


def test_jobs_share_the_threads(monkeypatch):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    cores = joblib.cpu_count()
    # A pool of another size than that of the other tests is a new one.
    jobs = Jobs(STEPS, 3)
    found = list(jobs.map(seen, ((k,) for k in range(12)), "items"))
    jobs.close()
    assert {threads for _, _, threads in found} == {max(1, cores // 3)}


def test_a_model_file_that_changes_is_never_mixed(tmp_path):
    path, other = tmp_path / "m", Sequential(LSTM(2, 3), Linear(3, 4), rng=1)
    STEPS.save(path)
    x = sequences(600)
    outputs = predict(path, iter(x), 2, n_jobs=2)
    first = [next(outputs) for _ in range(400)]
    other.save(path)
    equal([*first, *outputs], predict(STEPS, x))  # the workers have opened it
    outputs = predict(path, iter(x), 2, n_jobs=2)
    STEPS.save(path)  # before a worker has opened the other one
    with pytest.raises(ValueError, match="has changed since the call"):
        next(outputs)


# Workers that die


def kill_first(net, k, path):
    """Kill the worker at the first call for item 11."""
    if k == 11 and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return k


def test_a_round_runs_again_when_a_worker_dies(tmp_path):
    assert list(in_workers(kill_first, path=tmp_path / "died")) == list(range(20))
    assert (tmp_path / "died").exists()


def test_a_killed_worker_of_dask_loses_no_output(dask):
    killed, x = [], sequences(600)

    def killing():
        for n, a in enumerate(x):
            if n == 300:
                worker, pid = next(iter(dask.run(os.getpid).items()))
                os.kill(pid, signal.SIGKILL)
                killed.append(worker)
            yield a

    with joblib.parallel_config("dask"):
        equal(predict(STEPS, killing(), 8), predict(STEPS, x))
    assert len(killed) == 1


def die(net, k, path):
    if k == 9:
        with open(path, "a") as file:
            file.write("died\n")
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    return k


def test_a_worker_that_always_dies_is_an_error(tmp_path):
    got = []
    with pytest.raises(ChildProcessError, match="items: a worker died at each of 4 attempts"):
        got.extend(in_workers(die, path=tmp_path / "died"))
    assert (tmp_path / "died").read_text() == 4 * "died\n"
    assert list(in_workers(kill_first, many=3, path=tmp_path / "x")) == [0, 1, 2]


def test_a_killed_worker_loses_no_output():
    killed, x = [], sequences(600)

    def killing():
        for n, a in enumerate(x):
            if n == 300:
                worker = next(p for p in active_children() if "Loky" in type(p).__name__)
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker.pid)
            yield a

    equal(predict(STEPS, killing(), 8, n_jobs=2), predict(STEPS, x))
    assert len(killed) == 1


def test_the_error_names_the_sequences_of_the_round(monkeypatch):
    monkeypatch.setattr(jobs_of, "RETRIES", 0)
    monkeypatch.setattr("recurrent.models.predict._of_each", lambda net, x: die(net, 9, os.devnull))
    with pytest.raises(ChildProcessError, match=r"^x\[0\] to x\[19\]: a worker died"):
        list(predict(STEPS, iter(sequences(20)), 5, n_jobs=2))


# Errors


WRONG = {
    "width": (STEPS, np.zeros((3, 3), np.float32), ValueError, "layer 0 .* must be .*D=2"),
    "float64": (STEPS, np.zeros((3, 2)), TypeError, "float32, got float64"),
    "id": (IDS, np.array([1, 9]), IndexError, "ids must be in 0..6, got 9"),
    "text": (STEPS, "text", TypeError, "must be .T, D. or .T,., got 'text'"),
    "rows": (STEPS, [[1.0], [1.0, 2.0]], TypeError, "must be an array, got a list of entries of"),
}


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_sequence_is_named_after_the_outputs_before_it(name, n_jobs):
    model, wrong, kind, words = WRONG[name]
    x = sequences(40) if model is STEPS else [np.arange(T % 7) for T in range(40)]
    many = [*x[:23], wrong, *x[24:]]
    got = []
    with pytest.raises(kind, match=rf"^x\[23\]:? .*{words}"):
        got.extend(predict_into(got, model, iter(many), n_jobs))
    equal(got, predict(model, x[:23]))


def predict_into(got, model, x, n_jobs):
    for y in predict(model, x, 4, n_jobs=n_jobs):
        got.append(y)
    return []


def test_an_error_of_the_iterator_comes_after_the_outputs_before_it():
    def failing():
        yield from x
        raise OSError("the disk is gone")

    x, got = sequences(13), []
    with pytest.raises(OSError, match=r"^the disk is gone$"):
        predict_into(got, STEPS, failing(), 1)
    equal(got, predict(STEPS, x))


class OwnError(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def test_an_error_of_any_class_comes_back():
    import cloudpickle

    def fail(items):
        raise OwnError(1, 2)

    (failure,) = rounds.each(fail, [0])
    assert isinstance(failure.error, OwnError)
    with pytest.raises(OwnError, match="1 and 2") as caught:
        failure.raise_for("x[3]")
    assert caught.value.__notes__ == ["at x[3]"]
    again = cloudpickle.loads(cloudpickle.dumps(failure))
    with pytest.raises(RuntimeError, match=r"x\[3\]: OwnError: 1 and 2"):
        again.raise_for("x[3]")


def untouched():
    pytest.fail("read before the check")
    yield


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda x: predict("nothing", x), OSError, "nothing"),
        (lambda x: predict("nothing", x, n_jobs=2), OSError, "nothing"),
        (lambda x: predict(3, x), TypeError, "model must be a model"),
        (lambda x: predict(STEPS, x, 0), ValueError, "batch must be"),
        (lambda x: predict(STEPS, x, n_jobs=0), ValueError, "n_jobs must be at least 1, or -1"),
        (lambda x: predict(STEPS, x, n_jobs="2"), TypeError, "n_jobs must be an int, got str"),
        (lambda x: predict(STEPS, x, lengths=[1]), TypeError, "x must be arrays or lists with len"),
    ],
)  # fmt: skip
def test_errors_that_concern_all_come_at_the_call(call, kind, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=words):
        call(untouched())


def test_a_missing_joblib_is_one_line(monkeypatch):
    monkeypatch.setattr(
        jobs_of, "find_spec", lambda name: None if name == "joblib" else find_spec(name)
    )
    with pytest.raises(ImportError, match=r"^n_jobs=4 needs joblib, .* 'recurrent-engine\[paral"):
        predict(STEPS, untouched(), n_jobs=4)


# Progress and endings


def test_progress_is_shown_without_a_known_number(monkeypatch):
    import io

    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80)
    track = progress.track
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(rounds, "track", lambda *a, **k: track(*a, **k, console=console))
    list(predict(STEPS, iter(sequences(20)), 2))
    assert "sequence 8 " in text.getvalue()
    list(predict(STEPS, dict(enumerate(sequences(20))).values(), 2))
    assert "sequence 16 of 20" in text.getvalue()


SCRIPT = """
import itertools, os, sys
import numpy as np
from recurrent import LSTM, Sequential, predict
from recurrent.training import signals

if __name__ == "__main__":
    x = itertools.repeat(np.zeros((100, 32), np.float32))
    with signals.raised():
        try:
            for n, y in enumerate(predict(Sequential(LSTM(32, 128)), x, 32, n_jobs=2)):
                if n == 0:
                    print("begun", flush=True)
                    if sys.argv[1] == "close":
                        break
        except KeyboardInterrupt:
            print("ended")
    print("done")
"""


def group(number):
    """Return the living processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(state[2]) == number and state[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("how", ["close", "Ctrl-C", "SIGTERM", "SIGKILL"])
def test_an_end_leaves_no_process_and_no_trace(how, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    out, error = tmp_path / "out", tmp_path / "error"
    with out.open("w") as stdout, error.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, tmp_path / "script.py", how],
            env=launch.environment(),
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        while "begun" not in out.read_text() and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.3)
        if how == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        elif how != "close":
            process.send_signal(getattr(signal, how))
        process.wait(timeout=30)
        assert "Traceback" not in error.read_text()
        if how != "SIGKILL":
            expected = "begun\n" + "ended\n" * (how != "close") + "done\n"
            assert (out.read_text(), error.read_text()) == (expected, "")
        ends = time.monotonic() + 10
        while group(process.pid) and time.monotonic() < ends:
            time.sleep(0.1)
        assert group(process.pid) == []
    finally:
        if left := group(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        assert not left


def test_a_character_model_and_its_file(tmp_path):
    lm = CharLM("to be or not", layers=1, hidden=4, embedding=2)
    lm.save(tmp_path / "lm")
    x = [lm.ids(text) for text in ("to be", "or", "not to be")]
    for model in (lm, tmp_path / "lm"):
        equal(predict(model, iter(x), 2, n_jobs=2), predict(lm.model, x))
