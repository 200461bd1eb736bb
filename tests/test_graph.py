"""Frozen models: what they give is what the models give; what passes do to graphs; what is refused."""

import gc
import os
import pickle
import threading
import weakref

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_models import RUNS

from numconv import graph, models, nn
from numconv.autograd import Tensor, no_grad, operation
from numconv.autograd import functional as F
from numconv.nn import init


def trained(model, seed=0):
    """The model in eval mode, with norms as if it had seen pictures."""
    rng = np.random.default_rng(seed)
    for module in model.modules():
        if getattr(module, "running_mean", None) is not None:
            with no_grad():
                for tensor, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_mean, -0.5)):
                    tensor.copy_(rng.uniform(low, low + 1, tensor.shape).astype(np.float32))
                module.running_var.copy_(rng.uniform(0.5, 2, module.running_var.shape).astype(np.float32))
    return model.eval()


def numbers(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def flat(result):
    """The arrays in what a model gives."""
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, (tuple, list)):
        return [array for part in result for array in flat(part)]
    return [] if result is None else [result.numpy() if isinstance(result, Tensor) else result]


def check(model, x, frozen=None, tolerance=1e-4):
    """That the frozen model gives what the model gives."""
    frozen = nn.freeze(model, x) if frozen is None else frozen
    inputs = x if isinstance(x, tuple) else (x,)
    with no_grad():
        expected = flat(model(*map(Tensor, inputs)))
    found = flat(frozen(*inputs))
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert isinstance(a, np.ndarray) and a.dtype == b.dtype and a.flags.c_contiguous
        assert_allclose(a, b, rtol=0, atol=tolerance * max(np.abs(b).max(initial=0), 1e-3))
    return frozen


def names(frozen):
    return [node.attributes.get("operation", node.operation) for node in frozen.graph.nodes]


class Function(nn.Module):
    """A module of a function."""

    def __init__(self, function, *modules):
        super().__init__()
        self.parts, self.function = nn.ModuleList(modules), function

    def forward(self, *inputs):
        return self.function(*self.parts, *inputs)


# --- whole models


@pytest.mark.parametrize("name", models.names())
def test_each_model_gives_the_same_frozen(name):
    options, shape, _ = RUNS[name]
    init.seed(0)
    model = trained(models.get(name, **options))
    x = numbers(*shape)
    frozen = check(model, x)
    other = np.concatenate([x, x[:1] * 0.5, x])
    one, many = flat(frozen(other[:1])), flat(frozen(other))
    for a, b in zip(one, many):
        assert_allclose(a, b[:1], rtol=0, atol=1e-4 * np.abs(b).max())


def test_a_residual_network_is_nothing_but_convolutions_a_pooling_or_two_and_a_linear_layer():
    frozen = check(trained(models.resnet50()), numbers(1, 3, 64, 64))
    assert names(frozen).count("conv2d") == 53
    views = {"reshape", "permute"}
    assert {name for name in names(frozen) if name != "conv2d"} - views == {
        "max_pool2d", "adaptive_avg_pool2d", "linear",
    }  # fmt: skip
    described = frozen.describe()
    assert described.count("conv2d") == 53 and described.count("+ residual + relu") == 16
    assert "ms" in described.splitlines()[0]


def test_buffers_are_used_again():
    frozen = nn.freeze(trained(models.resnet18()), numbers(1, 3, 64, 64))
    made = [name for node in frozen.graph.nodes for name in node.outputs]
    whole = sum(np.prod(graph.sized(frozen.graph.shapes[name], 1)) * 4 for name in made)
    assert graph.planned_buffers(frozen.graph, 1).size < whole / 2


# --- folding


def normed_and_not(norm, y):
    return norm(y) + y


def conv_then_norm():
    return nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), nn.Conv2d(6, 5, 3, padding=1, bias=False))


FOLDS = {
    "after a convolution": (conv_then_norm, (2, 4, 9, 8), 0),
    "after one of volumes": (lambda: nn.Sequential(nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4)), (2, 2, 4, 5, 3), 0),
    "after one of series": (lambda: nn.Sequential(nn.Conv1d(2, 4, 2), nn.BatchNorm1d(4)), (2, 2, 9), 0),
    "after a transposed one": (
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.BatchNorm2d(6)), (2, 4, 5, 4), 0,
    ),
    "after a linear layer": (lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)), (3, 4), 0),
    "before a convolution": (lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2)), (2, 4, 6, 5), 0),
    "before a linear layer": (lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 6, bias=False)), (3, 4), 0),
    "both": (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)), (2, 3, 6, 5), 0),
    "before a padded one": (lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1)), (2, 4, 6, 5), 1),
    "before a transposed one": (
        lambda: nn.Sequential(nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 6, 3)), (2, 4, 6, 5), 1,
    ),
    "after an activation": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.BatchNorm2d(6), nn.ReLU()), (2, 4, 6, 5), 1,
    ),
    "twice used": (
        lambda: Function(lambda c, b, x: F.concatenate([b(c(x)), c(x) * 1, b(x)], 1), nn.Conv2d(4, 4, 3, padding=1),
                         nn.BatchNorm2d(4)), (2, 4, 6, 5), 1,
    ),
    "of a result that is used elsewhere": (
        lambda: Function(lambda c, b, x: normed_and_not(b, c(x)), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)),
        (2, 4, 6, 5), 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDS)
