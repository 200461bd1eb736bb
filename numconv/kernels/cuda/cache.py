"""Compiled kernels on disk, beside those of the CPU (see `kernels.cpu.cache`): an entry holds the device's code."""

from __future__ import annotations

import hashlib
import os
import pickle
from typing import Any

import numba_cuda
from numba.cuda.core import sigutils
from numba.cuda.core.caching import NullCache
from numba.cuda.dispatcher import _Kernel
from numba.cuda.serialize import dumps

from numconv.kernels.cpu.cache import Counts, _edited, _folder, _hash, _make, _read, _settings, _write


class KernelCache(NullCache):
    """What a dispatcher asks before it compiles and tells afterwards.

    Parameters
    ----------
    name : str
        Says all about the kernel that its package's source does not: its module and its numbers.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def cache_path(self) -> str | None:
        return _folder()

    def _entry(self, signature: Any, codegen: Any) -> tuple[str, str] | None:
        """(path, key) of a signature's entry, if it may have one."""
        folder = _folder() if " at 0x" not in self.name else None
        if folder is None:
            return None
        types, _ = sigutils.normalize_signature(signature)
        parts = (self.name, [str(kind) for kind in types], codegen.magic_tuple(), numba_cuda.__version__, _settings())
        return os.path.join(folder, _hash(parts)), repr(parts)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            entry = self._entry(sig, target_context.codegen())
            found = _read(entry[0]) if entry else None
            if entry and found and not _edited():
                key, states = found
                if key == entry[1]:
                    Counts.hits += 1
                    return _Kernel._rebuild(**pickle.loads(states))
        except Exception as error:  # an entry may be broken in any way; compiling is always right
            Counts.trouble = f"an entry could not be read: {error!r}"
        Counts.misses += 1
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        Counts.compilations += 1
        try:
            entry = self._entry(sig, data.codegen)
            if entry is None or _edited():
                return
            content = pickle.dumps((entry[1], dumps(data._reduce_states())))
            _make(os.path.dirname(entry[0]))
            _write(entry[0], hashlib.sha256(content).digest() + content)
        except Exception as error:  # full disk, no permission, nothing that pickles: the kernel runs from memory
            Counts.trouble = f"an entry could not be written: {error!r}"
