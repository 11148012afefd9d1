"""A seeded mutator of checkpoints: bits, lengths, headers, kinds, sizes, nesting, swaps, overlaps.

A mutation changes the bytes of a file, its header, its JSON or its arrays. Those of JSON and arrays
may compute the digest of the file anew, so that the checks behind it are tested too.
"""

from __future__ import annotations

import copy
import json
import random
import struct
from typing import Any, NamedTuple

import numpy as np

from recurrent.models import storage

DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "|u1"}
NAMES = {np.dtype(text).str: name for name, text in DTYPES.items()}


class Mutated(NamedTuple):
    """A mutated file: its bytes, what was done, and whether its digest was computed anew."""

    data: bytes
    what: str
    digest: bool


class Raw(str):
    """Text that stands in JSON as it is."""


# Values of wrong kinds, ranges and sizes.
VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3, 7, 2**31 - 1, 2**31, 2**32, 2**53, 2**63, 2**64, 2**128,
    10**30, Raw("1" + "0" * 400), Raw("1" * 5000), -0.0, 0.5, 1.5, 1e-320, 1e308, -1e308,
    Raw("1e999"), Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), "", "x", "h", "tanh", "lstm",
    "1", "\x1b[31mred", "\x00", "two\nlines", "ü" * 5000, "x" * 300_000, "__class__", "../../etc",
    [], {}, [[]], [{}], {"": None}, [0] * 5000, {"type": "Linear", "options": {}}, [None, None],
    Raw("[" * 40 + "]" * 40), Raw("[" * 100_000 + "]" * 100_000),
    Raw('{"a":' * 5000 + "1" + "}" * 5000),
    Raw("[" * 100_000), Raw("{"), Raw("'a'"), Raw("[" + "[]," * 50_000 + "[]]"),
]  # fmt: skip


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header of a file, as a dict, and the bytes of its arrays."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: Any, body: bytes) -> bytes:
    """Return a file of a header and the bytes of its arrays."""
    text = dump(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + body


def dump(value: Any) -> str:
    """Return JSON; a `Raw` stands in it as it is."""
    raws: list[Raw] = []

    def replaced(v):
        if isinstance(v, Raw):
            raws.append(v)
            return f"\x02{len(raws) - 1}\x02"
        if isinstance(v, dict):
            return {k: replaced(w) for k, w in v.items()}
        return [replaced(w) for w in v] if isinstance(v, list) else v

    text = json.dumps(replaced(value))
    for k, raw in enumerate(raws):
        text = text.replace(f'"\\u0002{k}\\u0002"', raw)
    return text


class Mutator:
    """Mutations of files, one after the other, from a seed."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def mutate(self, data: bytes) -> Mutated:
        """Return a file with a few mutations of one kind, chosen at random."""
        kind = self.random.choice([self.of_bytes, self.of_header, self.of_json, self.of_arrays])
        for _ in range(20):
            try:
                mutated = kind(data)
            except (
                ArithmeticError,
                AttributeError,
                LookupError,
                RecursionError,
                TypeError,
                ValueError,
            ):
                continue  # such a mutation does not fit this file
            if mutated.data != data:
                return mutated
        return self.of_bytes(data)

    def of_bytes(self, data: bytes) -> Mutated:
        """Flip bits, or cut, lengthen, repeat, clear or exchange parts of the file."""
        choose, found = self.random, bytearray(data)
        what = choose.choice(["bit", "bits", "cut", "longer", "length", "clear", "copy", "insert"])
        start = choose.randrange(len(data))
        stop = min(len(data), start + choose.choice([1, 4, 8, 64, 1000]))
        if what in ("bit", "bits"):
            for _ in range(1 if what == "bit" else choose.randrange(2, 30)):
                found[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
        elif what == "cut":
            del found[choose.choice([start, 0, 7, 8, 9, len(data) - 1]) :]
        elif what == "longer":
            found += choose.randbytes(choose.choice([1, 8, 1000]))
        elif what == "length":
            lengths = [0, 1, 7, 8, start, len(data), 10**8, 10**8 + 1, 2**63, 2**64 - 1]
            found[:8] = struct.pack("<Q", choose.choice(lengths))
        elif what == "clear":
            found[start:stop] = bytes(stop - start)
        elif what == "copy":
            other = choose.randrange(len(data) - (stop - start) + 1)
            found[start:stop] = data[other : other + stop - start]
        else:
            found[start:start] = choose.randbytes(stop - start)
        return Mutated(bytes(found), what, False)

    def of_header(self, data: bytes) -> Mutated:
        """Change offsets, shapes, types and names in the header, or the header as a whole."""
        choose, (header, body) = self.random, split(data)
        names = [n for n in header if n != "__metadata__"]
        name, other = choose.choice(names), choose.choice(names)
        entry = header[name]
        what = choose.choice(
            ["offset", "overlap", "swap", "shape", "dtype", "name", "drop", "value", "nest", "meta"]
        )
        if what == "offset":
            k = choose.randrange(2)
            by = choose.choice([1, 4, -4, 10**6, 2**62, -(2**63)])
            entry["data_offsets"][k] += by
        elif what == "overlap":
            entry["data_offsets"] = list(header[other]["data_offsets"])
            entry["shape"] = list(header[other]["shape"])
        elif what == "swap":
            header[name], header[other] = header[other], header[name]
        elif what == "shape":
            entry["shape"] = choose.choice(
                [entry["shape"][::-1], [*entry["shape"], 1], [], [0], [2**31, 2**31], [2**63], [-1]]
            )
        elif what == "dtype":
            entry["dtype"] = choose.choice(
                ["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "X", "", 3]
            )
        elif what == "name":
            header[choose.choice(["", "9.bias", "__metadata__", name + "\n", "\x1b[0m"])] = (
                header.pop(name)
            )
        elif what == "drop":
            del header[name]
        elif what == "value":
            key = choose.choice(list(entry))
            entry[key] = choose.choice(VALUES)
        elif what == "nest":
            return Mutated(join(choose.choice(VALUES), body), "header", False)
        else:
            header["__metadata__"] = choose.choice([None, 3, [], {}, {"format": "recurrent"}])
        return Mutated(join(header, body), what, False)

    def of_json(self, data: bytes) -> Mutated:
        """Change values, keys, lists and whole texts of the metadata."""
        choose, (header, body) = self.random, split(data)
        metadata = header["__metadata__"]
        keys = [k for k in metadata if k not in ("format", "digest")]
        for _ in range(choose.choice([1, 1, 1, 2, 3])):
            key = choose.choice(keys)
            what = choose.choice(["value"] * 6 + ["text", "key", "exchange", "many", "drop"])
            if what == "text":
                value = choose.choice(VALUES)
                metadata[key] = value if isinstance(value, str) else dump(value)
            elif what == "exchange":
                other = choose.choice(keys)
                metadata[key], metadata[other] = metadata[other], metadata[key]
            elif what == "drop":
                metadata.pop(key, None)
                keys.remove(key)
            else:
                metadata[key] = dump(self._changed(json.loads(metadata[key]), what))
        return self._with_digest(header, body, "JSON")

    def _changed(self, value: Any, what: str) -> Any:
        """Return JSON data with a change at one random place."""
        choose, places = self.random, []

        def walk(v, path):
            places.append(path)
            for k in v if isinstance(v, dict) else range(len(v)) if isinstance(v, list) else ():
                walk(v[k], (*path, k))

        walk(value, ())
        path = choose.choice(places)
        box = {"": copy.deepcopy(value)}
        at: Any = box
        for k in ("", *path)[:-1]:
            at = at[k]
        key = ("", *path)[-1]
        if what == "many":
            at[key] = at[key] * choose.choice([2, 50, 20_000 if len(at[key]) < 10 else 3])
        elif what == "key" and isinstance(at[key], dict):
            at[key][choose.choice(["", "x", "self", "lr", "steps", "type"])] = choose.choice(VALUES)
        elif what == "key":
            del at[key]
        elif choose.random() < 0.5 and isinstance(at[key], (int, float)):
            by = choose.choice([lambda v: v + 1, lambda v: v * 1000, lambda v: -v, lambda v: v / 3])
            at[key] = by(at[key])
        elif choose.random() < 0.2:
            at[key] = self._at(value, choose.choice(places))
        else:
            at[key] = choose.choice(VALUES)
        return box[""]

    def _at(self, value, path):
        for k in path:
            value = value[k]
        return copy.deepcopy(value)

    def of_arrays(self, data: bytes) -> Mutated:
        """Exchange, change, rename, drop and add arrays."""
        choose, (header, body) = self.random, split(data)
        metadata = header.pop("__metadata__")
        tensors = {
            name: np.frombuffer(body[slice(*e["data_offsets"])], DTYPES[e["dtype"]]).reshape(
                e["shape"]
            )
            for name, e in header.items()
        }
        names = list(tensors)
        name, other = choose.choice(names), choose.choice(names)
        what = choose.choice(["swap", "entry", "dtype", "shape", "rename", "drop", "add", "ids"])
        a = tensors[name]
        if what == "swap":
            tensors[name], tensors[other] = tensors[other], a
        elif what in ("entry", "ids"):
            a = a.copy()
            values = (
                [np.nan, np.inf, 0, -1, 1e30] if a.dtype.kind == "f" else [-1, 10**6, 2**31 - 1]
            )
            a.reshape(-1)[choose.randrange(a.size)] = choose.choice(values)
            tensors[name] = a
        elif what == "dtype":
            tensors[name] = a.astype(choose.choice([*DTYPES.values()]))
        elif what == "shape":
            forms = [a.reshape(-1), a[..., :-1], a[None], a.T, a[:0], np.concatenate([a, a])]
            tensors[name] = np.ascontiguousarray(choose.choice(forms))
        elif what == "rename":
            tensors[choose.choice([other, "x", "past", "latest", "optimizer.m", "state.0.h"])] = a
            if choose.random() < 0.5:
                del tensors[name]
        elif what == "drop":
            del tensors[name]
        else:
            added = ["past", "latest", "state.1.h", "optimizer.q", "history.losses", "history.x"]
            tensors[choose.choice(added)] = a
        header, parts, start = {"__metadata__": metadata}, [], 0
        for key, a in tensors.items():
            raw = np.ascontiguousarray(a).tobytes()
            offsets = [start, start + len(raw)]
            header[key] = {
                "dtype": NAMES[a.dtype.str],
                "shape": list(a.shape),
                "data_offsets": offsets,
            }
            parts.append(raw)
            start += len(raw)
        return self._with_digest(header, b"".join(parts), f"array {what}", tensors)

    def _with_digest(self, header, body, what, tensors=None) -> Mutated:
        """Return the file; in half of the cases with the digest of what it holds now."""
        metadata = header["__metadata__"]
        if "digest" not in metadata or self.random.random() < 0.4:
            return Mutated(join(header, body), what, "digest" not in metadata)
        if tensors is None:
            tensors = {
                name: np.frombuffer(body[slice(*e["data_offsets"])], DTYPES[e["dtype"]]).reshape(
                    e["shape"]
                )
                for name, e in header.items()
                if name != "__metadata__"
            }
        metadata["digest"] = storage.digest(tensors, metadata)
        return Mutated(join(header, body), what, True)
