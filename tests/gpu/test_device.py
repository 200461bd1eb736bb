"""On a GPU: random problems against float64, streams, other libraries' arrays, repeated bits, the memory checker.

`python -m pytest -m gpu` where there is one; the named cases once more under compute-sanitizer, if that is installed.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

pytestmark = pytest.mark.gpu
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

import numconv as nc  # noqa: E402
from numconv.algorithm import rejection, table  # noqa: E402
from numconv.kernels.cuda import launch, toolkit  # noqa: E402

if reason := toolkit.missing():
    pytest.skip(reason, allow_module_level=True)

from gpu.elsewhere import arranged, call  # noqa: E402
from passes import LAYOUTS, arrays_like, cases_of, error, problem_of, question  # noqa: E402

FORMS = ("conv{}d", "conv{}d_input", "conv{}d_weight", "conv_transpose{}d")
OPERATIONS = [form.format(n) for form in FORMS for n in (1, 2, 3)]
ALL = [(operation, algorithm) for operation in OPERATIONS for algorithm in table(operation, "cuda")]
NAMES = [f"{operation}-{algorithm.name}" for operation, algorithm in ALL]
SEEDS = range(40)

every_algorithm = pytest.mark.parametrize("operation, algorithm", ALL, ids=NAMES)
there, here = nc.cuda.to_device, nc.cuda.to_host


def half(name):
    return np.dtype(getattr(pytest.importorskip("ml_dtypes"), name)) if name == "bfloat16" else np.dtype(name)


@pytest.mark.parametrize("layout", LAYOUTS)
@every_algorithm
def test_named_cases(operation, algorithm, layout):
    failures = {}
    for case in cases_of(operation):
        for dtype in ("float32", "float64"):
            problem = replace(problem_of(case, operation, dtype, layout), device="cuda")
            if rejection(algorithm, problem) is not None:
                continue
            asked = question(case, operation, dtype)
            actual = call(case, operation, asked.operands, layout, algorithm=algorithm.name)
            if not error(actual, asked) <= algorithm.error_bound(problem):
                failures[case.name, dtype] = error(actual, asked)
    assert not failures


def random_problem(rng):
    """(x shape, weight shape, options) of a 2-D convolution, up to a few hundred channels and pixels."""
    groups = int(rng.choice([1, 1, 1, 2, 4]))
    ci, co = (groups * int(rng.choice([1, 3, 4, 8, 16, 24, 32, 64])) for _ in range(2))
    kernel, dilation = (tuple(map(int, rng.integers(1, high, 2))) for high in (6, 3))
    stride, padding = tuple(map(int, rng.integers(1, 4, 2))), tuple(map(int, rng.integers(0, 4, 2)))
    size = tuple(int(d * (k - 1) + 1 + rng.integers(0, 40)) for k, d in zip(kernel, dilation))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (int(rng.integers(1, 6)), ci, *size), (co, ci // groups, *kernel), options


BOUNDS = [("float32", "default", 5e-6), ("float32", "fast", 2e-3), ("float16", "default", 2e-3),
          ("bfloat16", "default", 1.6e-2)]  # fmt: skip


@pytest.mark.parametrize("dtype, precision, bound", BOUNDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_random_problems(seed, dtype, precision, bound):
    rng = np.random.default_rng(seed)
    x_shape, weight_shape, options = random_problem(rng)
    last = bool(rng.integers(2))
    x, weight, bias = (a.astype(half(dtype)) for a in arrays_like(x_shape, weight_shape, weight_shape[:1], np.float32))
    wide = [a.astype(np.float64) for a in (x, weight, bias)]
    expected = nc.conv2d(*wide, **options, activation="relu", algorithm="direct")
    scale = nc.conv2d(*map(abs, wide[:2]), **options, algorithm="direct").max() + abs(wide[2]).max()
    data_format = "channels_last" if last else None
    given = arranged(x, "last" if last else "first"), there(weight), there(bias)
    actual = here(nc.conv2d(*given, **options, activation="relu", precision=precision, data_format=data_format))
    actual = (np.moveaxis(actual, -1, 1) if last else actual).astype(np.float64)
    assert abs(actual - expected).max() <= bound * scale


@every_algorithm
def test_results_repeat(operation, algorithm):
    case = next(c for c in cases_of(operation) if "large" in c.tags or len(c.spatial) != 2)
    problem = replace(problem_of(case, operation, "float32", "last"), device="cuda")
    if rejection(algorithm, problem) is not None:
        pytest.skip("it rejects the case")
    operands = question(case, operation, "float32").operands
    results = {call(case, operation, operands, "last", algorithm=algorithm.name).tobytes() for _ in range(5)}
    assert len(results) == 1


def test_arrays_of_pytorch():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch has no GPU")
    x, weight = (torch.from_numpy(a).cuda() for a in arrays_like((2, 16, 9, 9), (8, 16, 3, 3), np.float32))
    expected = torch.nn.functional.conv2d(x.double(), weight.double(), padding=1)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for given in (x, x.to(memory_format=torch.channels_last)):
            y = nc.conv2d(given, weight, padding=1)
            assert isinstance(y, torch.Tensor) and y.device == x.device
            assert (y.double() - expected).abs().max() < 1e-4
    y = nc.conv2d(x.bfloat16(), weight.bfloat16(), padding=1)
    assert y.dtype == torch.bfloat16 and (y.double() - expected).abs().max() < 0.3
    out = torch.empty_like(expected, dtype=torch.float32)
    assert nc.conv2d(x, weight, padding=1, out=out) is out and (out.double() - expected).abs().max() < 1e-4
    with pytest.raises(TypeError, match="on the host"):
        nc.conv2d(x, weight.cpu())


def test_arrays_of_cupy():
    cupy = pytest.importorskip("cupy")
    x, weight = (cupy.asarray(a) for a in arrays_like((2, 16, 9, 9), (8, 16, 3, 3), np.float32))
    expected = nc.conv2d(cupy.asnumpy(x), cupy.asnumpy(weight))
    with cupy.cuda.Stream(non_blocking=True):
        y = nc.conv2d(x[:, :, ::-1], weight)[:, :, ::1]
        assert isinstance(y, cupy.ndarray)
        turned = nc.conv2d(cupy.asnumpy(x)[:, :, ::-1], cupy.asnumpy(weight))
        np.testing.assert_allclose(cupy.asnumpy(y), turned, atol=1e-4)
    assert expected.shape == y.shape


def test_streams_of_numba():
    from numba import cuda

    x, weight = arrays_like((4, 32, 20, 20), (32, 32, 3, 3), np.float32)
    expected = nc.conv2d(x, weight)
    stream = cuda.stream()
    given = there(x).bind(stream), there(weight).bind(stream)
    nc.cuda.synchronize()
    for _ in range(20):
        y = nc.conv2d(*given)
    stream.synchronize()
    np.testing.assert_allclose(here(y), expected, atol=1e-3)


def test_many_threads():
    x, weight = arrays_like((2, 16, 12, 12), (16, 16, 3, 3), np.float32)
    expected, given = nc.conv2d(x, weight), (there(x), there(weight))
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(lambda _: here(nc.conv2d(*given)), range(64)):
            np.testing.assert_allclose(y, expected, atol=1e-3)


def test_an_array_beyond_31_bits():
    from numba import cuda

    if cuda.current_context().get_memory_info().free < 24 << 30:
        pytest.skip("24 GiB of free memory run it")
    n = (1 << 31) // (64 * 1024) + 3  # images of 64 channels, 32x32
    x = cuda.device_array((n, 64, 32, 32), np.float32)
    weight = there(np.ones((1, 64, 1, 1), np.float32))
    last = arrays_like((1, 64, 32, 32), np.float32)[0]
    x[n - 1 :].copy_to_device(last)
    y = nc.conv2d(x, weight)
    np.testing.assert_allclose(y[n - 1 :].copy_to_host(), last.sum(1, keepdims=True), atol=1e-4)


def test_kernels_are_kept_on_disk(tmp_path):
    code = """
