"""Gradients of layers and losses against PyTorch's, in float64 and float32, corners included."""

import numpy as np
import pytest

from numconv.autograd import Tensor
from numconv.autograd import functional as F

torch = pytest.importorskip("torch", reason="install the peers: pip install 'numconv[peers]'")
from torch.nn import functional as TF  # noqa: E402

pytestmark = pytest.mark.peers
BOUND = {"float64": 1e-11, "float32": 1e-5}
CORNERS = [0.0, -0.0, 6.0, 3.0, -3.0, 1.0, -1.0, 30.0, -30.0, 1e-30]


def noise(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape) * 2 + 0.3


def compare(ours, theirs, operands, dtype):
    """Results, and the gradients of all operands for a random gradient of the result."""
    arrays = [None if a is None else a.astype(dtype) if a.dtype.kind == "f" else a for a in operands]
    mine = [None if a is None else Tensor(a.copy(), requires_grad=a.dtype.kind == "f") for a in arrays]
    peers = [None if a is None else torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    y, z = ours(*mine), theirs(*peers)
    grad = noise(y.shape, 9).astype(dtype)
    y.backward(grad)
    z.backward(torch.tensor(grad))
    pairs = [(y.data, z.detach().numpy())]
    pairs += [(m.grad.data, p.grad.numpy()) for m, p in zip(mine, peers) if m is not None and m.requires_grad]
    for got, expected in pairs:
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        bound = BOUND[dtype]
        np.testing.assert_allclose(got, expected, rtol=bound, atol=bound * max(1, np.abs(expected).max(initial=0)))


def both(name, *options, **keywords):
    """A function of both libraries with the same options."""
    return (
        lambda *operands: getattr(F, name)(*operands, *options, **keywords),
        lambda *operands: getattr(TF, name)(*operands, *options, **keywords),
    )


every_dtype = pytest.mark.parametrize("dtype", BOUND)
ACTIVATIONS = [
    *(both(name) for name in ("relu", "relu6", "leaky_relu", "elu", "gelu", "sigmoid", "tanh", "silu", "hardswish")),
    both("leaky_relu", 0.3),
    both("elu", 0.4),
    both("gelu", approximate="tanh"),
    both("softmax", dim=0),
    both("log_softmax", dim=1),
]


@every_dtype
@pytest.mark.parametrize("functions", ACTIVATIONS)
def test_activations(functions, dtype):
    compare(*functions, [np.concatenate([noise((4, 10)), [CORNERS]])], dtype)


NORMS = [
    (lambda f: lambda x, w, b: f.batch_norm(x, None, None, w, b, training=True), (4, 3, 5, 6)),
    (lambda f: lambda x, w, b: f.batch_norm(x, None, None, w, b, training=True), (7, 3)),
    (lambda f: lambda x, w, b: f.group_norm(x, 3, w, b), (4, 3, 5, 6)),
    (lambda f: lambda x, w, b: f.layer_norm(x, (3,), w, b), (4, 5, 3)),
    (lambda f: lambda x, w, b: f.local_response_norm(x, 4, 0.3, 0.6, 1.5) * w.sum() * b.sum(), (2, 5, 3, 4)),
]


@every_dtype
@pytest.mark.parametrize("norm, shape", NORMS)
def test_normalisation(norm, shape, dtype):
    compare(norm(F), norm(TF), [noise(shape), noise(3, 1), noise(3, 2)], dtype)


@every_dtype
def test_linear(dtype):
    compare(*both("linear"), [noise((4, 2, 5)), noise((3, 5), 1), noise(3, 2)], dtype)


@every_dtype
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_and_relu_with_running_statistics(training, dtype):
    mean, var = noise(3, 3).astype(dtype), (noise(3, 4) ** 2 + 0.1).astype(dtype)
    running = [Tensor(mean.copy()), Tensor(var.copy())], [torch.tensor(mean), torch.tensor(var)]
    compare(
        lambda x, w, b: F.batch_norm(x, *running[0], w, b, training, 0.2, 1e-3, activation="relu"),
        lambda x, w, b: TF.relu(TF.batch_norm(x, *running[1], w, b, training, 0.2, 1e-3)),
        [noise((4, 3, 5, 6)), noise(3, 1), noise(3, 2)],
        dtype,
    )
    for ours, theirs in zip(*running):
        np.testing.assert_allclose(ours.data, theirs.numpy(), rtol=BOUND[dtype])


RESIZES = [
    ((2, 3, 7), {"size": 10, "mode": "linear"}),
    ((2, 3, 7), {"scale_factor": 0.6, "mode": "nearest"}),
    ((2, 3, 5, 7), {"size": (9, 4), "mode": "nearest-exact"}),
    ((2, 3, 5, 7), {"scale_factor": 1.7, "mode": "bilinear"}),
    ((2, 3, 5, 7), {"size": (9, 4), "mode": "bilinear", "align_corners": True}),
    ((2, 3, 5, 7), {"size": (9, 4), "mode": "bilinear", "antialias": True}),
    ((2, 3, 5, 7), {"scale_factor": (0.7, 2), "mode": "bicubic"}),
    ((2, 3, 5, 7), {"size": (3, 9), "mode": "bicubic", "antialias": True}),
    ((2, 3, 5, 7), {"size": (3, 9), "mode": "area"}),
    ((2, 2, 4, 3, 5), {"scale_factor": 1.5, "mode": "trilinear", "recompute_scale_factor": True}),
]


@every_dtype
@pytest.mark.parametrize("shape, options", RESIZES)
def test_interpolate(shape, options, dtype):
    compare(*both("interpolate", **options), [noise(shape)], dtype)


@every_dtype
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode, dtype):
    compare(*both("pad", (2, 1, -1, 3), mode), [noise((2, 3, 5, 6))], dtype)


