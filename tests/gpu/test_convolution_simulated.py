"""Every algorithm of every convolution on the named small cases in the simulator, against the oracle."""

from zlib import crc32

import pytest
from gpu.elsewhere import call, small
from passes import LAYOUTS, cases_of, error, problem_of, question

import numconv as nc

pytestmark = pytest.mark.cudasim
pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")

from numconv.algorithm import rejection, table  # noqa: E402

FORMS = ("conv{}d", "conv{}d_input", "conv{}d_weight", "conv_transpose{}d")
OPERATIONS = [form.format(n) for form in FORMS for n in (1, 2, 3)]
ALL = [(operation, algorithm) for operation in OPERATIONS for algorithm in table(operation, "cuda")]
NAMES = [f"{operation}-{algorithm.name}" for operation, algorithm in ALL]

# Arrays whose memory is turned are made contiguous before any algorithm: one case in so many shows it of each.
TURNED = 6
# A block of these takes a second: only the cases that they name are simulated here, others in their own tests.
DEAR = ("tensor_core",)


def dtype_of(algorithm):
    """What an algorithm is asked to compute with."""
    return "float16" if type(algorithm).__name__ == "TensorCoreWeight" else "float32"


every_algorithm = pytest.mark.parametrize("operation, algorithm", ALL, ids=NAMES)


def on_gpu(problem):
    """The problem there, as every algorithm may take it."""
    from dataclasses import replace

    return replace(problem, device="cuda", precision="fast")


def asked_here(case, operation, algorithm, layout):
    """Whether the simulator has the time."""
    if not small(case, operation) or (algorithm.name in DEAR and case.name not in algorithm.accepts):
        return False
    return len(set(LAYOUTS[layout])) == 1 or crc32(case.name.encode()) % TURNED == 0


@pytest.mark.parametrize("layout", LAYOUTS)
@every_algorithm
def test_agrees_with_the_oracle(operation, algorithm, layout):
    failures, taken, dtype = {}, 0, dtype_of(algorithm)
    for case in cases_of(operation):
        if not asked_here(case, operation, algorithm, layout):
            continue
        problem = on_gpu(problem_of(case, operation, dtype, layout))
        asked = question(case, operation, dtype)
        try:
            actual = call(case, operation, asked.operands, layout, algorithm=algorithm.name, precision="fast")
        except ValueError as refusal:
            if "rejects this problem" not in str(refusal):
                failures[case.name] = refusal
            continue
        taken += 1
        if actual.dtype != dtype or not error(actual, asked) <= algorithm.error_bound(problem):
            failures[case.name] = (actual.dtype, error(actual, asked))
    assert not failures
    assert taken or layout != algorithm.accepts_layout.replace("channels_", "")


@every_algorithm
def test_a_rejection_is_a_sentence(operation, algorithm):
    for case in cases_of(operation):
        reason = rejection(algorithm, on_gpu(problem_of(case, operation, "float32", "first")))
        assert reason is None or len(reason.split()) > 2, case.name


@every_algorithm
def test_costs_are_positive_seconds(operation, algorithm):
    for case in cases_of(operation):
        problem = on_gpu(problem_of(case, operation, dtype_of(algorithm), "last"))
        if algorithm.rejects(problem) is None:
            assert 0 < algorithm.cost(problem) < 10, case.name


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_last_entry_takes_everything_without_workspace(operation):
    last = table(operation, "cuda")[-1]
    assert nc.algorithms(operation, "cuda")[-1] == last.name == "direct"
    for case in cases_of(operation):
        problem = on_gpu(problem_of(case, operation, "float32", "first"))
        assert last.rejects(problem) is None
        assert last.workspace(problem) == last.packed_bytes(problem) == 0
