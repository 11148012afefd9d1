"""Adapts a picture: its title, the names in it, its width, its palette, light or dark.

Every view is `adaptable`: it takes the options of `Look` as keywords. While it draws, `heading`,
`label`, `limit` and `decades` give it what the options ask for; the colours change at the end.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypedDict, TypeVar

from recurrent import checks
from recurrent.checks import guided

from . import dot, notation, palette

LABELS = ("inputs", "units", "classes", "steps")
LEAST, MOST = 50, 10_000  # pixels of width


class Look(TypedDict, total=False):
    """Options that every view takes as keywords.

    Attributes
    ----------
    title : str
        The heading of the picture, instead of the view's own.
    labels : dict of str to sequence of str
        Names of the "inputs", "units", "classes" and "steps", one for each. A view uses those that
        it draws.
    width : float
        Width of the picture in CSS pixels, of which 96 are an inch; by default what its text needs.
    palette : str
        "default"; "colour-blind", whose colours of gates and states differ for every kind of colour
        vision; or "print", greys in which dashes or − mark what is below zero.
    dark : bool
        True for a dark page, False for a light one, in every format. By default an SVG follows its
        reader and other formats are light.

    Examples
    --------
    >>> import viz
    >>> from recurrent import LSTM
    >>> names = {"inputs": ["rain", "wind"]}
    >>> viz.unit(LSTM(2, 3), 0, title="One unit", labels=names, palette="print").title
    'One unit'
    """

    title: str | None
    labels: Mapping[str, Sequence[str]] | None
    width: float | None
    palette: Literal["default", "colour-blind", "print"]
    dark: bool | None


OPTIONS: Look = {
    "title": None,
    "labels": None,
    "width": None,
    "palette": "default",
    "dark": None,
}


class Scales:
    """The largest values that several pictures show, so that they can share their scales."""

    def __init__(self):
        self.known: dict[str, list[float]] = {}

    def joined(self, name: str, values: Iterable[float]) -> list[float]:
        """Add the values of a scale; return all that were added to it."""
        found = self.known.setdefault(name, [])
        found += [v for v in values if v not in found]
        return found


class Chosen:
    """The options of one picture, and whether its heading was drawn."""

    def __init__(self, options: Look | None = None, scales: Scales | None = None):
        given = {**OPTIONS, **(options or {})}
        title, width, dark = given["title"], given["width"], given["dark"]
        self.title = None if title is None else checks.text(title, "title")
        self.labels = _labels(given["labels"])
        self.width = None if width is None else checks.number(width, "width", LEAST, most=MOST)
        self.palette = checks.choice(given["palette"], "palette", palette.PALETTES)
        self.dark = None if dark is None else checks.flag(dark, "dark")
        if self.palette == "print":
            if self.dark:
                raise ValueError(
                    "dark must be left out with palette='print', which is for white paper"
                )
            self.dark = False
        self.scales, self.headed = scales, False

    def items(self, items: Iterable[dot.Item]) -> list[dot.Item]:
        """Return the items in the colours of the palette, with the title if no heading shows it."""
        items = list(items)
        if self.title is not None and not self.headed:
            left = min(i.box[0] for i in items)
            top = max(i.box[3] for i in items) + 16
            items.append(dot.text((left, top), self.title, 12, palette.INK, "start"))
        return [_recoloured(i, self.palette, bool(self.dark)) for i in items]


def _labels(given):
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"labels must be a dict of names, got {type(given).__name__}")
    for kind, names in given.items():
        checks.choice(kind, "a key of labels", LABELS)
        checks.labels(names, f"labels[{kind!r}]")
    return {kind: [notation.legal(str(n)) for n in names] for kind, names in given.items()}


_now: ContextVar[Chosen] = ContextVar("chosen")


def now() -> Chosen:
    """Return the options of the picture that is drawn now."""
    return _now.get(None) or Chosen()


@contextmanager
def using(chosen: Chosen) -> Iterator[Chosen]:
    """Draw with these options."""
    token = _now.set(chosen)
    try:
        yield chosen
    finally:
        _now.reset(token)


View = TypeVar("View", bound=Callable[..., Any])


def adaptable(view: View) -> View:
    """Let a view take the options of `Look`, which its signature and docstring name one by one."""

    @functools.wraps(view)
    def adapted(*args, **kwargs):
        if wrong := guided.refused(adapted, args, kwargs):
            raise wrong
        options: Any = {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}
        # Without options of its own, a view has those that surround it.
        with using(Chosen(options) if options else now()):
            return view(*args, **kwargs)

    declared, kinds = inspect.signature(view), Look.__annotations__
    own = [p for p in declared.parameters.values() if p.kind is not p.VAR_KEYWORD]
    common = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=v, annotation=kinds[name].__forward_arg__
        )
        for name, v in OPTIONS.items()
    ]
    adapted.__signature__ = declared.replace(parameters=[*own, *common])  # type: ignore
    adapted.__doc__ = _documented(inspect.getdoc(view) or "")
    return adapted  # type: ignore[return-value]


def _documented(text: str) -> str:
    """Return a docstring with the entries of `Look` in place of that of `**options`."""
    _, _, found = (inspect.getdoc(Look) or "").partition("Attributes\n----------\n")
    entries = found.partition("\n\nExamples")[0]
    entries = re.sub(r"^(\w+ : .*)$", r"\1, optional", entries, flags=re.M)
    return re.sub(r"^\*\*options\n(    .*\n)+", lambda _: f"{entries}\n", text, flags=re.M)


def heading(text: str) -> str:
    """Return the heading of the picture: the title asked for, or else the view's own."""
    chosen = now()
    if chosen.title is None:
        return text
    chosen.headed = True
    return chosen.title


