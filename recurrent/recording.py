"""What a run leaves for people to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .attention import Attended
from .bidirectional import Tapes
from .engine import Tape


@dataclass
class LayerRecording:
    """One layer's run. Recurrent layers have gates and states by name, each (T, N, H); gradients where there was a loss.
    Attention has its weights, (T_out, N, T_in).

    Of a bidirectional layer those of both directions, in the input's time: "h" comes from step t - 1, "h_reverse" from t + 1.
    """

    y: np.ndarray
    gates: dict[str, np.ndarray] = field(default_factory=dict)
    states: dict[str, np.ndarray] = field(default_factory=dict)
    dy: np.ndarray | None = None  # gradient of the loss with respect to y, from the layers above
    dstates: dict[str, np.ndarray] = field(default_factory=dict)  # with respect to each state: through time too
    weights: np.ndarray | None = None  # of attention: each row sums to 1 over the valid steps

    @classmethod
    def of(cls, y: np.ndarray, tape: Any) -> LayerRecording:
        """A layer's output, with gates and states where the tape is an engine's, with weights where it is of attention."""
        if isinstance(tape, Attended):
            return cls(y, weights=tape.weights)
        return cls(y, tape.gates, tape.states) if isinstance(tape, (Tape, Tapes)) else cls(y)


@dataclass
class Recording:
    """A run of a model: input, output, and for each layer what happened inside."""

    x: np.ndarray
    y: np.ndarray
    layers: list[LayerRecording]
    lengths: np.ndarray | None = None  # as `forward` took them
    targets: Any = None
    loss: float | None = None
    gradients: Any = None
