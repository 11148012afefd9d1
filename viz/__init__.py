"""Pictures of recurrent networks, drawn from the graphs that the engine computes by."""

# First, because it handles Ctrl-C during the imports that follow.
import recurrent as _recurrent  # noqa: F401
from recurrent.checks.guided import module_getattr as _module_getattr

from .draw.adapt import Look
from .draw.drawing import Drawing
from .draw.render import RenderError
from .page.explore import explore
from .reading.probing import units_like
from .views.attention import attention
from .views.cell import cell
from .views.compare import compare
from .views.curve import curve
from .views.gradients import gradients
from .views.layer import layer
from .views.network import network
from .views.task import task
from .views.text import text
from .views.unit import unit
from .views.unrolled import unrolled
from .views.weights import weights

__getattr__ = _module_getattr(__name__)
__all__ = [
    "Drawing",
    "Look",
    "RenderError",
    "attention",
    "cell",
    "compare",
    "curve",
    "explore",
    "gradients",
    "layer",
    "network",
    "task",
    "text",
    "unit",
    "units_like",
    "unrolled",
    "weights",
]
