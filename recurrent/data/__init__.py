"""Training data: batches, windows and pairs of sequences, and what prepares them.

`Batches` has independent sequences, `Windows` long ones for truncated BPTT, `SlidingWindows` the
parts of a series with what follows each, `Pairs` the data of a `Seq2Seq`. `pad_sequences` makes an
array of a list, `Scaler` standardises features, `fill_missing` takes the NaN out of them.
"""

from ..checks.guided import module_getattr
from .batch import Batch, Pair, as_arrays, as_batch
from .batches import Batches, BatchSource, Pairs, Shuffled, Windows
from .missing import fill_missing
from .padding import pad_sequences, unpad_sequences
from .scaler import Scaler
from .sliding import SlidingWindows

__all__ = [
    "Batch",
    "BatchSource",
    "Batches",
    "Pair",
    "Pairs",
    "Scaler",
    "Shuffled",
    "SlidingWindows",
    "Windows",
    "as_arrays",
    "as_batch",
    "fill_missing",
    "pad_sequences",
    "unpad_sequences",
]

__getattr__ = module_getattr(__name__)
