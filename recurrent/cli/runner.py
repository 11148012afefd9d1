"""Runs a typer app: one-line errors, exit codes, closed pipes and Ctrl-C."""

from __future__ import annotations

import os
import sys

import typer

# Some versions of typer use click, others a copy of it; both provide these base classes.
UsageError = typer.BadParameter.__mro__[1]
_ClickError = typer.BadParameter.__mro__[2]


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
    printed as one line.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.stdout.reconfigure(errors="replace")  # for characters the terminal's encoding lacks
    try:
        command = typer.main.get_command(app)
        # command.main() has its own handling of Ctrl-C and closed pipes.
        with command.make_context(f"python -m {program}", arguments or ["--help"]) as context:
            code = command.invoke(context)
        sys.stdout.flush()
        return code or 0
    except typer.Exit as end:
        return end.exit_code
    except _ClickError as error:
        # Versions of typer that use pydantic start messages with "Value error, ".
        print_error(program, error.format_message().replace("Value error, ", ""))
        return error.exit_code
    except BrokenPipeError:
        # The interpreter flushes standard output once more at exit: redirect it to /dev/null.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        print_error(program, "interrupted")
        return 130
    except (OSError, ValueError, FloatingPointError, MemoryError, *user_errors) as error:
        print_error(program, _describe(error))
        return 1


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}" if str(error) else "not enough memory"
    return str(error)
