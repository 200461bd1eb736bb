"""NumPy's archives of arrays, read and written without pickles.

Dtypes that NumPy does not know (bfloat16, float8) are stored as unsigned integers of their size. A member named
`__numconv__`, a JSON text, tells their names and holds the metadata; NumPy reads it as one more array.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from numconv.files.archive import Archive, opened
from numconv.files.dtypes import FOREIGN, dtype_named

NOTES = "__numconv__"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays in their order, uncompressed."""
    foreign = {name: array.dtype.name for name, array in arrays.items() if array.dtype.name in FOREIGN}
    notes = {"dtypes": foreign, "metadata": dict(metadata)}
    members = {**arrays, NOTES: np.array(json.dumps(notes))} if any(notes.values()) else arrays
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in members.items():
            plain = array.view(f"u{array.itemsize}") if name in foreign else array
            member = zipfile.ZipInfo(f"{name}.npy")  # no date: the same arrays make the same file
            with archive.open(member, "w", force_zip64=True) as stream:
                npy.write_array(stream, plain, allow_pickle=False)


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read (arrays, metadata), the arrays in the order of the file.

    Raises
    ------
    ValueError
        If the file is broken, or holds Python objects.
    """
    with opened(path) as file:
        archive = Archive(file, compressed=True)
        arrays = {name.removesuffix(".npy"): _array(archive, name) for name in archive.members}
        if len(arrays) < len(archive.members):
            raise ValueError("a name is there twice")
        notes = arrays.pop(NOTES, None)
        if notes is None:
            return arrays, {}
        dtypes, metadata = _notes(notes)
        for name, dtype in dtypes.items():
            if name not in arrays or dtype not in FOREIGN:
                raise ValueError(f"{NOTES!r} says that {name!r} is {dtype!r}")
            arrays[name] = arrays[name].view(dtype_named(dtype))
        return arrays, metadata


def _array(archive: Archive, name: str) -> np.ndarray:
    with archive.open(name) as stream:
        version = npy.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"{name!r} is in version {version} of the npy format; 1.0 and 2.0 are read")
        shape, fortran, dtype = _HEADERS[version](stream)
        start = stream.tell()
    if dtype.hasobject or dtype.kind == "V":
        raise ValueError(f"{name!r} holds {dtype}: only numbers and texts are read")
    data = archive.read(name)[start:]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != data.size:
        raise ValueError(f"{name!r} says {shape} of {dtype}, and holds {data.size} bytes")
    array = np.ndarray(shape, dtype, data, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _notes(notes: np.ndarray) -> tuple[dict[str, str], dict[str, str]]:
    """(dtype names, metadata) of the text in the member NOTES."""
    found: Any = json.loads(str(notes))
    parts: list[Any] = [found.get(part) if isinstance(found, dict) else None for part in ("dtypes", "metadata")]
    for part in parts:
        if not isinstance(part, dict) or not all(isinstance(text, str) for text in part.values()):
            raise ValueError(f"{NOTES!r} must hold names and texts")
    return parts[0], parts[1]
