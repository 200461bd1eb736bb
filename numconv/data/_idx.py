"""Arrays in files: the idx format of MNIST, and NumPy's archives. Neither file is trusted."""

from __future__ import annotations

import gzip
import math
import os
from typing import IO, Any, cast

import numpy as np

from numconv.files import npz
from numconv.files.archive import check_growth, fill, opened

_DTYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an idx file, compressed by gzip or not.

    Parameters
    ----------
    path : path
        Two zero bytes, the code of the dtype, the number of axes, their lengths (32 bits, big endian), the elements.

    Returns
    -------
    ndarray
        In native byte order: uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    ValueError
        If the file is broken: the message names it and says what is wrong.

    Notes
    -----
    Format: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", "File formats".
    """
    with opened(path) as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream: Any = gzip.GzipFile(fileobj=cast(IO[bytes], file)) if compressed else file
        return _array(stream, file.size, compressed)


def _array(stream: Any, stored: int, compressed: bool) -> np.ndarray:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES:
        raise ValueError(f"it does not begin as an idx file: two zeros and one of {sorted(_DTYPES)}")
    axes, dtype = head[3], np.dtype(_DTYPES[head[2]])
    lengths = np.frombuffer(stream.read(4 * axes), ">u4")
    if lengths.size != axes:
        raise ValueError(f"it should have {axes} axes, and ends before")
    shape = tuple(int(n) for n in lengths)
    nbytes = math.prod(shape) * dtype.itemsize
    if compressed:
        check_growth(nbytes, stored)
    elif nbytes != stored - 4 - 4 * axes:
        raise ValueError(f"it says {shape} of {dtype.name}, and holds {stored - 4 - 4 * axes} bytes")
    data = np.empty(nbytes, np.uint8)
    fill(stream, data)
    if stream.read(1):
        raise ValueError(f"it says {shape} of {dtype.name}, and holds more")
    return data.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of one of NumPy's archives, in their order.

    Raises
    ------
    ValueError
        If the file is broken or holds Python objects: the message names it and says what is wrong.
    """
    return npz.read(os.fspath(path))[0]
