"""Results that are stored past the caches are the same, and nothing beside them is touched."""

import pytest
from processes import run

CODE = """
import json
import numpy as np
import numconv as nc
from numconv.kernels.cpu import layout, simd
from numconv.kernels.cpu.memory import aligned

layout.STREAMED = 0
found = {}
rng = np.random.default_rng(0)
for name, shape, weight, options in (
    ("indirect", (2, 9, 11, 40), (64, 40, 3, 3), {"padding": 1}),
    ("indirect", (1, 40, 48), (64, 48, 5), {"stride": 2, "activation": "relu"}),
    ("winograd_line", (2, 90, 40), (64, 40, 7), {"padding": 3, "activation": "relu"}),
    ("winograd_line", (1, 90, 48), (48, 48, 2), {"dilation": 16}),
    ("depthwise", (1, 17, 19, 48), (48, 1, 3, 3), {"padding": 1, "groups": 48}),
    ("depthwise", (1, 6, 19, 5, 1), ("vector", 1, 3, 3, 3), {"padding": 1}),
):
    for dtype in ("float32", "float64"):
        channels = simd.lanes(dtype) if weight[0] == "vector" else weight[0]
        x, w = (rng.standard_normal(s).astype(dtype) for s in (shape, (channels, *weight[1:])))
        function = getattr(nc, f"conv{x.ndim - 2}d")
        plain = function(x, w, data_format="channels_last", algorithm="direct", **options)
        count, lanes = plain.size, 64 // plain.itemsize
        memory = aligned(count + 3 * lanes + 4096, dtype)
        for skip in (0, 1, lanes):  # on whole vectors, and not
            memory[:] = 7
            out = memory[lanes + skip : lanes + skip + count].reshape(plain.shape)
            function(x, w, data_format="channels_last", algorithm=name, out=out, **options)
            error = float(np.abs(out - plain).max() / np.abs(plain).max())
            around = np.concatenate([memory[: lanes + skip], memory[lanes + skip + count :]])
            found[f"{name} {shape} {dtype} {skip}"] = [error, bool((around == 7).all())]
print(json.dumps(found))
"""


@pytest.mark.parametrize("bits", [512, 256])
def test_streamed_results_are_the_same(bits, tmp_path):
    (tmp_path / "code.py").write_text(CODE)
    for case, (error, kept) in run(tmp_path / "code.py", NUMCONV_VECTOR_BITS=str(bits), NUMCONV_CACHE="0").items():
        assert kept, case
        assert error < (1e-12 if "float64" in case else 1e-5), (case, error)