def test_batch_norms_are_folded_where_that_is_right(case):
    make, shape, left = FOLDS[case]
    frozen = check(trained(make()), numbers(*shape), tolerance=1e-5)
    assert names(frozen).count("batch_norm") == left


# --- fusing

ACTIVATIONS = [
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.Hardswish,
    lambda: nn.LeakyReLU(0.3), lambda: nn.ELU(0.5), lambda: Function(lambda x: x.clamp(0, 6)),
]  # fmt: skip


@pytest.mark.parametrize("make", ACTIVATIONS)
@pytest.mark.parametrize("layer", [lambda: nn.Conv2d(4, 6, 3), lambda: nn.ConvTranspose2d(4, 6, 3)])
def test_activations_are_fused(layer, make):
    frozen = check(nn.Sequential(layer(), make()).eval(), numbers(2, 4, 8, 7), tolerance=1e-5)
    assert sorted(set(names(frozen)) - {"permute"}) == [names(frozen)[1]]


def test_sums_go_before_activations_only():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    x = numbers(2, 4, 8, 7)
    frozen = check(Function(lambda c, x: F.relu(x + c(x)), conv).eval(), x)
    assert set(names(frozen)) == {"permute", "conv2d"}
    frozen = check(Function(lambda c, x: F.relu(c(x)) + x, conv).eval(), x)
    assert set(names(frozen)) == {"permute", "conv2d", "add"}
    check(Function(lambda c, x: c(x) + F.tanh(c(c(x))) + c(x) * 2, conv).eval(), x)
    check(Function(lambda c, x: c(x) + c(x).mean((2, 3), True), conv).eval(), x)  # broadcasts: no residual
    check(Function(lambda c, x: doubled(c(x)), conv).eval(), x)


def doubled(y):
    return y + y


# --- layouts, concatenations


def repeated(y, x):
    return F.concatenate([y, y, x], 1) * F.concatenate([y, x, y], 1)


def in_place(y, x):
    y = y * 1
    y += x
    y[:, 0] = 2.0
    return F.relu(y) * y


def nested(c, x):
    parts = [c(x)]
    for _ in range(3):
        whole = F.concatenate(parts, 1)
        parts.append(F.relu(c(whole[:, -4:] + whole[:, :4])))
    return F.relu(F.concatenate(parts, 1)) + F.concatenate(parts, 1)


