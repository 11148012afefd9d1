"""Character-level language models: everything that knows about text."""

from .model import CharLM
from .translator import Translator

__all__ = ["CharLM", "Translator"]
