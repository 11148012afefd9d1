"""Running a typer app as a command should run: mistakes in one line, exit codes, closed pipes, Ctrl-C."""

from __future__ import annotations

import os
import sys

import typer

# typer has its own copy of click or uses click itself, depending on its version: this finds the right class in both.
UsageError = typer.BadParameter.__mro__[1]
_ClickError = typer.BadParameter.__mro__[2]


def complain(program: str, message: str) -> None:
    """One line on standard error."""
    print(f"{program}: {' '.join(str(message).split())}", file=sys.stderr)


def run(
    app: typer.Typer,
    program: str,
    arguments: list[str] | None = None,
    mistakes: tuple[type[Exception], ...] = (),
) -> int:
    """Run a command of `python -m program`; returns the exit code. A user's mistake is one line on standard error.

    `mistakes`: errors that are a user's beside those of files, values and memory.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.stdout.reconfigure(errors="replace")  # a sampled character that the terminal cannot show
    try:
        command = typer.main.get_command(app)
        # Not command.main(): it answers Ctrl-C and closed pipes in its own way.
        with command.make_context(f"python -m {program}", arguments or ["--help"]) as context:
            code = command.invoke(context)
        sys.stdout.flush()
        return code or 0
    except typer.Exit as end:
        return end.exit_code
    except _ClickError as error:
        complain(
            program, error.format_message().replace("Value error, ", "")
        )  # words of pydantic, which some versions use
        return error.exit_code
    except BrokenPipeError:
        # The reader has gone. The interpreter flushes once more at exit: give it something to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        complain(program, "interrupted")
        return 130
    except (OSError, ValueError, FloatingPointError, MemoryError, *mistakes) as error:
        complain(program, _describe(error))
        return 1


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}" if str(error) else "not enough memory"
    return str(error)
