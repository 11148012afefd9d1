"""The names of inputs, units and steps that `labels=` gives, as the levels of a page use them."""

from __future__ import annotations

from collections.abc import Sequence

from ..draw import adapt, notation
from .run import LayerRun

ROOM = 66  # points for a name in a picture


def check_names(labels: dict[str, list[str]], runs: Sequence[LayerRun]) -> None:
    """Raise ValueError for names that are not as many as the things of any layer."""
    sizes = {
        "inputs": [runs[0].D],
        "units": [run.H for run in runs],
        "steps": [runs[0].T],
    }
    for kind, known in sizes.items():
        names = labels.get(kind)
        if names is not None and len(names) not in known:
            counts = " or ".join(f"{n:,}" for n in dict.fromkeys(known))
            raise ValueError(
                f"labels[{kind!r}] must have a name for each of {counts} {kind}, got {len(names):,}"
            )


def names_of(run: LayerRun) -> dict[str, list[str]]:
    """Return the names for one layer's pictures."""
    labels = adapt.now().labels
    found = {kind: labels[kind] for kind in ("steps", "classes") if kind in labels}
    if run.k == 0 and len(labels.get("inputs", ())) == run.D:
        found["inputs"] = labels["inputs"]
    if len(labels.get("units", ())) == run.H:
        found["units"] = labels["units"]
    return found


def called(run: LayerRun, g: str, k: int) -> str:
    """Return the name of an input of a gate, one of x or of h, or the letter with its number."""
    names = short_names(run)["inputs" if g == "x" else "units"]
    return names[k] if names else notation.sub("x" if g == "x" else run.first, k)


def short_names(run: LayerRun) -> dict[str, list[str]]:
    """Return the names of a layer's inputs and units, short enough for its pictures."""
    names = names_of(run)
    return {
        kind: [notation.fit(name, 9, ROOM) for name in names.get(kind, [])]
        for kind in ("inputs", "units")
    }