OTHERS = {
    "mean": lambda c, x: c(x).mean((2, 3)),
    "mean kept": lambda c, x: c(x) * c(x).mean((2, 3), True),
    "mean of channels": lambda c, x: c(x).mean(1) + c(x).amax(1),
    "sum of one axis": lambda c, x: c(x).sum(2),
    "sum of all": lambda c, x: c(x).sum(),
    "softmax of channels": lambda c, x: F.softmax(c(x), 1),
    "softmax of rows": lambda c, x: F.log_softmax(c(x), -1),
    "weights": lambda c, x: c(x) * Tensor(numbers(4, 1, 1)) + Tensor(numbers(7)) - Tensor(numbers(1, 4, 8, 7)) * 2,
    "reshape": lambda c, x: c(x).reshape(-1, 4, 56),
    "flatten": lambda c, x: c(x).flatten(1),
    "permute": lambda c, x: c(x).permute(0, 2, 3, 1) * 2,
    "transpose": lambda c, x: c(c(x).transpose(2, 3)),
    "slices": lambda c, x: c(x)[:, 1:3, ::2],
    "index": lambda c, x: c(x)[:, 1],
    "fancy index": lambda c, x: c(x)[:, [2, 0, 1, 1]],
    "split": lambda c, x: F.concatenate(F.chunk(c(x), 2, 1)[::-1], 1),
    "shuffle": lambda c, x: F.channel_shuffle(c(x), 2),
    "pixel shuffle": lambda c, x: F.pixel_shuffle(c(x), 2),
    "interpolate": lambda c, x: F.interpolate(c(x), scale_factor=2, mode="bilinear") + 1,
    "pad": lambda c, x: F.pad(c(x), (1, 2, 3, 0)),
    "unpool": lambda c, x: F.max_unpool2d(*F.max_pool2d(c(x), 2, return_indices=True), 2, output_size=(8, 7)),
    "lp pool": lambda c, x: F.lp_pool2d(abs(c(x)), 2.0, 2),
    "average": lambda c, x: F.avg_pool2d(c(x), 3, 2, 1),
    "adaptive": lambda c, x: F.adaptive_avg_pool2d(c(x), (3, 2)),
    "max": lambda c, x: F.max_pool2d(F.max_pool2d(c(x), 3, 1, 1), 2),
    "global": lambda c, x: F.global_max_pool(c(x)) - F.global_avg_pool(c(x)),
    "no convolution": lambda c, x: F.relu(F.max_pool2d(x, 2)),
    "norms": lambda c, x: F.group_norm(F.local_response_norm(c(x), 3), 2),
    "batched product": lambda c, x: c(x) @ x.transpose(2, 3),
    "padding with circles": lambda c, x: F.conv2d(c(x), c.weight, padding=1, padding_mode="circular"),
    "written in place": lambda c, x: in_place(c(x), x),
    "the input": lambda c, x: (x, x[:, 0], {"a": [c(x), None]}),
    "where": lambda c, x: F.where(c(x) > 0, x, 0.5),
    "stack": lambda c, x: F.stack([c(x), x], 1).flatten(1, 2),
    "batch in shapes": lambda c, x: c(x).reshape(x.shape[0] * 2, -1).reshape(*x.shape) + x,
    "nested concatenations": nested,
    "concatenation of rows": lambda c, x: F.concatenate([F.concatenate([c(x), x], 2), c(x)], 2),
    "concatenation of batches": lambda c, x: F.concatenate([c(x), x], 0),
    "one thing twice": lambda c, x: repeated(c(x), x),
    "unused": lambda c, x: (c(x) * 3, c(x))[1],
    "weights given": lambda c, x: F.conv2d(x, c.weight * x.mean() + 1),
    "statistics of the batch": lambda c, x: F.batch_norm(c(x), None, None, training=True),
}


@pytest.mark.parametrize("case", OTHERS)
def test_everything_else_stays_right_within_one_layout(case):
    model = Function(OTHERS[case], nn.Conv2d(4, 4, 3, padding=1)).eval()
    frozen = check(model, numbers(2, 4, 8, 7), tolerance=1e-5)
    if case != "statistics of the batch":
        check(model, numbers(5, 4, 8, 7), frozen, tolerance=1e-5)
    check(model, numbers(2, 4, 8, 7, seed=3), frozen, tolerance=1e-5)


def test_inside_a_network_nothing_is_reordered():
    frozen = nn.freeze(trained(models.googlenet(aux_logits=False)), numbers(1, 3, 64, 64))
    assert names(frozen).count("permute") == 1  # of the input
    joined = [name for n in frozen.graph.nodes if n.operation == "concatenate" for name in n.inputs]
    assert all(name in frozen.graph.parts for name in joined)


def test_concatenations_of_concatenations_are_slices_of_one():
    frozen = nn.freeze(trained(models.densenet121(num_classes=2)), numbers(1, 3, 32, 32))
    wholes = {part.whole for part in frozen.graph.parts.values()}
    assert names(frozen).count("concatenate") == 58 + 4 and len(wholes) == 4


# --- promises


def test_several_inputs_and_outputs():
    def function(c, d, x, y):
        return {"sum": c(x) + d(y), "both": [x * 2, (y.mean(), F.concatenate([x, y], 1))]}

    model = Function(function, nn.Conv2d(3, 5, 1), nn.Conv2d(2, 5, 1)).eval()
    x, y = numbers(2, 3, 4, 4), numbers(2, 2, 4, 4)
    frozen = check(model, (x, y))
    found = frozen(x, y)
    assert list(found) == ["sum", "both"] and isinstance(found["both"], list) and isinstance(found["both"][1], tuple)
    with pytest.raises(ValueError, match=r"input 1 must have shape \(2, 2, 4, 4\), got \(3, 2, 4, 4\)"):
        frozen(x, numbers(3, 2, 4, 4))
    with pytest.raises(TypeError, match="expected 2 inputs, got 1"):
        frozen(x)


def test_inputs_stay_and_results_are_new():
    frozen = nn.freeze(trained(models.resnet18(num_classes=3)), numbers(1, 3, 32, 32))
    x = numbers(1, 3, 32, 32)
    kept = x.copy()
    x.flags.writeable = False
    first = frozen(x)
    expected = first.copy()
    frozen(numbers(1, 3, 32, 32, seed=5))
    assert_array_equal(first, expected)
    assert_array_equal(x, kept)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert_array_equal(frozen(turned), expected)
    assert frozen(x[:0]).shape == (0, 3)


