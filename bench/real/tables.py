"""Tables of what was measured on real data, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..measure.machine import machine


def heading(title: str, command: str, packages: Iterable[str], words: str) -> str:
    """Return a title with the command, the machine and the versions of packages."""
    versions = []
    for name in packages:
        with suppress(PackageNotFoundError):
            versions.append(f"{name} {version(name)}")
    by = f"By `python -m bench {command}` on {machine()['processor']}"
    return f"# {title}\n\n{by}: {words}. {', '.join(versions)}.\n"


def tables(
    kind: str,
    known: Mapping[str, Any],
    names: list[str] | None,
    table: Callable[[Any], str],
    first: str,
    out: Path | None,
) -> None:
    """Print a table for each of the names, and write all of them to a file if there is one."""
    for name in names or known:
        if name not in known:
            raise ValueError(f"unknown {kind} {name!r}; known are {', '.join(known)}")
    parts = [first]
    for name in names or known:
        parts.append(table(known[name]))
        print(parts[-1], flush=True)
    if out is not None:
        out.write_text("\n".join(parts), encoding="utf-8")
