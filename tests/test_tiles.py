"""The machine code of register tiles: their loops multiply and add, and spill nothing."""

import platform

import pytest
from processes import run

from numconv.lab.assembly import loops
from numconv.lab.instructions import counted

CODE = """
import json
from numconv.kernels.cpu import batched_tile, dot_tile, jit, narrow_tile, simd, tiles
wide = simd.vector_bits() == 512
rows = 14 if wide else 6
made = {
    "indirect": (tiles.indirect(rows, 2, "float32", "relu"), 12, rows * 2),
    "indirect64": (tiles.indirect(rows, 2, "float64", ""), 12, rows * 2),
    "short": (tiles.indirect(8 if wide else 4, 2, "float32", ""), 12, 16 if wide else 8),
    "outer": (tiles.outer(rows, 2, "float32"), 8, rows * 2),
    "depthwise": (narrow_tile.narrow(7 if wide else 4, 3, 1, 1, 0, 9, 1, 1, "float32", ""), 19, 21 if wide else 12),
    "batched": (batched_tile.batched(batched_tile.ROWS, 2, "float32"), 10, batched_tile.ROWS * 2),
    "dot": (dot_tile.dot(4 if wide else 2, 4 if wide else 3, False, "float32"), 14, 16 if wide else 6),
}
found = {}
for name, (tile, count, sums) in made.items():
    jit.address(tile, count)
    found[name] = [simd.vector_bits(), sums, next(iter(tile.inspect_asm().values()))]
print(json.dumps(found))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="it reads x86's assembly: run it there")
@pytest.mark.parametrize("bits", [512, 256, 128])
def test_loops_multiply_and_spill_nothing(bits, tmp_path):
    (tmp_path / "code.py").write_text(CODE)
    made = run(tmp_path / "code.py", NUMCONV_VECTOR_BITS=str(bits), NUMCONV_CACHE="0")
    for name, (width, sums, assembly) in made.items():
        if width < bits:
            pytest.skip(f"the processor's vectors have {width} bits: one with {bits} would run it")
        _, loop = counted(loops(assembly), "x86")[0]
        # A loop that LLVM has unrolled holds whole steps.
        assert loop.vector_bits == bits and loop.fma >= sums and loop.fma % sums == 0, (name, loop)
        assert loop.spills == 0, (name, loop)
        if name in ("indirect", "indirect64", "short", "depthwise"):  # a way past the caches for large results
            assert "vmovntp" in assembly, name
