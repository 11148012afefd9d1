"""Errors that the contents of a file cause: a ValueError or TypeError of one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 900  # characters of a message


@contextmanager
def damage(*kinds: type[Exception]) -> Iterator[None]:
    """Turn the errors of damaged files into one line; `kinds` are further ones of a reader."""
    try:
        yield
    except (ValueError, TypeError) as error:
        text = str(error)
        words = one_line(text)
        base = TypeError if isinstance(error, TypeError) else ValueError
        if words == text and type(error) is base:
            raise
        raise base(words) from None
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        StopIteration,
        *kinds,
    ) as error:
        words = one_line(str(error)) or type(error).__name__
        raise ValueError(f"the file is damaged: {words:.200}") from None


def one_line(text: str) -> str:
    """Return a message as one line of printable characters."""
    words = " ".join(text.split()) if any(c in text for c in "\r\n\t\v\f") else text
    if not words.isprintable():
        words = "".join(c if c.isprintable() else "?" for c in words)
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 4]} ..."
