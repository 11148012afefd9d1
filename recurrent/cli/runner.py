"""Runs a typer app: one-line errors, exit codes, closed pipes, Ctrl-C and other signals."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import typer

from ..training import signals
from ..training.history import History
from ..training.interrupt import deferred_interrupt
from ..training.workers import settled
from .streams import guarded

# Some versions of typer use click, others a copy of it; both provide these base classes.
UsageError = typer.BadParameter.__mro__[1]
_ClickError = typer.BadParameter.__mro__[2]
LONGEST = 1000  # characters of a message
USER_ERRORS = (OSError, ValueError, FloatingPointError, MemoryError)


def print_error(program: str, message: str) -> None:
    """Print a message to standard error as one line, without the middle of a very long one."""
    line = " ".join(str(message).split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    print(f"{program}: {line}", file=sys.stderr)


def run(
    app: typer.Typer,
    program: str,
    arguments: list[str] | None = None,
    user_errors: tuple[type[Exception], ...] = (),
    around: Callable[[list[str]], AbstractContextManager] = nullcontext,
) -> int:
    """Run a command of `python -m program` and return its exit code.

    Errors of usage, files, values and memory, and those of the types in `user_errors`, are
    printed as one line, as is the signal that ends a command. It runs in the context that
    `around(arguments)` returns.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with guarded() as out:
        try:
            with signals.raised(), around(arguments):
                code = _invoke(app, program, arguments)
                out.flush()
        except _ClickError as error:
            # Versions of typer that use pydantic start messages with "Value error, ".
            print_error(program, error.format_message().replace("Value error, ", ""))
            code = error.exit_code
        except (KeyboardInterrupt, typer.Abort) as error:
            signum = getattr(error, "signum", signal.SIGINT)
            print_error(program, signals.ENDINGS[signum] + getattr(error, "done", ""))
            code = 128 + signum
        except (Exception, SystemExit) as error:
            code = 0
            if out.error is None or not out.raising:  # otherwise it comes from standard output
                if not isinstance(error, (*USER_ERRORS, *user_errors)):
                    raise
                print_error(program, describe(error))
                code = 1
        out.raising = False
        out.flush()
        if out.error is not None and not isinstance(out.error, BrokenPipeError):
            print_error(program, describe(out.error))
            code = code or 1
        return code


def trained(
    train: Callable[[], History], done: Callable[[History], str] = lambda history: ""
) -> History:
    """Call `train` and return its history, or raise `Ended` if a signal ended the training.

    `done(history)` continues the word "interrupted": it says what is saved.
    """
    with deferred_interrupt() as interrupt:
        history = train()
    if history.stopped == "interrupted":
        raise settled(signals.Ended(interrupt.signum or signal.SIGINT, done(history)))
    return history


def _invoke(app, program, arguments) -> int:
    command = typer.main.get_command(app)
    try:
        # command.main() has its own handling of Ctrl-C and closed pipes.
        with command.make_context(f"python -m {program}", arguments or ["--help"]) as context:
            return command.invoke(context) or 0
    except typer.Exit as end:
        return end.exit_code


def describe(error: Exception) -> str:
    """Return an error as text that names the file of an OSError."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{_name(error)}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}" if str(error) else "not enough memory"
    return str(error)


def _name(error: OSError) -> str:
    """Return the name of the file of an error; that of an empty path is shown as quotes."""
    return str(error.filename) or "''"
