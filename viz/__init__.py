"""Pictures of recurrent networks, drawn from the engine's own description of what it computes."""

from .drawing import Drawing
from .explore import explore
from .reading import units_like
from .render import RenderError
from .views.cell import cell
from .views.curve import curve
from .views.gradients import gradients
from .views.layer import layer
from .views.network import network
from .views.text import text
from .views.unit import unit
from .views.unrolled import unrolled
from .views.weights import weights

__all__ = [
    "Drawing",
    "RenderError",
    "cell",
    "curve",
    "explore",
    "gradients",
    "layer",
    "network",
    "text",
    "unit",
    "units_like",
    "unrolled",
    "weights",
]
