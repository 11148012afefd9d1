"""Writes a model of another file as a file of this package, or of ONNX."""

from __future__ import annotations

import warnings
from pathlib import Path

from ..interchange import reading
from ..interchange.onnx import Network
from ..interchange.onnx_writer import to_onnx
from ..models import files
from .options import print_notes
from .runner import UsageError

ENDS = (".safetensors", ".onnx")


def run(source: Path, out: Path, lengths: bool = False, states: bool = False) -> int:
    """Convert a file and print what was written; return the exit code.

    Parameters
    ----------
    source, out : Path
        The file to read and the file to write.
    lengths, states : bool
        Those of `to_onnx`.

    Returns
    -------
    int
    """
    end = out.suffix.lower()
    if end not in ENDS:
        raise UsageError(f"OUT must end in {' or '.join(ENDS)}, got {out}")
    files.check_writable(out)
    if out.exists() and out.samefile(source):
        raise UsageError(f"OUT must be another file than {source}")
    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", UserWarning)
            made = reading.read(source)
        print_notes(str(note.message) for note in notes)
        if isinstance(made, Network):
            raise ValueError(
                f"{source} cannot be written as {end}, which holds layers, and its nodes are no "
                f"layers of this package: {made.why}"
            )
        net = getattr(made, "model", made)
        if end == ".onnx":
            to_onnx(net, out, lengths, states)
        else:
            made.save(out)
    except (TypeError, ImportError) as error:
        raise ValueError(str(error)) from None
    print(f"wrote {out}: {net.size:,} parameters, {net!r}")
    return 0
