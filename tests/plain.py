"""Ask kernels that run as plain Python: `main` runs in a process of its own, with NUMBA_DISABLE_JIT=1."""

import math
import sys
from pathlib import Path

import numpy as np
from passes import call, cases_of, error, problem_of, question
from poolings import agree, ask, questions

import numconv as nc
from numconv.kernels.cpu import jit
from numconv.kernels.cpu.tables import TABLES

MOST = 1_000  # multiplications: Python takes 2 us for each


def bodies(function):
    """The files whose kernels a function runs, as a debugger sees them."""
    seen = set()

    def trace(frame, event, argument):
        if frame.f_code.co_name == "body":
            seen.add(Path(frame.f_code.co_filename).name)

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)
    return seen


def convolutions():
    for operation in (name for name in TABLES if name.startswith("conv")):
        assert nc.algorithms(operation) == ("direct",)
        for case in cases_of(operation):
            for dtype in ("float32", "float16", "int16", "complex64"):
                problem = problem_of(case, operation, "float32", "first")
                if problem.multiply_adds > MOST or math.prod(problem.result_shape) > MOST:
                    continue
                asked = question(case, operation, dtype)
                bound = {"float16": 1e-3}.get(dtype, 1e-6)
                for layout in ("first", "last")[: 2 if dtype == "float32" else 1]:
                    wrong = error(call(case, operation, asked.operands, layout), asked)
                    assert wrong <= bound, (operation, case.name, dtype, layout, wrong)


def poolings():
    for operation in (name for name in TABLES if "pool2d" in name or name.startswith("global")):
        for asked in questions(operation, "float32")[::3]:
            sizes = [a.size for a in (*asked.arguments, *asked.expected) if isinstance(a, np.ndarray)]
            if max(sizes) > 300:
                continue
            for layout in ("first", "last"):
                agree(ask(operation, asked, layout), asked, 1e-6)


def layers():
    """What is no table's: activations, batch norm, a product of matrices and its gradients, the loss of classes."""
    from numconv.autograd import Tensor
    from numconv.autograd import functional as F

    rng = np.random.default_rng(0)
    x, w, labels = rng.standard_normal((9, 20)), rng.standard_normal((6, 20)), np.arange(9) % 6
    leaf, weight = Tensor(x, requires_grad=True), Tensor(w, requires_grad=True)
    y = F.linear(F.batch_norm(F.relu(leaf), None, None, training=True), weight)
    F.cross_entropy(y, labels).backward()
    positive = np.maximum(x, 0)
    normal = (positive - positive.mean(0)) / np.sqrt(positive.var(0) + 1e-5)
    np.testing.assert_allclose(y.numpy(), normal @ w.T, rtol=1e-12)
    chances = np.exp(y.numpy()) / np.exp(y.numpy()).sum(1, keepdims=True)
    np.testing.assert_allclose(weight.grad.numpy(), (chances - np.eye(6)[labels]).T @ normal / 9, atol=1e-12)
    assert leaf.grad.shape == x.shape


def main():
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
    for algorithm in ("auto", "direct"):
        assert bodies(lambda algorithm=algorithm: nc.conv2d(x, w, algorithm=algorithm)) == {"direct.py"}
    convolutions()
    poolings()
    layers()
    assert jit.compilations() == 0 and jit.threading_layer() == "python"
    print('"all plain"')


if __name__ == "__main__":
    main()
