"""Files in the safetensors format, through its library (https://github.com/huggingface/safetensors).

The format sorts its arrays; their order is kept as one more text of the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from numconv.extras import require

ORDER = "numconv.order"


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays, and texts about them."""
    for name, array in arrays.items():
        if array.dtype.name == "complex128" or array.dtype.name.startswith("float8"):
            raise TypeError(f"{name!r} is {array.dtype}, which does not come back from safetensors: use .npz")
    order = json.dumps(list(arrays))
    plain = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    require("safetensors.numpy", "nn").save_file(plain, path, metadata={**metadata, ORDER: order})


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read (arrays, metadata), the arrays in the order they were written in.

    Raises
    ------
    ValueError
        If the file is broken.
    """
    library = require("safetensors", "nn")
    try:
        with library.safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            order = json.loads(metadata.pop(ORDER, "[]"))
            names = sorted(file.keys())
            if sorted(order) == names:
                names = order
            return {name: file.get_tensor(name) for name in names}, metadata
    except (library.SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is broken: {error}") from error
