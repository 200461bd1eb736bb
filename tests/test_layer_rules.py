"""The layer functions on the tape: gradients and gradients of gradients, and the layout that results keep in memory."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import numconv as nc
from numconv.autograd import Tensor, apply, gradcheck, gradgradcheck
from numconv.autograd import functional as F

ACTIVATIONS = {
    **{name: getattr(F, name) for name in ("relu", "relu6", "elu", "gelu", "sigmoid", "tanh", "silu", "hardswish")},
    "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "elu with alpha": lambda x: F.elu(x, 0.4),
    "gelu by tanh": lambda x: F.gelu(x, "tanh"),
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, 1),
}


def tensor(*shape, seed=0, requires_grad=True, dtype=np.float64):
    array = np.random.default_rng(seed).standard_normal(shape) * 1.5 + 0.1
    return Tensor(array.astype(dtype), requires_grad=requires_grad)


def statistics(channels=3):
    rng = np.random.default_rng(9)
    return Tensor(rng.standard_normal(channels)), Tensor(rng.random(channels) + 0.5)


LAYERS = {
    "batch_norm": lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
    "batch_norm in evaluation": lambda x, w, b: F.batch_norm(x, *statistics(), w, b),
    "batch_norm and relu": lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, activation="relu"),
    "group_norm": lambda x, w, b: F.group_norm(x, 1, w, b),
    "layer_norm": lambda x, w, b: F.layer_norm(x.permute((0, 2, 3, 1)), 3, w, b),
    "local_response_norm": lambda x, w, b: F.local_response_norm(x * w.reshape(3, 1, 1), 2, 0.3, 0.6, 1.5) * b.sum(),
    "dropout": lambda x, w, b: F.dropout(x * w.sum() + b.sum(), 0.3, rng=np.random.default_rng(0)),
    "pad": lambda x, w, b: F.pad(x * w.sum(), (1, 2, -1, 1), value=0.5) + b.sum(),
    "pad by reflection": lambda x, w, b: F.pad(x * w.sum(), (1, 2, 1, 0), "reflect") + b.sum(),
    "interpolate": lambda x, w, b: F.interpolate(x * w.sum(), scale_factor=2, mode="bilinear") + b.sum(),
    "interpolate to the nearest": lambda x, w, b: F.interpolate(x * w.sum(), size=(5, 2)) + b.sum(),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    x = tensor(2, 3, 4)
    assert gradcheck(ACTIVATIONS[name], x)
    assert gradgradcheck(ACTIVATIONS[name], x, fast_mode=True)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    inputs = tensor(2, 3, 2, 3), tensor(3, seed=1), tensor(3, seed=2)
    assert gradcheck(LAYERS[name], inputs)
    assert gradgradcheck(LAYERS[name], inputs, fast_mode=True)


@pytest.mark.parametrize("name", ["batch_norm", "batch_norm in evaluation", "group_norm"])
def test_only_what_is_wanted(name):
    x, weight, bias = tensor(2, 3, 4, 3), tensor(3, seed=1), tensor(3, seed=2)
    whole = [x, weight, bias]
    LAYERS[name](*whole).sum().backward()
    for i, wanted in enumerate(whole):
        alone = [Tensor(t.data, requires_grad=i == j) for j, t in enumerate(whole)]
        LAYERS[name](*alone).sum().backward()
        assert_allclose(alone[i].grad.data, wanted.grad.data, rtol=1e-12, atol=1e-12)
        assert sum(t.grad is not None for t in alone) == 1


@pytest.mark.parametrize("name", ["batch_norm", "group_norm"])
def test_norms_without_parameters(name):
    x = tensor(2, 4, 3)
    call = F.group_norm if name == "group_norm" else F.batch_norm
    rest = (2,) if name == "group_norm" else (None, None, None, None, True)
    assert gradcheck(call, (x, *rest))
    assert gradgradcheck(call, (x, *rest), fast_mode=True)


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_with_a_residual(training, activation):
    inputs = tensor(2, 3, 2, 3), tensor(3, seed=1), tensor(3, seed=2), tensor(2, 3, 2, 3, seed=3)

    def whole(x, weight, bias, residual):
        running = (None, None) if training else statistics()
        return F.batch_norm(x, *running, weight, bias, training, activation=activation, residual=residual)

    def parts(x, weight, bias, residual):
        running = (None, None) if training else statistics()
        y = F.batch_norm(x, *running, weight, bias, training) + residual
        return F.relu(y) if activation else y

    assert_allclose(whole(*inputs).data, parts(*inputs).data, rtol=1e-12, atol=1e-12)
    assert gradcheck(whole, inputs)
    assert gradgradcheck(whole, inputs, fast_mode=True)
    with pytest.raises(ValueError, match=r"residual must have the shape of x, \(2, 3, 2, 3\), got \(3,\)"):
        whole(*inputs[:3], inputs[1])
    with pytest.raises(ValueError, match="activation must be None or 'relu', got 'tanh'"):
        F.batch_norm(inputs[0], None, None, training=True, activation="tanh")


@pytest.mark.parametrize("outs", [(), (4,)])
def test_linear(outs):
    inputs = tensor(2, 3, 5), tensor(*outs, 5, seed=1), tensor(*outs, seed=2)
    assert gradcheck(F.linear, inputs)
    assert gradgradcheck(F.linear, inputs, fast_mode=True)
    assert gradcheck(F.linear, (inputs[0], inputs[1].data))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_channel_sum(axis):
    x = tensor(2, 3, 4)
    assert gradcheck(lambda x: apply("channel_sum", x, axis=axis), x)
    turned = Tensor(tensor(2, 5, 6, 3).data.transpose(0, 3, 1, 2))
    assert_allclose(apply("channel_sum", turned, axis=1).data, turned.data.sum((0, 2, 3)), rtol=1e-12)


def test_large_sums_of_tensors_keep_the_layout():
    a, b = tensor(4, 3, 200, 300, dtype=np.float32), tensor(4, 3, 200, 300, seed=1, dtype=np.float32)
    assert_array_equal((a + b).data, a.data + b.data)
    last = [np.ascontiguousarray(t.data.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for t in (a, b)]
    total = (Tensor(last[0]) + Tensor(last[1])).data
    assert total.strides == last[0].strides
    assert_array_equal(total, a.data + b.data)


def test_batch_norm_changes_running_statistics():
    x, mean, var = tensor(4, 3, 5), *statistics()
    expected = mean.data.copy(), var.data.copy()
    y = F.batch_norm(x, mean, var, training=True, momentum=0.3)
    want = nc.batch_norm(x.data, *expected, training=True, momentum=0.3)
    assert_array_equal(y.data, want)
    assert_array_equal(mean.data, expected[0])
    assert_array_equal(var.data, expected[1])
    assert mean.version == var.version == 1
    F.batch_norm(x, mean, var)
    assert mean.version == 1


IN_LAYOUT = {
    **{name: F.__dict__[name] for name in ("relu", "tanh", "gelu", "leaky_relu")},
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "batch_norm with a residual": lambda x: F.batch_norm(
        x, None, None, training=True, activation="relu", residual=x * 0.5
    ),
    "group_norm": lambda x: F.group_norm(x, 2),
    "local_response_norm": lambda x: F.local_response_norm(x, 2, 0.5),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1)),
    "pad channels": lambda x: F.pad(x, ((1, 0), (0, 2), (-1, 1)), "replicate"),
    "interpolate": lambda x: F.interpolate(x, size=(7, 3), mode="bilinear"),
}


@pytest.mark.parametrize("name", IN_LAYOUT)
def test_channels_last_in_memory_stay_there(name):
    x = tensor(2, 4, 5, 6, dtype=np.float32)
    turned = np.ascontiguousarray(x.data.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    y = Tensor(turned, requires_grad=True)
    results = [IN_LAYOUT[name](t) for t in (x, y)]
    assert results[0].data.flags.c_contiguous
    assert results[1].data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert_allclose(results[1].data, results[0].data, rtol=1e-5, atol=1e-6)
    grad = np.random.default_rng(3).standard_normal(results[0].shape).astype(np.float32)
    results[0].backward(grad)
    results[1].backward(np.ascontiguousarray(grad.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2))
    assert y.grad.data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert_allclose(y.grad.data, x.grad.data, rtol=1e-4, atol=1e-5)


def test_dropout_without_effect_gives_what_it_got():
    x = tensor(2, 3)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    with pytest.raises(ValueError, match="p must be between 0 and 1"):
        F.dropout(x, 2.0, training=False)


def test_what_gradients_do_not_need_is_not_kept():
    x = tensor(2, 3, 4)
    between = F.batch_norm(x, None, None, training=True)
    relu = F.relu(between).node
    assert type(relu.inputs[0]).__name__ == "Outline" and relu.output is not None
    assert type(between.node.output).__name__ == "Outline" and between.node.inputs[0] is x
