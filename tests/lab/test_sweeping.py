"""`sweep`: what is timed, what is dropped and why, and how it is shown."""

import json

import numba
import numpy as np
import pytest

import numconv as nc
from numconv import lab
from numconv.kernels.cpu import simd
from numconv.lab import blocks

PROBLEM = nc.ConvProblem.make("conv1d", (1, 4, 60), (4, 4, 3))
QUICK = {"rounds": 1, "seconds": 0.001}


def textbook(shift=0, fail=False):
    """A kernel that is wrong where it is shifted."""
    if fail:
        raise ValueError("no such kernel")

    @numba.njit
    def kernel(x, w, out, stride, padding, dilation, groups):
        for n in range(out.shape[0]):
            for o in range(out.shape[1]):
                first = o // (w.shape[0] // groups) * w.shape[1]
                for c in range(w.shape[1]):
                    for k in range(w.shape[2]):
                        for i in range(out.shape[2] - shift):
                            out[n, o, i] += w[o, c, k] * x[n, first + c, i * stride[0] + k * dilation[0]]

    return kernel


def test_right_variants_are_timed_and_wrong_ones_dropped():
    found = lab.sweep(textbook, shift=[0, 1], fail=[False, True], problem=PROBLEM, **QUICK)
    assert [v.numbers for v in found.variants] == [{"shift": 0, "fail": False}]
    best = found.best
    assert best.seconds > 0 and best.gflops > 0 and 0 < best.attained < 1.5 and best.error <= 5e-6
    assert best.inspection.loop.multiplications > 0 and best.kernel.operation == "conv1d"
    reasons = {v.name: v.dropped for v in found.dropped}
    assert "wrong on conv1d" in reasons["shift=1 fail=False"]
    assert reasons["shift=0 fail=True"] == reasons["shift=1 fail=True"] == "the factory refuses: no such kernel"


POINTWISE = nc.ConvProblem.make("conv1d", (1, 4, 2 * blocks.lanes()), (20, 4, 1))


def tiled(rows):
    tile, width = simd.tile(rows, 2, 4, 1), 2 * blocks.lanes()

    @lab.kernel("conv1d", when=lambda problem: problem == POINTWISE, name="tiled")
    @numba.njit
    def kernel(x, w, out, stride, padding, dilation, groups):
        a, b, c = w.reshape(w.size), x.reshape(x.size), out.reshape(out.size)
        for o in range(0, 20, rows):
            tile(a, o * 4, b, 0, c, o * width, 4)

    return kernel


correct = textbook()


@pytest.mark.skipif(
    lab.inspect("direct", problem=PROBLEM).loop.vector_bits == 0, reason="its assembly is not read here"
)
def test_variants_that_spill_are_dropped(registry):
    found = lab.sweep(tiled, rows=[4, 20], problem=POINTWISE, **QUICK)
    assert [v.numbers["rows"] for v in found.variants] == [4]
    assert "spills in the hot loop" in found.dropped[0].dropped


def test_what_lab_kernel_made_and_what_does_not_compile(registry):
    def make(layout, word):
        @lab.kernel("conv1d", layout=layout, when=lambda problem: problem.groups == 1, name="made")
        def kernel(x, w, out, stride, padding, dilation, groups):
            if layout == "channels_last":
                raise TypeError
            correct(x, w, out, stride, padding, dilation, groups) if word else undefined()  # noqa: F821

        return kernel

    found = lab.sweep(make, layout=["channels_first", "channels_last"], word=[True, False], problem=PROBLEM, **QUICK)
    assert [v.name for v in found.variants] == ["layout=channels_first word=True"]
    assert any("undefined" in v.dropped for v in found.dropped) and any("TypeError" in v.dropped for v in found.dropped)
    with pytest.raises(ValueError, match="every variant was dropped; word=False: "):
        print(lab.sweep(lambda word: make("channels_first", word), word=[False], problem=PROBLEM, **QUICK).best)


