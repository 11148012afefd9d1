"""Start-up: imports are light and compile nothing; the next process loads kernels from disk."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numba import config

import recurrent
from recurrent.kernels import cache
from recurrent.kernels.jit import jit

open_file = open
ALLOWED = 0.25  # seconds that `import recurrent` may take after `import numba`


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
        heavy = {"torch", "jax", "viz", "rich", "typer", "graphviz", "scipy", "onnx", "onnxruntime"}
        heavy.add("matplotlib")
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
    """Processor time, the least of several runs: other programs can only make an import slower.

    Python's byte code is cached, as it is for an installed package.
    """
    installed = dict(PYTHONPYCACHEPREFIX=str(tmp_path), PYTHONDONTWRITEBYTECODE="")
    code = """
        import time
        import numba
        start = time.process_time()
        import recurrent
        print(time.process_time() - start)
        """
    assert any(float(python(code, **installed)) <= ALLOWED for _ in range(12))


WORK = """
    import json
    import numpy as np
    from numba.core.dispatcher import Dispatcher
    import recurrent
    from recurrent import GRU, Embedding, Linear, Sequential
    from recurrent.cells import tanh, trace_cell
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

    @trace_cell("of_my_own", gates="n", states="h", register=False)
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
                    counts = [sum(hits.values()), sum(misses.values())]
                    found[f"{value.__module__}.{value.__name__}"] = counts
    print(json.dumps(found))
    """


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")
def test_two_processes_fill_an_empty_cache_and_a_third_compiles_nothing(tmp_path):
    """Built-in cells and a user-defined one, forward, backward and a stream, come from disk."""

    def work(_=None):
        return json.loads(python(WORK, NUMBA_CACHE_DIR=str(tmp_path)))

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(work, range(2)))
    assert both[0].keys() == both[1].keys()
    assert any(misses for found in both for _, misses in found.values())
    third = work()
    assert third
    assert {n: misses for n, (_, misses) in third.items() if misses} == {}
    assert all(hits for hits, _ in third.values())


COPY = """
    import numba
    import numpy as np
    from recurrent.kernels.elementwise import block_squares
    from recurrent.kernels.codegen.target import target
    sums = np.empty(1)
    block_squares(target(np.dtype("float32")), np.full(3, 2, "f"), 3, 0, 1, sums)
    stats = block_squares.stats
    print(sums[0], sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
    """


@pytest.fixture
def copied(tmp_path):
    """Copy the package; return its folder and a function that runs a kernel in a new process."""
    shutil.copytree(
        Path(recurrent.__file__).parent,
        tmp_path / "recurrent",
        ignore=shutil.ignore_patterns("__pycache__"),
    )

    def run():
        """Return a kernel's sum of three squares of 2, and the number of cache hits and misses."""
        environment = dict(PYTHONPATH=str(tmp_path), NUMBA_CACHE_DIR=str(tmp_path / "cache"))
        return [float(word) for word in python(COPY, "-P", **environment).split()]

    return tmp_path / "recurrent", run


def edit(path, old, new):
    """Replace text in a file, but keep its date, which Numba looks at; drop its byte code."""
    before = path.stat()
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")
def test_an_edited_or_renamed_helper_never_serves_stale_code(copied):
    """The helper is in another file than the kernel: Numba itself would not notice."""
    package, run = copied
    codegen, equations = package / "kernels" / "codegen", package / "equations"
    assert run() == [12, 0, 1]
    assert run() == [12, 1, 0]
    edit(codegen / "passes.py", "b.fadd(total, b.fmul(wide, wide))", "b.fadd(total, wide)")
    assert run() == [6, 0, 1]
    # The same edit undone in a file of another name.
    edit(codegen / "passes.py", "b.fadd(total, wide)", "b.fadd(total, b.fmul(wide, wide))")
    (codegen / "passes.py").rename(codegen / "renamed.py")
    for user in ("elementwise.py", "attention.py", "chain.py"):
        edit(package / "kernels" / user, "codegen.passes", "codegen.renamed")
    assert run() == [12, 0, 1]
    (equations / "helper.py").write_text("")
    assert run() == [12, 0, 1]
    assert run() == [12, 1, 0]


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")
def test_an_index_whose_types_are_gone_is_not_read(copied):
    """Numba pickles types of arguments into its index; a class that has moved cannot be imported.

    This was a ModuleNotFoundError before the digest of the sources was part of the index's name.
    """
    package, run = copied
    assert run() == [12, 0, 1]
    old, new = (
        package / "kernels" / "codegen" / "target.py",
        package / "kernels" / "codegen" / "moved.py",
    )
    old.rename(new)
    for user in package.rglob("*.py"):
        text = user.read_text(encoding="utf-8")
        user.write_text(
            text.replace("codegen.target import", "codegen.moved import").replace(
                "from .target import", "from .moved import"
            ),
            encoding="utf-8",
        )
    moved = COPY.replace("codegen.target", "codegen.moved")
    environment = dict(
        PYTHONPATH=str(package.parent), NUMBA_CACHE_DIR=str(package.parent / "cache")
    )
    assert python(moved, "-P", **environment).split() == ["12.0", "0", "1"]


def doubled(a):
    return a + a


def tripled(a):
    return a + a + a


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")
def test_two_processes_never_write_compiled_code_to_one_file(tmp_path, monkeypatch):
    """The worst order: both read the empty index, then the second writes its code first."""
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
    """A file blocks the place of each cache folder: not even root can write there."""
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


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"more",
    "noise": lambda content: np.random.default_rng(0).bytes(len(content)),
    "one bit": flip,
}


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Compile two kernels anew; return their cache hits and the messages of all warnings."""
    if config.DISABLE_JIT:
        pytest.skip("nothing is compiled with the JIT off")
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(config, "CACHE_DIR", str(folder))

    def run(hurt=lambda: None):
        monkeypatch.setattr(cache, "_warned", False)
        kernels = jit(doubled), jit(tripled)
        hurt()
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            assert [k(np.array([1.5, 2.5])).tolist() for k in kernels] == [[3, 5], [4.5, 7.5]]
        hits = [sum(k.stats.cache_hits.values()) for k in kernels]
        assert not [f for f in tmp_path.rglob("*") if ".tmp." in f.name]
        return hits, [str(w.message) for w in shown]

    return folder, run


@pytest.mark.parametrize("kind", ["nbi", "nbc"], ids=["index", "data"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_replaced_and_the_user_told_once(fresh, kind, damage):
    """Numba raised UnpicklingError or EOFError, or loaded machine code with a flipped bit."""
    folder, run = fresh
    assert run() == ([0, 0], [])
    assert run() == ([1, 1], [])
    files = list(folder.rglob(f"*.{kind}"))
    assert len(files) == 2
    for path in files:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    hits, (message,) = run()
    assert hits == [0, 0]
    assert "is damaged" in message
    assert "NUMBA_CACHE_DIR" in message
    assert str(folder) in message
    assert run() == ([1, 1], [])


@pytest.mark.parametrize("kind", ["nbi", "nbc"], ids=["index", "data"])
def test_a_folder_in_the_place_of_a_file_is_told_once(fresh, kind):
    folder, run = fresh
    run()
    for path in folder.rglob(f"*.{kind}"):
        path.unlink()
        path.mkdir()
    for _ in range(2):
        hits, (message,) = run()
        assert hits == [0, 0]
        assert "Is a directory" in message


def test_a_file_in_the_place_of_the_folder_is_told_once(fresh):
    folder, run = fresh

    def replace():
        shutil.rmtree(folder)
        folder.touch()

    hits, (message,) = run(replace)
    assert hits == [0, 0]
    assert "File exists" in message or "Not a directory" in message


def test_a_full_disk_is_told_once(fresh, monkeypatch):
    _, run = fresh

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        "builtins.open",
        lambda path, mode="r", **kwargs: Full() if "w" in mode else open_file(path, mode, **kwargs),
    )
    hits, (message,) = run()
    assert hits == [0, 0]
    assert "No space left on device" in message


def test_a_cache_folder_that_is_gone_is_made_again(fresh):
    folder, run = fresh
    assert run(lambda: shutil.rmtree(folder)) == ([0, 0], [])
    assert run() == ([1, 1], [])


TOO_LARGE = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    """


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_the_engine_computes_where_the_system_refuses_to_write(tmp_path):
    """No file may be larger than 3 kB: every write of machine code fails, of many kernels."""
    code = textwrap.dedent(TOO_LARGE) + textwrap.dedent(READ_ONLY)
    lines = python(code, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert len(lines) == 1
    assert "File too large" in lines[0]


TWO_THREADS = """
    import sys, threading
    sys.path.insert(0, {tests!r})
    import numpy as np
    from support.strategies import Case
    from recurrent.conformance.tolerance import assert_same_bits
    from recurrent import gru, lstm

    cases = [Case(T=4, N=3, D=5, H=17 + k, dtype="float32", seed=k) for k in range(4)]
    problems = [case.build((lstm, gru)[k // 2]) for k, case in enumerate(cases)]
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
    """No kernel is compiled or cached yet, and two threads each need the same ones."""
    python(TWO_THREADS.format(tests=str(Path(__file__).parents[1])), NUMBA_CACHE_DIR=str(tmp_path))
