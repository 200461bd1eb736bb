"""Compiled kernels on disk, beside those of the CPU (see `kernels.cpu.cache`): an entry holds the device's code."""

from __future__ import annotations

import pickle
from typing import Any

import numba_cuda
from numba.cuda.core import sigutils
from numba.cuda.dispatcher import _Kernel
from numba.cuda.serialize import dumps

from numconv.kernels.cpu import cache


class KernelCache(cache.KernelCache):
    """The same for kernels of a GPU."""

    def _key(self, signature: Any, codegen: Any) -> str:
        types, _ = sigutils.normalize_signature(signature)
        kinds = [str(kind) for kind in types]
        return repr((self.name, kinds, codegen.magic_tuple(), numba_cuda.__version__, cache._settings()))

    def _parts(self, data: Any) -> tuple[Any, ...]:
        return (dumps(data._reduce_states()),)

    def _rebuilt(self, target_context: Any, states: bytes) -> Any:  # type: ignore[override]
        return _Kernel._rebuild(**pickle.loads(states))
