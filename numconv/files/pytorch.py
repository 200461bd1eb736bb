"""Files of `torch.save`, read without PyTorch. Three formats, as `torch/serialization.py` of 2.13 reads them.

Since 1.6 a zip archive, uncompressed: `NAME/data.pkl` holds the objects, `NAME/data/KEY` the bytes of each storage,
`NAME/byteorder` their order.

Before, one thing after another: three pickles (a magic number, the version, the system), the pickle of the objects,
that of the storages' keys, and the storages: the number of elements (int64) before the bytes, little endian.

Before 0.1.8 a tar archive: `storages` and `tensors` are a number, then that many times a pickle with a key before
numbers and bytes; `pickle` holds the objects, which name the tensors by their keys.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from numconv.files import torch_tensors
from numconv.files.archive import Archive, Bounded, fill, opened
from numconv.files.torch_tensors import Storage, Tensor

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
PICKLE = 256 << 20  # bytes of a pickle in an archive, at most


def read(path: str | Path) -> tuple[Any, dict[str, str]]:
    """Read (objects with arrays for tensors, no metadata).

    Raises
    ------
    ValueError
        If the file is broken, or names anything but tensors and plain containers.
    """
    with opened(path) as file:
        start = file.read(265)
        file.seek(0)
        if start.startswith(b"PK"):
            return _zip(Archive(file, compressed=False)), {}
        if start[257:262] == b"ustar":
            return _tar(file), {}
        return _sequence(file), {}


class _Storages:
    """The storages that a pickle names, by key."""

    def __init__(self) -> None:
        self.found: dict[Hashable, Storage] = {}

    def __call__(self, identity: Any) -> Any:
        """The storage of a persistent identity: ("storage", kind, key, device, elements, perhaps a view of it)."""
        if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
            raise ValueError(f"it refers to {identity!r}, which is no storage")
        _, kind, key, _, elements, *view = identity
        storage = self.storage(_key(key), Storage(kind, elements))
        if not view or view[0] is None:
            return storage
        view_key, start, elements = view[0]
        return self.storage(("view", _key(view_key)), Storage(kind, elements, storage, start))

    def storage(self, key: Hashable, new: Storage) -> Storage:
        """The storage that has the key, which must be like `new`."""
        known = self.found.setdefault(key, new)
        if (known.kind, known.elements, known.parent, known.start) != (new.kind, new.elements, new.parent, new.start):
            raise ValueError(f"storage {key!r} is described in two ways")
        return known


def _zip(archive: Archive) -> Any:
    roots = [name.removesuffix("/data.pkl") for name in archive.members if name.endswith("/data.pkl")]
    if len(roots) != 1 or "/" in roots[0]:
        raise ValueError("it is a zip archive without a NAME/data.pkl, and not of torch.save")
    root, storages = roots[0], _Storages()
    if archive.size(f"{root}/data.pkl") > PICKLE:
        raise ValueError(f"its pickle has more than {PICKLE} bytes")
    notes = torch_tensors.run(io.BytesIO(archive.read(f"{root}/data.pkl").tobytes()), storages)
    order = "little"
    if f"{root}/byteorder" in archive.members:
        order = archive.read(f"{root}/byteorder")[:6].tobytes().decode("latin1")
    if order not in ("little", "big"):
        raise ValueError(f"its byte order is {order!r}")
    for key, storage in storages.found.items():
        if storage.parent is not None:
            continue
        name = f"{root}/data/{key}"
        if name not in archive.members or archive.size(name) != storage.nbytes:
            size = archive.size(name) if name in archive.members else "no"
            raise ValueError(f"storage {key!r} has {size} bytes, {storage.nbytes} are expected")
        storage.fill(archive.read(name), swapped=order != sys.byteorder)
    return torch_tensors.arrays(notes)


def _sequence(file: Bounded) -> Any:
    storages = _Storages()
    try:
        magic = torch_tensors.plain(file)
    except ValueError as error:
        raise ValueError(f"it is not a file of torch.save: {error}") from error
    if magic != MAGIC:
        raise ValueError("it is a pickle, and not of torch.save")
    if (version := torch_tensors.plain(file)) != VERSION:
        raise ValueError(f"its version is {version!r}, {VERSION} is known")
    torch_tensors.plain(file)  # the system: the bytes are little endian on all
    notes = torch_tensors.run(file, storages)
    keys = torch_tensors.plain(file)
    if not isinstance(keys, list) or len({_key(key) for key in keys}) != len(keys):
        raise ValueError("it has no list of its storages")
    for key in keys:
        if key not in storages.found:
            raise ValueError(f"it holds a storage {key!r} that nothing needs")
        _fill(storages.found[key], file)
    return torch_tensors.arrays(notes)


def _fill(storage: Storage, file: Any) -> None:
    """Read the number of elements, then the bytes."""
    elements = _integers(file, 1)[0]
    if elements != storage.elements:
        raise ValueError(f"a storage has {elements} elements, {storage.elements} are expected")
    storage.fill(_bytes(file, storage.nbytes), swapped=sys.byteorder != "little")


def _bytes(file: Any, n: int) -> np.ndarray:
    if not 0 <= n <= file.left():
        raise ValueError(f"it should hold {n} bytes more, and holds {file.left()}")
    data = np.empty(n, np.uint8)
    fill(file, data)
    return data


def _integers(file: Any, n: int, dtype: str = "<i8") -> list[int]:
    return _bytes(file, n * np.dtype(dtype).itemsize).view(dtype).tolist()


def _tar_members(file: Bounded) -> dict[str, Bounded]:
    """The plain files of a tar archive, which are blocks of 512 bytes: a header, then the content."""
    members = {}
    while (header := file.read(512)).strip(b"\0"):
        size = int(header[124:136].strip(b"\0 "), 8)
        content = _bytes(file, size).tobytes()
        _bytes(file, min(-size % 512, file.left()))
        if header[156:157] in (b"0", b"\0"):
            members[header[:100].rstrip(b"\0").decode("latin1")] = Bounded(io.BytesIO(content))
    return members


def _tar(file: Bounded) -> Any:
    members = _tar_members(file)
    if not {"storages", "tensors", "pickle"} <= set(members):
        raise ValueError("it is a tar archive without storages, tensors and pickle, and not of torch.save")
    storages, tensors, objects = members["storages"], members["tensors"], members["pickle"]
    found: dict[Hashable, Storage] = {}
    for _ in range(torch_tensors.plain(storages)):
        key, _device, kind = torch_tensors.run(storages, _no_identity)
        elements = _integers(storages, 1)[0]
        found[_key(key)] = Storage(kind, elements)
        found[key].fill(_bytes(storages, found[key].nbytes), swapped=sys.byteorder != "little")
    for key, parent, start, elements in torch_tensors.plain(storages):
        found[_key(key)] = Storage(_known(found, parent).kind, elements, _known(found, parent), start)
    views: dict[Hashable, Tensor] = {}
    for _ in range(torch_tensors.plain(tensors)):
        key, parent, _class = torch_tensors.run(tensors, _no_identity)
        axes, _padding = _integers(tensors, 2, "<i4")
        size, stride = _integers(tensors, axes), _integers(tensors, axes)
        views[str(_key(key))] = Tensor(_known(found, parent), _integers(tensors, 1)[0], tuple(size), tuple(stride))
    notes = torch_tensors.run(objects, lambda identity: _known(views, str(_key(identity))))
    return torch_tensors.arrays(notes)


def _key(value: Any) -> str | int:
    if type(value) not in (str, int):
        raise ValueError(f"it has a {type(value).__name__} for a key")
    return value


def _known(things: Mapping[Hashable, Any], key: Any) -> Any:
    if _key(key) not in things:
        raise ValueError(f"it refers to {key!r}, which is not there")
    return things[key]


def _no_identity(identity: Any) -> Any:
    raise ValueError(f"it refers to {identity!r}, which nothing precedes")
