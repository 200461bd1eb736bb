"""What calls allocate: a large problem stays within the stated workspace, a plan's later calls allocate nothing."""

import json
import os
import tracemalloc

import numpy as np
import pytest
from passes import arrays_like
from processes import run

import numconv as nc
from numconv.kernels.cpu.memory import LARGE

MIB = 1 << 20
LAYOUTS = ["NCHW", "NHWC"]
# The system counts resident pages in batches for each processor, and Python's own objects come and go.
ALLOWANCE = MIB

PEAK = """
import json, os
import numpy as np
import numconv as nc
from numconv.algorithm import candidates
from numconv.plan import pool
from numconv.problem import ConvProblem

asked = json.loads(os.environ["ASKED"])
operation, algorithm, data_format = asked["operation"], asked["algorithm"], asked["data_format"]
options = {"padding": 1, "data_format": data_format}
nc.set_num_threads(2)

def image(channels):
    numbers = np.random.default_rng(0).standard_normal(1_000_003, dtype=np.float32)
    return np.resize(numbers, (1, 1024, 1024, channels) if data_format == "NHWC" else (1, channels, 1024, 1024))

def question(channels):
    problem = ConvProblem.make("conv2d", image(channels).shape, (channels, channels, 3, 3), **options)
    return next((cost, reason) for a, cost, reason in candidates(problem) if a.name == algorithm)

channels = 64
if algorithm != "auto":
    cost, reason = question(channels)
    if reason is not None:
        print(json.dumps({"rejected": reason}))
        raise SystemExit
    if cost > 4:  # seconds by the estimate: an eighth of the channels is a 64th of the work
        channels = 8

x = image(channels)
weight = np.random.default_rng(1).standard_normal((channels, channels, 3, 3), dtype=np.float32)
plan = None
if operation == "conv2d":
    out = np.full_like(x, 7)
    plan = nc.plan(operation, x.shape, weight, algorithm=algorithm, **options)
    call = lambda: nc.conv2d(x, weight, algorithm=algorithm, out=out, **options)
elif operation == "conv2d_input":
    out = np.full_like(x, 7)
    call = lambda: nc.conv2d_input(x.shape, weight, x, algorithm=algorithm, out=out, **options)
else:
    out, gradient = np.full_like(weight, 7), x.copy()
    call = lambda: nc.conv2d_weight(x, weight.shape, gradient, algorithm=algorithm, out=out, **options)

def resident_peak():
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))

def peak(function):
    '''Most bytes resident during a call beyond those before it; compiled beforehand, with nothing in the pool.'''
    function()
    pool._idle.clear()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # sets the peak back to what is resident now
    before = resident_peak()
    function()
    return resident_peak() - before

found = {"channels": channels, "call": peak(call)}
if plan is not None:
    found |= {"plan": peak(lambda: plan(x, out=out)), "workspace": plan.workspace, "packed": plan._packed.nbytes}
control = peak(lambda: np.ones(32 << 20, np.uint8))
print(json.dumps(found | {"control": control}))
"""


