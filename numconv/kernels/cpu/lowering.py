"""Ordinary loops use vectors as wide as the register tile's.

On several Intel processors with AVX-512, LLVM's model of the processor prefers 256 bits ("prefer-256-bit"), and loops
that it vectorises run at half width. Numba has one model for all that it compiles; an attribute of a function decides
for that function alone, so kernels of others are left as they are.
"""

from __future__ import annotations

from typing import Any

from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering

from numconv.kernels.cpu.simd import vector_bits


class _WideLower(Lower):
    def pre_lower(self) -> None:
        super().pre_lower()
        # Past the list of attributes that llvmlite knows (set.add): it has none of this kind.
        set.add(self.function.attributes, f'"prefer-vector-width"="{vector_bits()}"')


@register_pass(mutates_CFG=True, analysis_only=False)
class _WideLowering(NativeLowering):
    _name = "numconv_wide_lowering"

    @property
    def lowering_class(self) -> Any:
        return _WideLower


class WideCompiler(CompilerBase):
    """Numba's compiler with the attribute."""

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [(_WideLowering if p is NativeLowering else p, text) for p, text in passes.passes]
        passes.finalize()
        return [passes]
