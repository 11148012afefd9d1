"""Recognises files that are no models of this package by what they hold, whatever their name.

Each is told from others by its first bytes, the names in its archive, or the fields of its
message. Nothing is unpickled or unpacked.
"""

from __future__ import annotations

import codecs
import io
import os
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

HEAD = 4096  # bytes that are read of a file to begin with

_REBUILD = (
    "this program loads only models that it has saved; build the model from layers, and copy the "
    "arrays with model.parameters.update"
)
_TORCH = "write recurrent.from_torch(path), which reads a state_dict"
_KERAS = "write recurrent.from_keras(path)"
_ONNX = "write recurrent.from_onnx(path)"
_NUMPY = "build the model from layers, then"
_TEXT = "python -m recurrent train trains a model on a text"
_MODEL = "name the file of a model, which ends in .safetensors"
_UNPACK = "unpack it first"

# What a file is and what to do with it, by its first bytes.
MAGIC: dict[bytes, tuple[str, str]] = {
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file, as Keras writes (.h5)", _KERAS),
    b"\x93NUMPY": ("an array of NumPy (.npy)", f"{_NUMPY} model.parameters[name] = np.load(path)"),
    b"GGUF": ("a GGUF file", _REBUILD),
    b"\x1f\x8b": ("a file compressed by gzip", _UNPACK),
    b"BZh": ("a file compressed by bzip2", _UNPACK),
    b"\xfd7zXZ\0": ("a file compressed by xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("a file compressed by zstd", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _UNPACK),
    b"\x89PNG\r\n\x1a\n": ("a PNG picture", _MODEL),
    b"%PDF-": ("a PDF file", _MODEL),
}

# Fields of the message ModelProto of ONNX and the wire types that they may have.
_MODEL_PROTO = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_VERSION, _GRAPH, _OPSET = 1, 7, 8
_FIELDS = 10_000  # that are read of a message


def file(path: str | os.PathLike) -> str | None:
    """Say what a file is that is no .safetensors file, and what to do with it.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    str or None
        For example "this is a text: ..."; None for what is not recognised.
    """
    with open(path, "rb") as stream:
        head = stream.read(HEAD)
        if not head:
            return "this is an empty file, not a complete .safetensors file (0 bytes)"
        found = next((words for magic, words in MAGIC.items() if head.startswith(magic)), None)
        found = found or _zip(stream, head) or _pickle(head) or _text(head) or _onnx(stream)
    return None if found is None else f"this is {found[0]}: {found[1]}"


def state_dict(names: list[str]) -> str:
    """Say what a .safetensors file is that another program has written.

    Parameters
    ----------
    names : list of str
        The names of its arrays.

    Returns
    -------
    str
    """
    some = ", ".join(name if name.isprintable() else "?" for name in sorted(names)[:2])
    arrays = f"{len(names):,} array{'s' * (len(names) != 1)}{f' ({some:.80}, ...)' * bool(names)}"
    return (
        f"this is a .safetensors file of {arrays} without a model: write "
        "recurrent.from_torch(path) if it is PyTorch's, or build the model from layers and "
        "model.parameters.update(safetensors.numpy.load_file(path)); the names must be those "
        "of the model"
    )


def folder(path: str | os.PathLike) -> str:
    """Say that a path is a folder, and what in it could be meant.

    Parameters
    ----------
    path : str or os.PathLike
        The folder.

    Returns
    -------
    str
    """
    names: list[str] = []
    with suppress(OSError):
        names = sorted(os.listdir(path))
    if "saved_model.pb" in names:
        hint = f": it holds a SavedModel of TensorFlow; {_REBUILD}"
    else:
        models = [name for name in names if name.endswith(".safetensors")]
        hint = f"; did you mean {Path(path) / models[0]}?" if models else ""
    return f"{os.fspath(path)}: expected a file, got a folder{hint}"


def _zip(stream: BinaryIO, head: bytes) -> tuple[str, str] | None:
    """Tell ZIP archives by the names of their members."""
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    try:
        with zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return "a ZIP archive that is damaged or cut off", "use another copy of it"
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "a file of PyTorch's torch.save", _TORCH
    if "model.weights.h5" in names or {"config.json", "metadata.json"} <= set(names):
        return "a Keras model (.keras)", _KERAS
    if names and all(name.endswith(".npy") for name in names):
        return "a file of NumPy's arrays (.npz)", f"{_NUMPY} model.parameters.update(np.load(path))"
    return "a ZIP archive", _UNPACK


def _pickle(head: bytes) -> tuple[str, str] | None:
    """Tell pickles, such as old files of PyTorch, by their first opcode."""
    if len(head) < 2 or head[0] != 0x80 or not 2 <= head[1] <= 5:
        return None
    if head[2:].startswith(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"):
        return "a file of PyTorch's torch.save", _TORCH
    return "a pickle", "pickles can run any code, so none is read; save the model with model.save"


def _onnx(stream: BinaryIO) -> tuple[str, str] | None:
    """Tell ONNX models by the fields of the protobuf message, to the end of the file."""
    size, seen = stream.seek(0, io.SEEK_END), set()
    stream.seek(0)
    for _ in range(_FIELDS):
        if (
            stream.tell() >= size
        ):  # or cut off in a field: the fields before it are those of a model
            break
        key = _varint(stream)
        if key is None or _MODEL_PROTO.get(key >> 3) != key & 7:
            return None
        seen.add(key >> 3)
        value = _varint(stream)
        if value is None:
            break  # cut off
        if key & 7 == 2:
            stream.seek(min(value, size), io.SEEK_CUR)
    is_model = _VERSION in seen and seen & {_GRAPH, _OPSET}
    return ("an ONNX file", _ONNX) if is_model else None


def _varint(stream: BinaryIO) -> int | None:
    """Read a number of a protobuf message; return None if there is none."""
    value = 0
    for k in range(10):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << 7 * k
        if byte[0] < 0x80:
            return value
    return None


def _text(head: bytes) -> tuple[str, str] | None:
    """Tell texts in UTF-8, whose last character may be cut off."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return None
    if not _printable(text):
        return None
    if text.lstrip()[:1] in ("{", "["):
        return "a JSON text", _MODEL
    return "a text", _TEXT


def _printable(characters: Iterable[str]) -> bool:
    return all(c.isprintable() or c in "\t\n\v\f\r\x1b\x85\u2028\u2029\xa0\xad" for c in characters)
