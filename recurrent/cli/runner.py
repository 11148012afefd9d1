"""Runs a typer app: one-line errors, exit codes, closed pipes, Ctrl-C and other signals."""

from __future__ import annotations

import signal
import sys

import typer

from ..training import signals
from .streams import guarded

# Some versions of typer use click, others a copy of it; both provide these base classes.
UsageError = typer.BadParameter.__mro__[1]
_ClickError = typer.BadParameter.__mro__[2]
USER_ERRORS = (OSError, ValueError, FloatingPointError, MemoryError)


def print_error(program: str, message: str) -> None:
    """Print a message to standard error as one line."""
    print(f"{program}: {' '.join(str(message).split())}", file=sys.stderr)


def run(
    app: typer.Typer,
    program: str,
    arguments: list[str] | None = None,
    user_errors: tuple[type[Exception], ...] = (),
) -> int:
    """Run a command of `python -m program` and return its exit code.

    Errors of usage, files, values and memory, and those of the types in `user_errors`, are
    printed as one line, as is the signal that ends a command.
    """
    with guarded() as out:
        try:
            with signals.raised():
                code = _invoke(app, program, sys.argv[1:] if arguments is None else arguments)
                out.flush()
        except _ClickError as error:
            # Versions of typer that use pydantic start messages with "Value error, ".
            print_error(program, error.format_message().replace("Value error, ", ""))
            code = error.exit_code
        except (KeyboardInterrupt, typer.Abort) as error:
            signum = getattr(error, "signum", signal.SIGINT)
            print_error(program, signals.ENDINGS[signum])
            code = 128 + signum
        except (Exception, SystemExit) as error:
            code = 0
            if out.error is None or not out.raising:  # otherwise it comes from standard output
                if not isinstance(error, (*USER_ERRORS, *user_errors)):
                    raise
                print_error(program, _describe(error))
                code = 1
        out.raising = False
        out.flush()
        if out.error is not None and not isinstance(out.error, BrokenPipeError):
            print_error(program, _describe(out.error))
            code = code or 1
        return code


def _invoke(app, program, arguments) -> int:
    command = typer.main.get_command(app)
    try:
        # command.main() has its own handling of Ctrl-C and closed pipes.
        with command.make_context(f"python -m {program}", arguments or ["--help"]) as context:
            return command.invoke(context) or 0
    except typer.Exit as end:
        return end.exit_code


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}" if str(error) else "not enough memory"
    return str(error)