LOSSES = [
    *(both(name, reduction=r) for name in ("mse_loss", "l1_loss", "smooth_l1_loss") for r in ("mean", "sum", "none")),
    both("smooth_l1_loss", beta=0.3),
    both("binary_cross_entropy_with_logits"),
    both("binary_cross_entropy_with_logits", reduction="none"),
]


@every_dtype
@pytest.mark.parametrize("functions", LOSSES)
def test_elementwise_losses(functions, dtype):
    x, target = noise((6, 10)), noise((6, 10), 1)
    x[0], target[1], x[2] = CORNERS, x[1], target[2] + 1
    compare(*functions, [x, target], dtype)


@every_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(5,), (6, 5), (3, 5, 2, 4)])
def test_cross_entropy(shape, weighted, smoothing, reduction, dtype):
    rng, axis = np.random.default_rng(4), min(1, len(shape) - 1)
    target = np.asarray(rng.integers(0, 5, (*shape[:axis], *shape[axis + 1 :])))
    if target.ndim:
        target.flat[::3] = 2
    weight = (rng.random(5) + 0.1).astype(dtype)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    weights = (weight, torch.tensor(weight)) if weighted else (None, None)
    compare(
        lambda x, t: F.cross_entropy(x, t, weights[0], ignore_index=2, **options),
        lambda x, t: TF.cross_entropy(x, t, weights[1], ignore_index=2, **options),
        [noise(shape), target],
        dtype,
    )
    compare(
        lambda x, t: F.cross_entropy(x, t, weights[0], **options),
        lambda x, t: TF.cross_entropy(x, t, weights[1], **options),
        [noise(shape), rng.random(shape)],
        dtype,
    )
    compare(
        lambda x, t: F.nll_loss(x, t, weights[0], ignore_index=2, reduction=reduction),
        lambda x, t: TF.nll_loss(x, t, weights[1], ignore_index=2, reduction=reduction),
        [noise(shape), target],
        dtype,
    )