def peaks(folder, operation, algorithm, data_format):
    """Bytes that calls of 3x3 with 64 channels of 1024x1024 had resident at most, measured in a process of its own."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("/proc/self/clear_refs is not there: the peak of resident memory cannot be set back")
    (folder / "peak.py").write_text(PEAK)
    asked = json.dumps({"operation": operation, "algorithm": algorithm, "data_format": data_format})
    # glibc would keep freed pieces, by and by larger ones: a fixed threshold gives them back to the system.
    found = run(folder / "peak.py", ASKED=asked, MALLOC_MMAP_THRESHOLD_="65536")
    if "rejected" in found:
        pytest.skip(f"{algorithm} rejects this problem: {found['rejected']}")
    assert abs(found["control"] - 32 * MIB) < ALLOWANCE, "the measurement does not see 32 MiB that NumPy fills"
    return found


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("algorithm", ["auto", *nc.algorithms("conv2d")])
def test_a_large_problem_takes_the_workspace_that_its_plan_states(algorithm, data_format, tmp_path):
    """The whole im2col matrix would be 2.4 GB. Algorithms that would take seconds (direct) get 8 channels, not 64."""
    found = peaks(tmp_path, "conv2d", algorithm, data_format)
    assert found["workspace"] <= 64 * MIB
    assert found["plan"] <= found["workspace"] + ALLOWANCE
    assert found["call"] <= 64 * MIB
    if algorithm != "auto":  # which may choose otherwise for a call, where packing counts
        assert found["call"] <= found["workspace"] + found["packed"] + ALLOWANCE


@pytest.mark.parametrize("data_format", LAYOUTS)
@pytest.mark.parametrize("operation", ["conv2d_input", "conv2d_weight"])
def test_the_gradients_of_a_large_problem_stay_within_the_limit(operation, data_format, tmp_path):
    assert peaks(tmp_path, operation, "auto", data_format)["call"] <= 64 * MIB


# Python's own objects in ten calls: arguments, views, what its free lists keep. Images below are several times that.
OBJECTS = 16_000
LAYERS = {
    "dense": ("conv2d", (1, 32, 80, 80), (32, 32, 3, 3), {"padding": 1}),
    "strided": ("conv2d", (1, 32, 161, 161), (32, 32, 3, 3), {"stride": 2}),
    "pointwise": ("conv2d", (1, 64, 64, 64), (128, 64, 1, 1), {}),
    "depthwise": ("conv2d", (1, 64, 64, 64), (64, 1, 3, 3), {"padding": 1, "groups": 64}),
    "grouped": ("conv2d", (1, 64, 64, 64), (64, 4, 3, 3), {"padding": 1, "groups": 16}),
    "one_channel": ("conv2d", (1, 1, 400, 400), (1, 1, 5, 5), {}),
    "rank_one": ("conv2d", (1, 1, 400, 400), (1, 1, 15, 15), {}),
    "row": ("conv1d", (1, 16, 8000), (32, 16, 3), {"dilation": 2}),
    "long_row": ("conv1d", (1, 1, 100_000), (1, 1, 301), {}),
    "volume": ("conv3d", (1, 8, 16, 40, 40), (16, 8, 3, 3, 3), {"padding": 1}),
    "transposed": ("conv_transpose2d", (1, 32, 40, 40), (32, 32, 4, 4), {"stride": 2, "padding": 1}),
}


def most_allocated(function):
    """Most bytes that a function holds at a time beyond those before it; NumPy reports its arrays."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_plan_allocates_no_array_from_the_second_call_on(layer, data_format, threads):
    threads(2)
    operation, x_shape, weight_shape, options = LAYERS[layer]
    channels = weight_shape[1 if operation == "conv_transpose2d" else 0]
    x, weight, bias = arrays_like(x_shape, weight_shape, (channels,), np.float32)
    if layer == "rank_one":
        weight = weight[..., :1, :] * weight[..., :1]
    if data_format == "channels_last":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    taken = []
    for algorithm in nc.algorithms(operation):
        try:
            plan = nc.plan(
                operation, x.shape, weight, bias, algorithm=algorithm, data_format=data_format, activation="relu",
                **options,
            )  # fmt: skip
        except ValueError as refusal:
            assert "rejects this problem" in str(refusal)
            continue
        taken.append(algorithm)
        out = plan(x)
        plan(x, out=out)
        assert min(out.nbytes, x.nbytes) > 3 * OBJECTS

        def calls(plan=plan, out=out):
            for _ in range(10):
                plan(x, out=out)

        assert most_allocated(calls) < OBJECTS, algorithm
        # The measure sees results, but for large ones, whose memory is used again.
        assert most_allocated(lambda plan=plan: plan(x)) >= out.nbytes or out.nbytes >= LARGE
    assert "direct" in taken and len(taken) > 1
