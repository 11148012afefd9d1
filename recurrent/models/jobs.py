"""Runs a function of a model on many parts of the data, here or in the workers of joblib.

A worker keeps the models that it has opened: a file is opened once, a model object unpickled once.
Parts run in rounds, which bound the memory. If a worker dies, its round runs again.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import islice
from typing import Any

import numpy as np

from .. import checks
from .base import Model
from .loading import load
from .seq2seq import Seq2Seq

PARTS = 4  # of each job in a round
RETRIES = 3  # of a round whose worker died
KEPT = 2  # models that a worker keeps
# Errors that say that a worker is gone, by the names of the classes of loky, Dask and Ray.
GONE = {"BrokenExecutor", "KilledWorker", "WorkerCrashedError", "ActorDiedError", "RayActorError"}


def opened(model: Any) -> Model:
    """Return the layers of a model, of what wraps one, or of a file.

    Raises TypeError for an encoder-decoder and for what is no model, OSError or ValueError if a
    file cannot be read or holds no model.
    """
    if isinstance(model, (str, os.PathLike)):
        model = load(model)
    net = getattr(model, "model", model)  # of a CharLM or a Translator
    if isinstance(net, Seq2Seq):
        raise TypeError(
            "model must be a model of one sequence, got a Seq2Seq, whose outputs are written step "
            "by step: call model.generate(source, max_steps)"
        )
    checks.instance(net, Model, "model", "a model, such as a Sequential, or the path of its file")
    return net


class Jobs:
    """Runs a function of one model on parts of the data, in jobs.

    Parameters
    ----------
    model : Sequential, CharLM, str or os.PathLike
        The model, or the file of one.
    n_jobs : int or None
        Number of jobs, -1 for all processors. None and 1 stand for this process, or for the jobs
        of `joblib.parallel_config` where one is active.

    Attributes
    ----------
    net : Model
        The layers of the model.
    count : int
        The number of jobs.
    options : dict or None
        Options of `joblib.Parallel`; None without it.
    """

    def __init__(self, model: Any, n_jobs: int | None = 1):
        self.options, self.count = _options(n_jobs), 1
        self._pool: Any = None
        self._reference: Any = None
        self._file: Any = None
        if self.options is not None:
            self.count = self.options["backend"].effective_n_jobs(self.options["n_jobs"])
            if isinstance(model, (str, os.PathLike)):
                path = checks.path(model, "model").absolute()
                # Before it is opened, so that a worker never opens another one without an error.
                self._file = str(path), _digest_of(path)
        self.net = opened(model)

    def map(
        self,
        function: Callable[..., Any],
        parts: Iterable[tuple],
        words: str = "",
    ) -> Iterator[Any]:
        """Yield `function(net, *part)` for each part, in order.

        `words` name the parts in the error for a worker that died.
        """
        if self.options is None:
            for part in parts:
                yield function(self.net, *part)
            return
        parts = iter(parts)
        while some := list(islice(parts, PARTS * self.count)):
            yield from self._round(function, some, words)

    def close(self) -> None:
        """End the jobs."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.__exit__(None, None, None)

    def _round(self, function: Callable[..., Any], parts: list[tuple], words: str) -> list[Any]:
        """Return `function(net, *part)` of each part; run all again if a worker dies."""
        from joblib import delayed

        error: Any = None
        for _ in range(1 + RETRIES):
            pool = self._pool or self._start()
            try:
                reference = self._refer()
                return pool(delayed(_call)(function, part, *reference) for part in parts)
            except Exception as raised:
                if GONE.isdisjoint(kind.__name__ for kind in type(raised).__mro__):
                    raise
                error = raised
                self.close()
        raise ChildProcessError(
            f"{words}: a worker died at each of {1 + RETRIES} attempts, of too little memory or of "
            "a signal; fewer n_jobs or a smaller batch take less memory"
        ) from error

    def _start(self) -> Any:
        """Start the jobs with those signals blocked that end this process, and return the jobs.

        Processes that start meanwhile have them blocked from the first moment on.
        """
        from joblib import Parallel, delayed

        assert self.options is not None
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            self._pool = pool = Parallel(**self.options)
            pool.__enter__()
            if type(self.options["backend"]).__name__ == "LokyBackend":
                pool(delayed(int)() for _ in range(self.count))
            return pool
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _refer(self) -> tuple[Any, str, Any]:
        """Return what a task finds the model by: `_find` takes it."""
        if self._reference is None:
            import cloudpickle

            if self.options and getattr(self.options["backend"], "supports_sharedmem", False):
                self._reference = self.net, "", None
            elif self._file is not None:
                path, digest = self._file
                self._reference = None, digest, path
            else:
                # As an array: loky maps a large one into memory, and Dask sends it once a worker.
                pickled = cloudpickle.dumps(self.net)
                digest = hashlib.blake2b(pickled, digest_size=16).hexdigest()
                self._reference = None, digest, np.frombuffer(pickled, np.uint8)
        return self._reference


