"""Gradients, and gradients of gradients, against PyTorch's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from numconv.autograd import Tensor, grad
from numconv.autograd import functional as F
from numconv.lab.cases import arrays, conv_cases, pool_cases

torch = pytest.importorskip("torch", reason="install the peers: pip install 'numconv[peers]'")
pytestmark = pytest.mark.peers

theirs = torch.nn.functional


def symmetric(case):
    return all(before == after for before, after in case.padding) and "empty" not in case.tags


def compare(ours, peer, operands, rtol=1e-10):
    """Result, gradients, and gradients of the gradients' squares, of two functions."""
    a = [Tensor(x, requires_grad=True) for x in operands]
    b = [torch.tensor(x, requires_grad=True) for x in operands]
    y, z = ours(*a), peer(*b)
    assert_allclose(y.data, z.detach().numpy(), rtol=rtol, atol=rtol)
    seed = np.random.default_rng(9).standard_normal(y.shape)
    first = grad(y, a, seed, create_graph=True)
    expected = torch.autograd.grad(z, b, torch.tensor(seed), create_graph=True)
    for one, other in zip(first, expected):
        assert_allclose(one.data, other.detach().numpy(), rtol=rtol, atol=10 * rtol)
    one, other = sum((g * g).sum() for g in first), sum((g * g).sum() for g in expected)
    second = grad(one, a, allow_unused=True) if one.requires_grad else [None] * len(a)
    expected = torch.autograd.grad(other, b, allow_unused=True) if other.requires_grad else [None] * len(b)
    for x, u, v in zip(operands, second, expected):
        scale = max(1.0, 0.0 if v is None else float(v.abs().max()))
        left = np.zeros_like(x) if u is None else u.data
        assert_allclose(left, np.zeros_like(x) if v is None else v.numpy(), rtol=rtol, atol=10 * rtol * scale)


CONV = [case for case in conv_cases() if symmetric(case) and not {"large", "tail", "deep"} & case.tags]


@pytest.mark.parametrize("case", CONV, ids=lambda case: case.name)
def test_convolutions(case):
    name = f"conv_transpose{len(case.spatial)}d" if case.transposed else f"conv{len(case.spatial)}d"
    options = case.options | {"padding": tuple(before for before, _ in case.padding)}
    ours, peer = getattr(F, name), getattr(theirs, name)
    compare(lambda *t: ours(*t, **options), lambda *t: peer(*t, **options), arrays(case, np.float64))


POOL = [case for case in pool_cases() if symmetric(case) and not {"large", "tail"} & case.tags]


@pytest.mark.parametrize("name", ["max_pool", "avg_pool", "lp_pool"])
@pytest.mark.parametrize("case", POOL, ids=lambda case: case.name)
def test_poolings(case, name):
    padding = tuple(before for before, _ in case.padding)
    options = {"stride": case.stride if len(case.stride) > 1 else case.stride[0], "ceil_mode": case.ceil_mode}
    if any(2 * p > k for p, k in zip(padding, case.kernel)):
        pytest.skip("PyTorch takes half of the kernel at most")
    if name == "max_pool":
        options |= {"padding": padding, "dilation": case.dilation}
    elif set(case.dilation) != {1} or (name == "lp_pool" and (any(padding) or len(case.spatial) == 3)):
        pytest.skip("PyTorch has none")
    elif name == "avg_pool":
        options |= {"padding": padding}
    ours, peer = (getattr(module, f"{name}{len(case.spatial)}d") for module in (F, theirs))
    positional = (2.0,) if name == "lp_pool" else ()
    kernel = case.kernel if len(case.kernel) > 1 else case.kernel[0]
    (x,) = arrays(case, np.float64)
    compare(
        lambda t: ours(t, *positional, case.kernel, **options),
        lambda t: peer(t, *positional, kernel, **options),
        (np.abs(x) + 0.1,),
    )


MOVES = {
    "unfold": (lambda m, t: m.unfold(t, (2, 3), padding=1, stride=2), (2, 4, 6, 6)),
    "fold": (lambda m, t: m.fold(t, (5, 4), (2, 2)), (2, 12, 12)),
    "pixel_shuffle": (lambda m, t: m.pixel_shuffle(t, 2), (2, 8, 3, 2)),
    "pixel_unshuffle": (lambda m, t: m.pixel_unshuffle(t, 2), (2, 2, 4, 6)),
    "adaptive_avg_pool2d": (lambda m, t: m.adaptive_avg_pool2d(t, (3, 2)), (2, 4, 5, 7)),
    "adaptive_max_pool2d": (lambda m, t: m.adaptive_max_pool2d(t, (3, 2)), (2, 4, 5, 7)),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name):
    f, shape = MOVES[name]
    compare(lambda t: f(F, t), lambda t: f(theirs, t), (np.random.default_rng(0).standard_normal(shape),))


METHODS = {
    "arithmetic": lambda a, b: (a * b + 2 - b) / (a + 3) ** 2,
    "powers": lambda a, b: (a + 3) ** (b * 0.1) + 2**a,
    "elementwise": lambda a, b: (a + 4).log() + (b + 4).sqrt() + a.exp() + (a * b).abs(),
    "clamp": lambda a, b: a.clamp(-0.5, 0.5) * b.clamp(min=0.1),
    "sum": lambda a, b: a.sum(1) * b.sum((0, 1)) + a.mean(0, True).sum(),
    "var": lambda a, b: a.var(0) * b.std(1, keepdim=True) + a.var(),
    "max": lambda a, b: a.max(1).values * b.amax() + a.min(0, keepdim=True).values.sum() + b.amin(0).sum(),
    "matmul": lambda a, b: a @ b.transpose(0, 1) @ a,
    "shapes": lambda a, b: a.reshape(1, -1).squeeze(0).unsqueeze(1).expand(-1, 2) * b.flatten().T.reshape(-1, 1),
    "index": lambda a, b: a[1:, None, ::2] * b[[0, 1, 1], ::2].sum(0) + a[..., -1].sum(),
    "mask": lambda a, b: (a[a > 0] ** 2).sum() * b,
    "squeeze": lambda a, b: a.unsqueeze(0).permute(2, 0, 1).squeeze() @ b,
}


@pytest.mark.filterwarnings("ignore:The use of `x.T`:UserWarning")
@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    rng = np.random.default_rng(1)
    operands = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    f = METHODS[name]
    compare(f, f, operands)


def test_accumulation_and_hooks():
    x = np.random.default_rng(0).standard_normal(5)
    a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    for leaf in (a, b):
        leaf.register_hook(lambda g: g * 2)
        for _ in range(3):
            y = leaf * 3
            y.register_hook(lambda g: g + 1)
            y.retain_grad()
            (y * y).sum().backward()
    assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-14)


def test_in_place():
    x = np.random.default_rng(0).standard_normal((3, 4))
    a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    for leaf in (a, b):
        y = leaf * 2
        y += leaf.exp()
        y[1] = leaf[0] * 3
        y *= 2
        (y * y).sum().backward()
    assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-14)
