"""What starting costs: imports stay light and compile nothing, compiled kernels come from disk in the next process."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from numba import config

ALLOWED = 0.25  # seconds that `import recurrent` may take more than `import numba`


def python(code, *args, **environment):
    """Standard output of a new Python that runs `code`."""
    run = [sys.executable, *args, "-c", textwrap.dedent(code)]
    result = subprocess.run(run, capture_output=True, text=True, env={**os.environ, **environment}, timeout=600)
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


def test_import_is_at_most_a_quarter_second_more_than_numba():
    """The least of several runs: other programs can only make an import slower."""
    code = """
        import time
        import numba
        start = time.perf_counter()
        import recurrent
        print(time.perf_counter() - start)
        """
    assert min(float(python(code)) for _ in range(4)) <= ALLOWED


WORK = """
    import json
    import numpy as np
    from numba.core.dispatcher import Dispatcher
    import recurrent
    from recurrent import GRU, Embedding, Linear, Sequential, cells
    from recurrent.cells import cell
    from recurrent.cells.expressions import tanh
    from recurrent.engine import Engine

    model = Sequential(Embedding(5, 3), GRU(3, 4), Linear(4, 2))
    ids = np.zeros((3, 2), int)
    y, _, tape = model.forward(ids, record=True)
    model.backward(y.copy(), tape)
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
    assert {n: misses for n, (_, misses) in second.items() if misses} == {}
    assert all(hits for hits, _ in second.values())