def _options(n_jobs: Any) -> dict[str, Any] | None:
    """Return the options of `joblib.Parallel` for this number of jobs; None without joblib.

    They hold for as long as the jobs run, also when a `joblib.parallel_config` has ended.
    """
    if n_jobs is not None and checks.integer(n_jobs, "n_jobs", most=checks.LARGEST) == 0:
        raise ValueError("n_jobs must be at least 1, or -1 for all processors, got 0")
    serial = n_jobs in (None, 1)
    if serial and "joblib" not in sys.modules:  # so that no context of it is active
        return None
    for name in ("joblib", "cloudpickle"):
        if not serial and find_spec(name) is None:
            raise ImportError(
                f"n_jobs={n_jobs} needs {name}, which is not installed: "
                "pip install 'recurrent-engine[parallel]'"
            )
    from joblib.parallel import get_active_backend

    active: Any = get_active_backend()
    backend, configured = active
    if serial:
        n_jobs = backend.default_n_jobs if configured is None else configured
    return None if n_jobs == 1 and serial else {"backend": backend, "n_jobs": n_jobs}


_opened: dict[tuple[str, str], Model] = {}  # models of this worker, the last used one at the end
_opening = threading.Lock()


def _call(function: Callable[..., Any], part: tuple, net: Any, digest: str, source: Any) -> Any:
    """Call a function in a worker."""
    _follow_parent()
    return function(_find(digest, source) if net is None else net, *part)


@cache
def _follow_parent() -> None:
    """Let a worker of loky end when the process that started it does, and at no other time.

    That process kills its workers. One that Ctrl-C ended while it writes a result would let it wait
    for the rest. If it is killed itself, its workers would wait for the next task for minutes.
    """
    from multiprocessing import current_process

    parent = os.getppid()
    if type(current_process()).__module__.startswith("joblib.externals.loky"):
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                signal.signal(signum, signal.SIG_IGN)

        def follow() -> None:
            while os.getppid() == parent:
                time.sleep(1)
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def _find(digest: str, source: Any) -> Model:
    """Return the model of a file or of its pickled bytes, which a worker opens once."""
    is_file = isinstance(source, str)
    key = source if is_file else "", digest
    with _opening:
        net = _opened.pop(key, None)
        if net is None:
            net = _open_file(source, digest) if is_file else _unpickled(source)
        _opened[key] = net
        while len(_opened) > KEPT:
            del _opened[next(iter(_opened))]
    return net


def _unpickled(pickled: np.ndarray) -> Model:
    """Return the model that `Jobs` has pickled in the same call."""
    import cloudpickle

    return cloudpickle.loads(pickled.tobytes())


def _open_file(path: str, digest: str) -> Model:
    """Return the model of a file; raise ValueError if it is another one than at the call."""
    net = opened(path)
    if _digest_of(path) != digest:
        raise ValueError(
            f"{path} has changed since the call, so that a worker cannot open the same model: "
            "write a new model to a file of another name, and call again"
        )
    return net


def _digest_of(path: str | os.PathLike) -> str:
    """Return the digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
