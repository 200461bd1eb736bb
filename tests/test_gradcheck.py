"""Gradients against finite differences: the check itself."""

import numpy as np
import pytest

from numconv.autograd import Tensor, apply, gradcheck, gradgradcheck, operation
from numconv.autograd.operations import TABLE


def leaf(*shape, seed=0, dtype=np.float64):
    return Tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype), requires_grad=True)


@pytest.fixture
def wrong():
    """An operation whose rule is wrong at one element of its second input."""

    def rule(grad, output, inputs, attributes, needs):
        factor = np.ones((2, 3))
        factor[1, 2] = 1.5
        return grad * inputs[1], grad * inputs[0] * factor

    operation("wrong", lambda a, b: a * b, rule)
    yield lambda a, b: apply("wrong", a, b)
    del TABLE["wrong"]


@pytest.mark.parametrize("fast", [False, True])
def test_right_gradients_pass(fast):
    assert gradcheck(lambda a, b: (a / (b * b + 1)).exp(), (leaf(2, 3), leaf(3)), fast_mode=fast) is True
    assert gradgradcheck(lambda a, b: (a / (b * b + 1)).exp(), (leaf(2, 3), leaf(3)), fast_mode=fast) is True


@pytest.mark.parametrize("fast", [False, True])
def test_a_wrong_one_is_named_with_both_numbers(wrong, fast):
    a, b = leaf(2, 3), leaf(2, 3, seed=1)
    with pytest.raises(ValueError, match=r"input 1, of shape \(2, 3\), is wrong at element \(1, 2\)") as error:
        gradcheck(wrong, (a, b), fast_mode=fast)
    rule, difference = str(error.value).split("the rule gives ")[1].split(", finite differences ")
    assert float(rule) == pytest.approx(1.5 * float(difference), rel=1e-5)


def test_a_wrong_second_derivative_is_found():
    def rule(grad, output, inputs, attributes, needs):
        return (grad * Tensor(2 * inputs[0].data),)  # right, but followed by nobody

    operation("square", lambda x: x * x, rule)
    try:
        x = leaf(3)
        assert gradcheck(lambda t: apply("square", t), x)
        with pytest.raises(ValueError, match=r"input 0, .*the rule gives 0,"):
            gradgradcheck(lambda t: apply("square", t), x)
    finally:
        del TABLE["square"]


def test_what_is_not_used_has_no_gradient():
    assert gradcheck(lambda a, b: a * 2, (leaf(2), leaf(2)))


def test_several_results_and_other_inputs():
    assert gradcheck(lambda a, k, w: (a * k, [1], a * w), (leaf(2, 3), 3, np.arange(3.0)))
    assert gradcheck(lambda a: [a.sum(), (a * a).sum()], leaf(0, 2))


def test_what_cannot_be_checked():
    with pytest.raises(ValueError, match="input 1 is float32"):
        gradcheck(lambda a, b: a * b, (leaf(2), leaf(2, dtype=np.float32)))
    with pytest.raises(ValueError, match="requires grad"):
        gradcheck(lambda a: a, Tensor(np.ones(2)))
