"""Joins the processes of a training that a launcher of MPI, such as mpiexec, has started."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..training.signals import RANKS
from ..training.workers import Workers, chain, is_settled
from .runner import UsageError, describe

# What launchers tell a process: the number of processes.
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "PMIX_SIZE", "SLURM_NTASKS")

# Its number among those of the same machine.
LOCAL_RANKS = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")


def launched() -> int:
    """Return how many processes a launcher has started; 1 without one."""
    sizes = [os.environ.get(name, "") for name in SIZES]
    ours = any(name in os.environ for name in RANKS)
    return max([int(size) for size in sizes if size.isdigit()], default=1) if ours else 1


_joined: Workers | None = None  # until `begin`


@contextmanager
def joined(arguments: list[str]) -> Iterator[None]:
    """Join the processes of a training before its options are read; an error of one ends all.

    The first one alone prints. An error that all know of is raised on all of them; any other is
    printed by the worker that has it, which ends the others at once.

    Parameters
    ----------
    arguments : list of str
        Those of the program. Other commands run in each process for itself.

    Raises
    ------
    UsageError
        If a launcher has started several processes and mpi4py is not installed.
    """
    global _joined
    if launched() == 1 or arguments[:1] != ["train"]:
        yield
        return
    world = _world()
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nothing:
        if world.rank > 0:
            sys.stdout = sys.stderr = nothing
        found = None
        try:
            try:
                found = _joined = Workers(world)
                yield
            except BaseException as error:
                if found is None or is_settled(error):
                    raise
                if _joined is None:
                    found.abort(error)
                found.fail(error)  # in place of the first meeting
        except BaseException as error:
            if world.rank > 0:  # the first one prints it
                signum = getattr(error, "signum", signal.SIGINT)
                ended = 128 + signum if isinstance(error, KeyboardInterrupt) else 1
                raise SystemExit(getattr(error, "exit_code", ended)) from None
            notes = [note for one in chain(error) for note in getattr(one, "__notes__", ())]
            if notes and isinstance(error, Exception):  # of another worker
                raise ValueError(f"{notes[0]}: {describe(error)}") from error
            raise
        finally:
            _joined, (sys.stdout, sys.stderr) = None, before


def begin() -> Workers:
    """Return the workers of this command, whose first meeting comes next."""
    global _joined
    found, _joined = _joined, None
    return Workers() if found is None else found


def _world() -> Any:
    """Return the communicator of all processes."""
    # MPI waits for a process that starts late, and no handler of Python's would run meanwhile.
    numbers = signal.SIGINT, signal.SIGTERM
    handlers = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    try:
        from mpi4py import MPI  # type: ignore[import-not-found,import-untyped]
    except (ImportError, RuntimeError) as error:  # no mpi4py, or no MPI that it can load
        if any(os.environ.get(name, "0") != "0" for name in LOCAL_RANKS):
            raise SystemExit(2) from None  # the first process of this machine says it
        raise UsageError(
            f"the launcher has started {launched()} processes, which need mpi4py to share a"
            f" training: pip install 'recurrent-engine[mpi]' ({error})"
        ) from None
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
    return MPI.COMM_WORLD
