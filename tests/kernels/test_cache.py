"""What starting costs: imports stay light and compile nothing, compiled kernels come from disk in the next process."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numba import config

import recurrent
from recurrent.kernels.jit import jit

ALLOWED = 0.25  # seconds that `import recurrent` may take more than `import numba`


def python(code, *args, **environment):
    """Standard output of a new Python that runs `code`."""
    run = [sys.executable, *args, "-c", textwrap.dedent(code)]
    result = subprocess.run(
        run, capture_output=True, text=True, env={**os.environ, **environment}, timeout=600
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_loads_nothing_heavy():
    code = """
        import sys
        import numba
        before = set(sys.modules)
        import recurrent
        heavy = {"torch", "jax", "viz", "rich", "typer", "graphviz", "scipy", "onnx", "onnxruntime", "matplotlib"}
        print(*heavy & (set(sys.modules) - before))
        """
    assert python(code).split() == []


def test_import_compiles_nothing():
    code = """
        from numba.core import event
        with event.install_recorder("numba:compile") as compiled:
            import recurrent
        print(len(compiled.buffer))
        """
    assert int(python(code)) == 0


def test_import_is_at_most_a_quarter_second_more_than_numba(tmp_path):
    """The least of several runs: other programs can only make an import slower. Python's byte code is there, as installed."""
    installed = dict(PYTHONPYCACHEPREFIX=str(tmp_path), PYTHONDONTWRITEBYTECODE="")
    code = """
        import time
        import numba
        start = time.perf_counter()
        import recurrent
        print(time.perf_counter() - start)
        """
    assert any(float(python(code, **installed)) <= ALLOWED for _ in range(12))


WORK = """
    import json
    import numpy as np
    from numba.core.dispatcher import Dispatcher
    import recurrent
    from recurrent import GRU, Embedding, Linear, Sequential, cells
    from recurrent.cells import cell
    from recurrent.cells.expressions import tanh
    from recurrent.engine import Engine
    from recurrent.losses import softmax_cross_entropy
    from recurrent.optim import SGD, Adam, clip_norm

    model = Sequential(Embedding(5, 3), GRU(3, 4), Linear(4, 2))
    ids = np.zeros((3, 2), int)
    y, _, tape = model.forward(ids, record=True)
    loss, dy = softmax_cross_entropy(y, ids)
    gradient = np.empty_like(model.flat)
    model.backward(dy, tape, out=gradient)
    clip_norm(gradient, 1.0)
    Adam().update(model.flat, gradient)
    SGD().update(model.flat, gradient)
    model.stream().step(ids[0])

    @cell("of_my_own", gates="n", states="h", register=False)
    def mine(x, h, previous):
        return dict(n=tanh(x.n + h.n), h=0.25 * tanh(x.n + h.n) + 0.75 * previous.h)

    engine = Engine(mine)
    params = engine.init(3, 4)
    y, _, tape = engine.forward(np.ones((3, 2, 3), np.float32), params, record=True)
    engine.backward(y.copy(), tape)

    import sys
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("recurrent"):
            for key, value in vars(module).items():
                if isinstance(value, Dispatcher) and value.signatures:
                    hits, misses = value.stats.cache_hits, value.stats.cache_misses
                    found[f"{value.__module__}.{value.__name__}"] = [sum(hits.values()), sum(misses.values())]
    print(json.dumps(found))
    """


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")
def test_the_second_process_compiles_nothing(tmp_path):
    """Built-in cells and a cell of one's own, forward, backward and a stream: all from the cache on disk."""
    first = json.loads(python(WORK, NUMBA_CACHE_DIR=str(tmp_path)))
    second = json.loads(python(WORK, NUMBA_CACHE_DIR=str(tmp_path)))
    assert first
    assert any(misses for _, misses in first.values())
    assert_all_from_cache(second)


def assert_all_from_cache(found):
    assert found
    assert {n: misses for n, (_, misses) in found.items() if misses} == {}
    assert all(hits for hits, _ in found.values())


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")
def test_two_processes_fill_an_empty_cache_at_once(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        both = list(
            pool.map(lambda _: json.loads(python(WORK, NUMBA_CACHE_DIR=str(tmp_path))), range(2))
        )
    assert both[0].keys() == both[1].keys()
    assert_all_from_cache(json.loads(python(WORK, NUMBA_CACHE_DIR=str(tmp_path))))


def doubled(a):
    return a + a


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")
def test_two_processes_never_write_compiled_code_to_one_file(tmp_path, monkeypatch):
    """The worst order: both read the empty index, the second's index is written last and its code first."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    first, second, third = jit(doubled), jit(doubled), jit(doubled)
    single, double = np.array([1.5, 2.5], np.float32), np.array([1.5, 2.5, 3.5])
    files, others = first._cache._cache_file, second._cache._cache_file
    monkeypatch.setattr(others, "_load_index", dict)
    save = files._save_data

    def after_the_second(name, data):
        second(double)
        save(name, data)

    monkeypatch.setattr(files, "_save_data", after_the_second)
    first(single)
    assert third(double).tolist() == [3.0, 5.0, 7.0]
    assert sum(third.stats.cache_hits.values()) == 1


READ_ONLY = """
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        import numpy as np
        import recurrent
        y = recurrent.lstm.forward(np.ones((3, 2, 5), np.float32), recurrent.lstm.init(5, 4))[0]
    assert np.isfinite(y).all()
    print(*[w.message for w in caught], sep=chr(10))
    """


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")
def test_without_a_folder_for_compiled_code_there_is_one_warning(tmp_path):
    """A file stands where each folder would have to be: not even root can write there."""
    package = tmp_path / "package"
    shutil.copytree(
        Path(recurrent.__file__).parent,
        package / "recurrent",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for folder in (package / "recurrent").rglob("*.py"):
        (folder.parent / "__pycache__").touch()
    blocked = tmp_path / "file"
    blocked.touch()
    environment = dict(
        PYTHONPATH=str(package),
        HOME=str(blocked),
        XDG_CACHE_HOME=str(blocked),
        NUMBA_CACHE_DIR=str(blocked),
    )
    lines = python(READ_ONLY, "-P", PYTHONDONTWRITEBYTECODE="1", **environment).splitlines()
    assert len(lines) == 1
    assert "NUMBA_CACHE_DIR" in lines[0]


TWO_THREADS = """
    import sys, threading
    sys.path.insert(0, {tests!r})
    import numpy as np
    from support.strategies import Case
    from recurrent.conformance.tolerance import assert_same_bits
    from recurrent import gru, lstm

    problems = [Case(T=4, N=3, D=5, H=17 + k, dtype="float32", seed=k).build((lstm, gru)[k // 2]) for k in range(4)]
    start, results = threading.Barrier(4), [None] * 4

    def work(k):
        start.wait()
        results[k] = [problems[k].forward()[0], *problems[k].gradients().values()]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for p, result in zip(problems, results):
        for a, b in zip(result, [p.forward()[0], *p.gradients().values()], strict=True):
            assert_same_bits(a, b)
    """


def test_first_calls_from_several_threads_at_once(tmp_path):
    """Nothing is compiled yet and no cache is filled; two of the threads want the same kernels."""
    python(TWO_THREADS.format(tests=str(Path(__file__).parents[1])), NUMBA_CACHE_DIR=str(tmp_path))
