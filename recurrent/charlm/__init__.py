"""Character-level language models: everything that knows about text."""

from .model import CharLM

__all__ = ["CharLM"]