def test_a_frozen_model_is_independent_of_the_model():
    model = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)))
    x = numbers(2, 3, 8, 8)
    frozen = nn.freeze(model, x)
    expected = frozen(x)
    with no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.numpy() * 0)
    assert_array_equal(frozen(x), expected)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
    assert_array_equal(frozen(x), expected)


def test_many_threads_call_one_frozen_model():
    frozen = nn.freeze(trained(models.mobilenet_v2(num_classes=5)), numbers(1, 3, 32, 32))
    batches = [numbers(n, 3, 32, 32, seed=n) for n in (1, 2, 1, 3)]
    expected = [frozen(x) for x in batches]
    found = [[] for _ in batches]

    def call(i):
        for _ in range(6):
            found[i].append(frozen(batches[i]))

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results, x in zip(found, expected):
        assert len(results) == 6
        for result in results:
            assert_array_equal(result, x)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_results_do_not_depend_on_the_number_of_threads(threads, always_parallel, name):
    frozen = nn.freeze(trained(models.get(name, num_classes=5)), numbers(1, 3, 64, 64))
    x = numbers(2, 3, 64, 64)
    threads(1)
    one = frozen(x)
    for count in (2, 3, 1, 2):
        threads(count)
        for _ in range(3):  # step by step, then as programs
            assert_array_equal(frozen(x), one)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_frozen_model_runs_in_a_forked_child():
    frozen = nn.freeze(trained(models.mobilenet_v2(num_classes=5)), numbers(1, 3, 32, 32))
    x = numbers(1, 3, 32, 32)
    expected = [frozen(x) for _ in range(3)][-1]
    child = os.fork()
    if not child:
        try:
            os._exit(0 if all((frozen(x) == expected).all() for _ in range(3)) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert_array_equal(frozen(x), expected)


def test_a_frozen_model_can_be_pickled():
    frozen = nn.freeze(trained(models.lenet5()), numbers(1, 1, 32, 32))
    x = numbers(2, 1, 32, 32)
    assert_array_equal(pickle.loads(pickle.dumps(frozen))(x), frozen(x))


def test_other_dtypes():
    for dtype in ("float64", "float16"):
        model = nn.Sequential(nn.Conv2d(3, 4, 3, dtype=dtype), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2, dtype=dtype))
        check(model.eval(), numbers(2, 3, 4, 4).astype(dtype), tolerance=1e-3 if dtype == "float16" else 1e-12)


def test_operations_of_users_run():
    operation("test_cube", lambda x: x**3, None)
    from numconv.autograd import apply

    check(Function(lambda c, x: apply("test_cube", c(x)), nn.Conv2d(3, 4, 1)).eval(), numbers(2, 3, 4, 4))


# --- what is refused


def test_training_mode_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    model[1].train()
    with pytest.raises(ValueError, match=r"model must be in eval mode, but its module '1' is in training mode"):
        nn.freeze(model, numbers(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"'dropout' works as in training"):
        nn.freeze(Function(lambda x: F.dropout(x, 0.5, True)).eval(), numbers(1, 3))


REFUSED = {
    "shape of 'reshape' depends on something else": lambda x: x.reshape(x.shape[0] * (x.shape[0] - 1), -1),
    "operations depend": lambda x: F.relu(x) if x.shape[0] == 2 else F.tanh(x),
    "runs differ in length": lambda x: x if x.shape[0] == 2 else F.tanh(x),
    "input of 'mul', of shape": lambda x: x * Tensor(x.numpy()),
    "operations depend on the batch size or on numbers": lambda x: F.relu(x) if x.numpy().max() > 2.0 else F.tanh(x),
    "depends on something else than the batch size": lambda x: F.pad(x, (0, x.shape[0] - 1)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_depends_on_more_than_the_batch_is_named(message):
    x = numbers(1, 6)
    x[0, 0] = 3.0
    with pytest.raises(ValueError, match=message):
        nn.freeze(Function(REFUSED[message]).eval(), x)


def test_what_does_not_fit_is_named():
    frozen = nn.freeze(nn.Conv2d(3, 4, 3).eval(), numbers(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"input 0 must have shape \('any', 3, 8, 8\), got \(1, 3, 9, 8\)"):
        frozen(numbers(1, 3, 9, 8))
    with pytest.raises(TypeError, match="input 0 must have dtype float32, got float64"):
        frozen(np.zeros((1, 3, 8, 8)))
    with pytest.raises(TypeError, match=r"must be a numpy.ndarray, got list"):
        frozen([1.0])
    with pytest.raises(ValueError, match="batch as its first axis"):
        nn.freeze(nn.ReLU().eval(), np.float32(1))
    with pytest.raises(TypeError, match="must return Tensors"):
        nn.freeze(Function(lambda x: 3).eval(), numbers(1, 2))