def named(kind: str) -> bool:
    """Return whether there are names for this kind of thing."""
    return kind in now().labels


def label(kind: str, k: int, count: int, default: str) -> str:
    """Return the name of one of `count` inputs, units, classes or steps; `default` without names.

    Raises ValueError if there are more or fewer names than things.
    """
    names = now().labels.get(kind)
    if names is None:
        return default
    if len(names) != count:
        raise ValueError(
            f"labels[{kind!r}] must have a name for each of {count:,} {kind}, got {len(names):,}"
        )
    return names[k]


def shared(name: str, v: float) -> float:
    """Return the largest of the values v that pictures side by side have under a name."""
    scales = now().scales
    return max(scales.joined(name, [abs(v)])) if scales is not None and math.isfinite(v) else v


def limit(name: str, v: float) -> float:
    """Return the limit of a scale for values up to v, which pictures side by side share."""
    return palette.nice(shared(name, v))


def decades(name: str, sizes: Iterable[float]) -> tuple[float, float]:
    """Return the ends of a log axis, which pictures side by side share."""
    sizes, chosen = list(sizes), now()
    if chosen.scales is not None:
        known = [v for v in sizes if v > 0 and math.isfinite(v)]
        sizes = chosen.scales.joined(name, [min(known), max(known)] if known else [])
    return palette.decades(sizes)


def page_of(chosen: Chosen) -> Chosen:
    """Return the options for a page's pictures: the page itself has title and width."""
    inner = copy.copy(chosen)
    inner.title, inner.width = None, None
    inner.dark = False if chosen.palette == "print" else None  # else a picture follows the page
    return inner


def with_labels(labels: Mapping[str, list[str]]) -> Chosen:
    """Return the current options with other names."""
    inner = copy.copy(now())
    inner.labels = dict(labels)
    return inner


def marks_sign() -> bool:
    """Return whether the picture marks what is below zero with dashes or −, not with a colour."""
    return now().palette == "print"


def colour(c: str, fill: bool = True) -> str:
    """Return a colour in the palette of the picture, to mix it with others."""
    return palette.recoloured(c, now().palette, fill)


_NAMED = {"white": "#ffffff", "black": "#000000"}


def _recoloured(item: dot.Item, name: str, dark: bool) -> dot.Item:
    """Return an item in the colours of a palette, and of a dark page."""
    a = item.attributes
    if a.get("style") == "invis" or (name == "default" and not dark and "fontcolor" not in a):
        return item
    fill = a.get("fillcolor") or "#ffffff"
    if item.kind in ("text", "edge"):
        fill = "#ffffff"
    changed, fill = {}, _NAMED.get(fill, fill)
    for key in ("fillcolor", "color", "fontcolor"):
        # Text is black by default; on a fill that stays light on a dark page it stays black.
        black = "#000000" if dark and key == "fontcolor" and item.kind != "edge" else None
        c = a.get(key) or black
        if c is None:
            continue
        c = palette.recoloured(c, name, fill=key == "fillcolor")
        if key == "fontcolor" and palette.luminance(fill) > 0.8:
            c = palette.legible(c)
        if dark:
            over = palette.recoloured(fill, name, fill=True) if key == "fontcolor" else None
            c = palette.turned(c, key == "fillcolor", over, item.kind == "edge") or c
        changed[key] = c
    return item._replace(attributes=a | changed)