def pooling(step):
    @numba.njit
    def kernel(x, out, kernel, stride, padding, dilation):
        for n in range(out.shape[0]):
            for c in range(out.shape[1]):
                for i in range(0, out.shape[2], step):
                    largest = np.float32(-np.inf)
                    for k in range(kernel[0]):
                        v = x[n, c, i * stride[0] + k * dilation[0]]
                        largest = max(largest, v)
                    out[n, c, i] = largest

    return kernel


def test_poolings_are_swept_too():
    problem = nc.PoolProblem.make("max_pool1d", (1, 3, 64), kernel_size=2)
    found = lab.sweep(pooling, step=[1, 2], problem=problem, **QUICK)
    assert [v.numbers["step"] for v in found.variants] == [1] and "wrong on" in found.dropped[0].dropped


def test_tables_fit_and_figures_are_json(tmp_path):
    found = lab.sweep(textbook, shift=[0, 1], problem=PROBLEM, **QUICK)
    text = str(found)
    assert "of peak" in text and "dropped shift=1: wrong on" in text and max(map(len, text.splitlines())) <= 100
    found.json(tmp_path / "sweep.json")
    read = json.loads((tmp_path / "sweep.json").read_text("utf-8"))
    assert read["variants"][0]["numbers"] == {"shift": 0} and read["variants"][0]["inspection"]["name"] == "shift=0"
    assert read["dropped"][0]["numbers"] == {"shift": 1} and read["problem"]["operation"] == "conv1d"


def test_any_error_of_the_factory_drops_a_variant():
    def make(n):
        return textbook(shift=0 if 1 // n else 1)

    found = lab.sweep(make, n=[0, 1], problem=PROBLEM, **QUICK)
    assert [v.numbers for v in found.variants] == [{"n": 1}]
    assert found.dropped[0].dropped.startswith("the factory raises ZeroDivisionError: ")


def test_variants_that_were_dropped_for_one_reason_are_one_line():
    found = lab.sweep(textbook, shift=[0], fail=[True] * 6, problem=PROBLEM, **QUICK)
    said = " ".join(str(found).split())
    assert said.count("dropped") == 1 and "fail=True and 2 more: the factory refuses: no such kernel" in said


def test_numbers_may_be_anything(tmp_path):
    found = lab.sweep(
        lambda shift, dtype: textbook(shift),
        shift=np.arange(1),
        dtype=[np.int64(1), np.float32, None],
        problem=PROBLEM,
        **QUICK,
    )
    found.json(tmp_path / "sweep.json")
    read = json.loads((tmp_path / "sweep.json").read_text("utf-8"))
    assert sorted(str(v["numbers"]["dtype"]) for v in read["variants"]) == ["1", "None", "float32"]
    assert "float32" in str(found) and "<class" not in str(found)


@pytest.mark.parametrize("options, error, message", [
    ({"problem": PROBLEM}, TypeError, "numbers must be given"),
    ({"problem": PROBLEM, "shift": []}, TypeError, r"shift must be a list .* got \[\]"),
    ({"problem": PROBLEM, "shift": 3}, TypeError, "shift must be a list .* got 3"),
    ({"problem": "resnet50", "shift": [0]}, ValueError, "problem must be one, got 23"),
    ({"problem": PROBLEM, "rows": [0]}, TypeError, r"factory takes \(shift=0, fail=False\), got rows: "),
    ({"problem": PROBLEM, "shift": [0], "rounds": 0}, ValueError, "rounds must be at least 1"),
])  # fmt: skip
def test_wrong_arguments(options, error, message):
    with pytest.raises(error, match=message):
        lab.sweep(textbook, **options)


@pytest.mark.parametrize("made", [None, 3, np.sin])
def test_a_factory_must_make_kernels(made):
    with pytest.raises(TypeError, match="factory must return a kernel, got"):
        lab.sweep(lambda n: made, n=[0], problem=PROBLEM, **QUICK)
