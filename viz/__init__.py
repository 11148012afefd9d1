"""Pictures of recurrent networks, drawn from the engine's own description of what it computes."""

from .drawing import Drawing
from .render import RenderError
from .views.network import network
from .views.unit import unit
from .views.unrolled import unrolled

__all__ = ["Drawing", "RenderError", "network", "unit", "unrolled"]