import numpy as np, numconv as nc
x, w = nc.cuda.to_device(np.ones((1, 8, 9, 9), np.float32)), nc.cuda.to_device(np.ones((8, 8, 3, 3), np.float32))
assert nc.cuda.to_host(nc.conv2d(x, w)).max() == 72
from numconv.kernels.cpu.cache import Counts
print(Counts.compilations)
"""
    environment = os.environ | {"NUMCONV_CACHE_DIR": str(tmp_path), "NUMCONV_CACHE": "1"}
    counts = [
        int(subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True).stdout)
        for _ in range(2)
    ]
    assert counts[0] > 0 and counts[1] == 0


def test_the_memory_checker():
    checker = shutil.which("compute-sanitizer")
    if checker is None:
        pytest.skip("compute-sanitizer is not installed")
    if "NUMCONV_CHECKED" in os.environ:
        pytest.skip("this is the run that it checks")
    command = [checker, "--error-exitcode", "9", "--tool", "memcheck", sys.executable, "-m", "pytest", "-q", "-n0"]
    command += ["-m", "gpu", "-k", "named_cases and conv2d and (first or last)", __file__]
    done = subprocess.run(
        command, env=os.environ | {"NUMCONV_CHECKED": "1"}, capture_output=True, text=True, check=False, timeout=600
    )
    if "not supported" in done.stdout + done.stderr:
        pytest.skip("compute-sanitizer refuses this device")
    assert done.returncode == 0, done.stdout[-4000:]


def test_nothing_is_noted_here():
    assert not launch.recording() and not launch.simulated
