"""After `warmup` nothing is compiled, for any sizes and memory layouts of arrays."""

import io
import os
import subprocess
import sys
import textwrap

import pytest
from numba import config
from rich.console import Console

import recurrent
from recurrent import progress

CODE = """
    import sys
    import numpy as np
    from numba.core.dispatcher import Dispatcher
    import recurrent
    from recurrent import LSTM, Dropout, Embedding, Linear, Sequential
    from recurrent.kernels.blocking import shortest_pieces
    from recurrent.losses import softmax_cross_entropy
    from recurrent.optim import Adam, clip_norm

    def signatures():
        modules = [m for name, m in sys.modules.items() if name.startswith("recurrent")]
        kernels = {id(d): d for m in modules for d in vars(m).values() if isinstance(d, Dispatcher)}
        return sorted((d.__name__, str(s)) for d in kernels.values() for s in d.signatures)

    training = TRAINING
    recurrent.warmup("lstm", training=training)
    before = signatures()
    assert before
    SIZES = (1, 1, 1, 1), (9, 1, 5, 17), (3, 14, 16, 33), (70, 20, 8, 64), (5, 400, 3, 50)

    def run(T, N, D, H):
        rng = np.random.default_rng(0)
        layers = LSTM(D, H), Dropout(0.2), LSTM(H, H, bidirectional=True), Linear(2 * H, 11)
        model = Sequential(Embedding(11, D), *layers)
        ids = rng.integers(0, 11, (2 * T, 2 * N)).astype(np.int32)[::2, ::2]
        ids.flags.writeable = False
        for lengths in (None, rng.integers(0, T + 1, N)):
            y, state, _ = model.forward(ids, lengths=lengths)
            model.forward(ids, state=state, lengths=lengths)
            if training:
                model.record(ids, np.zeros((T, N), int), softmax_cross_entropy, lengths=lengths)
                gradient = np.ones(2 * model.flat.size, np.float32)[::2]
                clip_norm(gradient, 1.0)
                gradient.flags.writeable = False
                Adam(0.1, weight_decay=0.0).update(model.flat, gradient)
        params = recurrent.lstm.init(D, H)
        unaligned = np.zeros(4 * T * N * D + 1, np.uint8)[1:].view(np.float32).reshape(T, N, D)
        for x in (unaligned, np.asfortranarray(unaligned), unaligned[:, 0]):
            _, state, tape = recurrent.lstm.forward(x, params, reverse=True, record=training)
            recurrent.lstm.step(x[0], state, params)
            recurrent.lstm.forward(x, recurrent.lstm.pack(params))
            if training:
                recurrent.lstm.backward(None, tape, state, state_gradients={})
        stream = Sequential(Embedding(11, D), LSTM(D, H), Linear(H, 11)).stream()
        for x_t in ids:
            stream.step(x_t)

    for sizes in SIZES:
        run(*sizes)
        with shortest_pieces():  # as large layers on processors with a small first cache
            run(*sizes)
    more = set(signatures()) - set(before)
    assert not more, more
    """


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled with the JIT off")
@pytest.mark.parametrize("training", [False, True])
def test_nothing_is_compiled_after_it(training):
    code = textwrap.dedent(CODE).replace("TRAINING", str(training))
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=600
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no terminal, nothing to show


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"unknown cell .lstn.; known cells are .*lstm"):
        recurrent.warmup("lstn")
    with pytest.raises(TypeError, match="a cell must be given by name or as a Cell, got int"):
        recurrent.warmup(3)
    with pytest.raises(TypeError, match="float16"):
        recurrent.warmup("lstm", dtypes="float16")


@pytest.mark.parametrize("patience", [0.0, 1e9])
def test_a_bar_appears_once_patience_is_over(patience, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", patience)
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    assert list(progress.track(["lstm", "gru"], "compiling {}".format, console)) == [
        "lstm",
        "gru",
    ]
    assert ("compiling gru" in console.file.getvalue()) == (patience == 0)


def test_no_bar_where_there_is_no_terminal(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    console = Console(file=io.StringIO(), width=80)
    assert list(progress.track("ab", str, console)) == ["a", "b"]
    assert console.file.getvalue() == ""
