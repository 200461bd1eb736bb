"""Weights in files: `save`, `load`, and which of them fit a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from numconv.files import npz, pytorch, tensors
from numconv.files.atomic import replacing
from numconv.files.dtypes import FOREIGN, NATIVE

Read = Callable[[Path], tuple[dict[str, Any], dict[str, str]]]
Write = Callable[[Path, Mapping[str, np.ndarray], Mapping[str, str]], None]

_READ: dict[str, Read] = {
    ".safetensors": tensors.read,
    ".npz": npz.read,
    ".pth": pytorch.read,
    ".pt": pytorch.read,
}
_WRITE: dict[str, Write] = {".safetensors": tensors.write, ".npz": npz.write}


def save(
    state: Mapping[str, np.ndarray], path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays to a file: all of them, or nothing.

    Whenever the program is stopped, `path` is the old file or the new one.

    Parameters
    ----------
    state : mapping of str to ndarray
        A `state_dict`: real or complex numbers or bool, bfloat16 and float8 of ml_dtypes included, of any shape and
        strides. Files of safetensors take neither complex128 nor float8.
    path : path
        Its suffix tells the format: `.safetensors` (needs the extra `nn`; PyTorch and others read it) or `.npz`.
    metadata : mapping of str to str, optional
        Texts to keep beside the arrays; `load_metadata` gives them back.

    Raises
    ------
    ValueError
        If the suffix is another one, or a name cannot be stored.
    TypeError
        If `state` is not a mapping of names to arrays of those dtypes, or `metadata` not of texts to texts.
    """
    target = Path(path)
    write = _by_suffix(_WRITE, target)
    arrays = {name: _storable(name, array) for name, array in _mapping("state", state).items()}
    notes = _mapping("metadata", metadata or {})
    if not all(isinstance(text, str) for text in notes.values()):
        raise TypeError(f"metadata must hold texts only, got {notes!r}")
    with replacing(target) as part:
        write(part, arrays, notes)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read named arrays from a file of `save`, or from one of PyTorch's.

    The file is not trusted: nothing of it is executed, and what it declares is checked before memory is taken.

    Parameters
    ----------
    path : path
        `.safetensors`, `.npz`, or `.pth` and `.pt`, which `torch.save` wrote in any version; PyTorch is not needed.

    Returns
    -------
    dict
        Arrays by name, in the order they were saved in. From PyTorch's files also what stands around them (epoch,
        nested dicts and lists, numbers and texts); arrays share memory there where tensors did.

    Raises
    ------
    ValueError
        If the suffix is another one, if the file is broken, or if it holds other things than tensors and plain
        containers: the message names the file and says what is wrong.
    """
    source = Path(path)
    return _by_suffix(_READ, source)(source)[0]


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the texts that `save` kept beside the arrays. PyTorch's files have none."""
    source = Path(path)
    return _by_suffix(_READ, source)(source)[1]


def match(
    expected: Mapping[str, tuple[tuple[int, ...], Any]], given: Mapping[str, np.ndarray], strict: bool = True
) -> list[str]:
    """Compare the names and shapes of weights with those of a model.

    Parameters
    ----------
    expected : mapping of str to (shape, dtype)
        What the model has.
    given : mapping of str to ndarray
        What is there.
    strict : bool
        Whether missing and unexpected names are found wrong. Shapes and kinds of numbers always are.

    Returns
    -------
    list of str
        What is wrong, a line each, as PyTorch words it; empty where all is well. Numbers may change in precision
        (float64 for float32), not in kind (a real weight takes no complex number, an integer no fraction).
    """
    wrong = []
    if strict:
        wrong += _listed("Unexpected", [name for name in given if name not in expected])
        wrong += _listed("Missing", [name for name in expected if name not in given])
    for name, (shape, dtype) in expected.items():
        if name not in given:
            continue
        array = given[name]
        if tuple(array.shape) != tuple(shape):
            wrong.append(f"size mismatch for {name}: got shape {tuple(array.shape)}, expected {tuple(shape)}.")
        elif not np.can_cast(array.dtype, dtype, "same_kind"):
            wrong.append(f"dtype mismatch for {name}: got {array.dtype}, expected {np.dtype(dtype)}.")
    return wrong


def _listed(what: str, names: list[str]) -> list[str]:
    return [f"{what} key(s) in state_dict: {', '.join(map(repr, names))}."] if names else []


def _by_suffix(table: Mapping[str, Any], path: Path) -> Any:
    if path.suffix not in table:
        raise ValueError(f"path must end in {', '.join(table)}, got {str(path)!r}")
    return table[path.suffix]


def _mapping(argument: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{argument} must be a mapping of names, got {type(value).__name__}")
    for name in value:
        if "\0" in name or name.startswith("__"):
            raise ValueError(f"{argument} has the name {name!r}: names hold no NUL and do not begin with '__'")
    return dict(value)


def _storable(name: str, array: Any) -> np.ndarray:
    """The array in native byte order."""
    if not isinstance(array, (np.ndarray, np.generic)) or array.dtype.name not in NATIVE | FOREIGN:
        what = array.dtype if isinstance(array, (np.ndarray, np.generic)) else type(array).__name__
        raise TypeError(f"state[{name!r}] must be an array of numbers, got {what}")
    array = np.asarray(array)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
