"""What `inspect` sees in kernels, and what it advises."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from processes import run

import numconv as nc
from lab import kernels
from numconv import lab
from numconv.kernels.cpu import simd
from numconv.kernels.cpu.tables import TABLES
from numconv.lab import assembly
from numconv.lab.advice import Seen, advise
from numconv.lab.inspection import inspect
from numconv.lab.instructions import Mix, counted
from numconv.ops.custom import parameters
from numconv.terminal import percent

x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="LLVM vectorises otherwise elsewhere: run it on x86-64"
)
GRID, LINE = numba.float32[:, ::1], numba.float32[::1]
FAST = {"fastmath": kernels.FAST}


def seen(kernel, **options):
    return inspect(numba.njit(**options)(kernel), GRID, LINE, GRID)


def says(result, text):
    return [sentence for sentence in result.advice if text in sentence]


@x86
@pytest.mark.parametrize("text, kernel, options, other, other_options", [
    ("index is not the last axis of x[i, j] (line", "column_sums", FAST, "row_sums", FAST),
    ("fastmath is off", "row_sums", {}, "row_sums", FAST),
    ("`s` (line", "double_sums", FAST, "row_sums", FAST),
    ("no FMA: contract is off", "added", {}, "added", FAST),
    ("it divides integers", "wrapped", {}, "scaled", {}),
    ("the loop divides integers", "wrapped", {}, "scaled", {}),
    ("tests its indices for being negative", "shifted", {}, "scaled", {}),
    ("tests each divisor for being 0", "divided", {}, "divided", {"error_model": "numpy"}),
    ("divides floats", "divided", {}, "roots", {}),
    ("every FMA loads its sum", "added", FAST, "row_sums", FAST),
    ("every FMA loads its sum", "added", FAST, "affine", FAST),
    ("loop; a literal such as 2.0 is float64", "tenths", {}, "double_sums", FAST),
    ("sums are under way", "squares", FAST, "row_sums", FAST),
    ("between integers and floats", "numbered", {}, "scaled", {}),
    ("the loop calls", "calling", {}, "scaled", {}),
    ("square roots", "roots", {}, "divided", {}),
    ("bounds are checked", "scaled", {"boundscheck": True}, "scaled", {"boundscheck": False}),
])  # fmt: skip
def test_each_advice_is_earned(text, kernel, options, other, other_options):
    assert says(seen(getattr(kernels, kernel), **options), text)
    assert not says(seen(getattr(kernels, other), **other_options), text)


@x86
def test_a_tile_that_is_too_large_spills():
    fitting = seen(kernels.tiled(14 if simd.vector_bits() == 512 else 6))
    assert not says(fitting, "spills") and fitting.loop.spills == 0
    assert fitting.loop.fma == fitting.loop.accumulators == (28 if simd.vector_bits() == 512 else 12)
    assert says(seen(kernels.tiled(20)), "spills in the loop")


@x86
def test_the_first_axis_is_the_inner_one_in_fortrans_order():
    kernel = numba.njit(kernels.by_columns)
    columns = numba.float32[::1, :]
    assert says(inspect(kernel, GRID, LINE, GRID), "index is not the last axis")
    turned = inspect(kernel, columns, LINE, columns)
    assert turned.loop.packed and not says(turned, "axis")


@x86
def test_arrays_of_any_strides_are_named():
    strided = numba.float32[:, :]
    assert says(inspect(numba.njit(kernels.scaled), strided, LINE, strided), "hand it np.ascontiguousarray(x)")


@numba.njit(inline="never")
def total(row, w):
    s = np.float32(0)
    for j in range(row.shape[0]):
        s += row[j] * w[j]
    return s


def totals(x, w, out):
    for i in range(x.shape[0]):
        out[i, 0] = total(x[i], w)


@x86
def test_a_loop_in_another_function_is_not_taken_for_one_of_the_kernel():
    result = seen(totals)
    assert result.source is None and not says(result, "out[i, 0]") and says(result, "fastmath is off")


@x86
def test_the_limit_is_that_of_the_vectors_too():
    narrow = seen(kernels.row_sums, fastmath={"contract"})
    share = 0.5 * 32 / simd.vector_bits()
    assert narrow.loop.vector_bits == 0 and f"  limit    {percent(share)} of a core's FMA peak" in str(narrow)


def test_a_parallel_function_without_a_parallel_loop():
    assert says(seen(kernels.scaled, parallel=True), "numba.prange")


def parallel_rows(x, w, out):
    for i in numba.prange(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * w[0]


@x86
def test_the_loop_in_a_parallel_one_is_found():
    result = seen(parallel_rows, parallel=True)
    assert not says(result, "numba.prange")
    assert result.source.text == "for j in range(x.shape[1]):" and result.depth >= 2
    assert result.loop.vector_bits == simd.vector_bits()


@x86
def test_lines_are_those_of_the_source():
    first = kernels.column_sums.__code__.co_firstlineno
    result = seen(kernels.column_sums)
    assert result.source.line == first + 3 and says(result, f"(line {first + 4})")
    assert says(seen(kernels.double_sums), f"(line {kernels.double_sums.__code__.co_firstlineno + 2})")


@x86
def test_counts_of_a_loop():
    result = seen(kernels.added, **FAST)
    loop, turns = result.loop, result.loop.fma
    assert turns >= 1 and loop.loads == 2 * turns and loop.stores == turns
    assert loop.bytes_per_flop == 3 * 4 / 2 and loop.fma_share == 0.5
    assert loop.gathers == loop.spills == loop.branches == loop.index_tests == 0 and not loop.calls
    assert result.source.line == kernels.added.__code__.co_firstlineno + 2


def test_plain_functions_are_compiled_and_said_to_be_plain():
    result = inspect(kernels.scaled, GRID, LINE, GRID)
    assert says(result, "plain Python") and result.kind == "plain Python"
    assert not says(seen(kernels.scaled), "plain Python")


def test_compiling_again_is_worth_a_word_where_it_takes_long():
    assert "cache=True" in advise(Seen(Mix(), seconds=1.0))[0]
    assert advise(Seen(Mix(), seconds=1.0, cached=True)) == advise(Seen(Mix(), seconds=0.1)) == []


def test_arrays_problems_and_types_say_what_a_kernel_gets():
    x, w = np.ones((4, 8), np.float32), np.ones(8, np.float32)
    assert str(inspect(numba.njit(kernels.scaled), x, w, x)).startswith("scaled: @njit; compiled in ")

    @numba.njit
    def conv(x, w, out, stride, padding, dilation, groups):
        for i in range(out.size):
            out.flat[i] = x[0, 0, 0, 0] * w[0, 0, 0, 0] + stride[1] + padding[0] + dilation[0] + groups

    problem = nc.ConvProblem.make("conv2d", (1, 3, 5, 5), (4, 3, 3, 3))
    assert inspect(conv, problem=problem).name == "conv"
    with pytest.raises(TypeError, match="arguments must be given, or problem"):
        inspect(conv)
    with pytest.raises(TypeError, match=r"kernel must be .* got int"):
        inspect(3, x)
    with pytest.raises(TypeError, match="problem must be given: 'direct'"):
        inspect("direct")


@x86
@pytest.mark.parametrize("name, sums", [("indirect", True), ("direct", False)])
def test_our_own_algorithms(name, sums):
    problem = nc.ConvProblem.make("conv2d", (1, 32, 14, 14), (32, 32, 3, 3), padding=1)
    result = inspect(name, problem=problem)
    assert result.loop.packed and result.loop.spills == 0
    assert (result.loop.accumulators >= 8) == sums
    assert (name in result.name) == sums  # the tile's own name


def test_kernels_of_the_laboratory_need_no_arguments(registry):
    @lab.kernel("conv1d", layout="channels_last", prepare=lambda w: w.reshape(-1), when=lambda p: p.kernel == (1,))
    def packed(x, w, out, stride, padding, dilation, groups):
        for i in range(w.size):
            out[0, 0, 0] += w[i] * x[0, 0, i]

    @lab.kernel("max_pool2d", dtypes=("float64",))
    def pooled(x, out, kernel, stride, padding, dilation):
        for i in range(out.shape[3]):
            out[0, 0, 0, i] = max(x[0, 0, 0, i], np.float64(0))

    assert inspect(packed).loop.fma > 0 and not says(inspect(packed), "plain Python")
    result = inspect(pooled)
    assert result.loop.element_bits == 64 and result.loop.compares > 0
    first = pooled.python.__code__.co_firstlineno
    assert result.source.line == first + 2

    @lab.kernel("conv2d", when=lambda problem: problem.ci == 12345, name="picky")
    def picky(x, w, out, stride, padding, dilation, groups):
        pass

    with pytest.raises(TypeError, match="problem must be given: 'picky' takes none of the usual ones"):
        inspect(picky)


def test_every_operation_has_a_problem_to_look_at(registry):
    for operation in TABLES:
        names = parameters(operation)
        made = {}
        exec(f"def probe({', '.join(names)}):\n    {names[0]}.shape", made)
        kernel = lab.kernel(operation, name="probe")(made["probe"])
        result = inspect(kernel)
        assert result.name == "probe" and result.loop.flops == 0


def test_results_print_in_100_columns_and_are_json():
    for result in (seen(kernels.row_sums), inspect(kernels.calling, GRID, LINE, GRID)):
        assert max(map(len, str(result).splitlines())) <= 100
        found = json.loads(json.dumps(result.to_dict()))
        assert found["name"] == result.name and found["loop"]["fma"] == result.loop.fma
        assert found["advice"] == result.advice


CACHED = """
import json, sys
sys.path.insert(0, {tests!r})
import numba
from numconv.lab.inspection import inspect
from lab import kernels
made = numba.njit(cache=True)(kernels.scaled)
types = numba.float32[:, ::1], numba.float32[::1], numba.float32[:, ::1]
before = inspect(made, *types).cache
made.compile(types)
print(json.dumps([before, inspect(made, *types).cache]))
"""


def test_the_state_of_the_cache(tmp_path):
    (tmp_path / "code.py").write_text(CACHED.format(tests=str(Path(__file__).parents[1])))
    settings = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert run(tmp_path / "code.py", **settings) == ["cached once it is compiled", "cached on disk"]
    loaded = "cached on disk, loaded from there by this process"
    assert run(tmp_path / "code.py", **settings) == ["cached on disk", loaded]


OTHER_PROCESSOR = """
import json, sys
sys.path.insert(0, {tests!r})
import numba
from lab import kernels
from numconv.lab.inspection import inspect
types = numba.float32[:, ::1], numba.float32[::1], numba.float32[:, ::1]
print(json.dumps([inspect(numba.njit(getattr(kernels, name)), *types).advice for name in ("scaled", "picked")]))
"""


@x86
@pytest.mark.skipif(simd.vector_bits() < 512, reason="the processor has no vectors of 512 bits to leave unused")
def test_half_vectors_and_gathers_on_other_processors(tmp_path):
    """Compiled for them, not run."""
    (tmp_path / "code.py").write_text(OTHER_PROCESSOR.format(tests=str(Path(__file__).parents[1])))
    half, gathered = run(tmp_path / "code.py", NUMBA_CPU_NAME="skylake-avx512", NUMBA_CPU_FEATURES="")
    assert any("256 of the processor's 512 bits" in sentence for sentence in half)
    assert any("gathered one by one" in sentence for sentence in gathered)
    whole, _ = run(tmp_path / "code.py", NUMBA_CPU_NAME="znver5", NUMBA_CPU_FEATURES="")
    assert not any("bits" in sentence or "gathered" in sentence for sentence in whole)


DOT = """
define float @dot(ptr noalias %a, ptr noalias %b, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %s = phi float [0.0, %entry], [%t, %loop]
  %p = getelementptr float, ptr %a, i64 %i
  %q = getelementptr float, ptr %b, i64 %i
  %x = load float, ptr %p
  %y = load float, ptr %q
  %m = fmul reassoc contract nsz float %x, %y
  %t = fadd reassoc contract nsz float %s, %m
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret float %t
}
"""

CROSS = f"""
from llvmlite import binding
binding.initialize_all_targets()
binding.initialize_all_asmprinters()
machine = binding.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(cpu="neoverse-n1", opt=3)
module = binding.parse_assembly('''{DOT}''')
module.triple = "aarch64-unknown-linux-gnu"
options = binding.create_pipeline_tuning_options(speed_level=3)
builder = binding.create_pass_builder(machine, options)
builder.getModulePassManager().run(module, builder)
print(machine.emit_assembly(module))
"""


def test_aarch64_is_read_too():
    text = subprocess.run([sys.executable, "-c", CROSS], capture_output=True, text=True, check=True).stdout
    kind = assembly.architecture(text)
    (vector, mixed), (_, rest) = counted(assembly.loops(text), kind)
    assert kind == "arm" and vector.depth == 1
    assert mixed.vector_bits == 128 and mixed.fma == mixed.packed == mixed.accumulators > 1
    assert mixed.loads == 2 * mixed.fma and mixed.bytes_per_flop == 4 and mixed.branches == 0
    assert rest.scalar == rest.fma == rest.accumulators == 1 and rest.loads == 2


def test_a_loop_is_as_deep_as_the_calls_to_its_function():
    text = """
        .type outer,@function
outer:
.L1:
        callq inner
        jne .L1
        retq
        .type inner,@function
inner:
.L2:
        vfmadd231ps (%rax), %ymm1, %ymm0
        vmovups %ymm3, 32(%rsp)
        jne .L2
        retq
"""
    deepest = max(assembly.loops(text), key=lambda loop: loop.depth)
    assert (deepest.function, deepest.depth) == ("inner", 2)
    mixed = counted(assembly.loops(text), "x86")[0][1]
    assert (mixed.fma, mixed.accumulators, mixed.spills, mixed.vector_bits) == (1, 1, 1, 256)
