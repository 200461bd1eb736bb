"""The field's arithmetic: shapes, receptive fields, parameters, multiplications; and problems as values."""

import copy
import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from passes import cases_of, problem_of, question

import numconv as nc
from numconv import problem as problems
from numconv.algorithm import select
from numconv.lab import reference
from numconv.lab.cases import conv_cases


def layer(x_shape, weight_shape, operation="conv2d", **options):
    return nc.ConvProblem.make(operation, x_shape, weight_shape, **options)


# figures of textbooks


@pytest.mark.parametrize(
    "size, kernel, options, expected",
    [
        ((6, 6), 3, {}, (4, 4)),
        ((28, 31), 5, {"padding": 2, "stride": 3}, (10, 11)),
        (227, 11, {"stride": 4}, (55,)),
        ((7, 7), 3, {"dilation": 2}, (3, 3)),
        ((5,), (3,), {"padding": "full"}, (7,)),
        ((10, 11, 12), (1, 2, 3), {"stride": (1, 2, 3), "padding": ((0, 1), (1, 0), (2, 2))}, (11, 6, 5)),
        ((224, 224), 7, {"stride": 2, "padding": 3}, (112, 112)),
        ((7, 8), 3, {"padding": "same", "stride": 2}, (4, 4)),
        ((7, 8), 3, {"padding": "same_lower", "stride": 3}, (3, 3)),
        ((7, 8), 3, {"padding": "valid"}, (5, 6)),
        ((0, 5), 3, {"padding": 2}, (2, 7)),
    ],
)
def test_output_shapes(size, kernel, options, expected):
    assert nc.conv_output_shape(size, kernel, **options) == expected


@pytest.mark.parametrize(
    "size, kernel, options, expected",
    [
        ((2, 2), 3, {}, (4, 4)),
        ((2, 2), 3, {"stride": 2}, (5, 5)),
        ((2, 2), 2, {"stride": 2}, (4, 4)),
        ((7,), 4, {"stride": 2, "padding": 1}, (14,)),
        (7, 3, {"stride": 2, "padding": 1, "output_padding": 1}, (14,)),
        ((3, 4), 3, {"dilation": 2}, (7, 8)),
        ((3, 4), (4, 5), {"stride": 3, "padding": "same"}, (9, 12)),
        ((3, 4), 2, {"stride": 2, "padding": ((1, 0), (0, 2))}, (5, 6)),
    ],
)
def test_transposed_output_shapes(size, kernel, options, expected):
    assert nc.conv_transpose_output_shape(size, kernel, **options) == expected


def test_output_shapes_of_every_case():
    for case in conv_cases():
        expected = (reference.conv_transpose_size if case.transposed else reference.conv_size)(
            case.spatial, case.kernel, case.stride, case.padding,
            *((case.output_padding,) if case.transposed else ()), case.dilation,
        )  # fmt: skip
        function = nc.conv_transpose_output_shape if case.transposed else nc.conv_output_shape
        options = {name: value for name, value in case.options.items() if name != "groups"}
        assert function(case.spatial, case.kernel, **options) == expected, case.name


def test_effective_kernel():
    assert problems.effective_kernel(3, 2) == 5
    assert problems.effective_kernel(7, 1) == 7
    assert problems.effective_kernel(1, 9) == 1


def test_receptive_fields():
    stack = [(3, 1, 1), (3, 1, 2), (3, 1, 4)]
    assert [nc.receptive_field(stack[:i]) for i in (1, 2, 3)] == [3, 7, 15]
    assert nc.receptive_field([]) == 1
    assert nc.receptive_field([3, 3]) == 5
    assert nc.receptive_field([(7, 2), (3, 2), 3]) == 7 + 2 * 2 + 2 * 4
    assert nc.receptive_field([{"kernel_size": 3, "dilation": 4}, {"kernel_size": 2, "stride": 2}]) == 10
    assert nc.receptive_field([((3, 5), (1, 2), 1), ((3, 3), 1, 1)]) == (5, 9)
    problem = layer((1, 3, 32, 32), (8, 3, 3, 5), stride=2, dilation=(1, 2))
    assert nc.receptive_field([problem]) == (3, 9)
    assert nc.receptive_field([problem, 3]) == (7, 13)
    for wrong in ((3, 1, 1, 1), ()):
        with pytest.raises(ValueError, match="layer"):
            nc.receptive_field([wrong])
    with pytest.raises(ValueError, match="stride"):
        nc.receptive_field([(3, 0)])


def test_a_receptive_field_is_what_a_pixel_sees():
    x = np.zeros((1, 1, 41))
    one = np.ones((1, 1, 3))
    for position in range(41):
        x[0, 0, position] = 1
    seen = []
    for position in range(41):
        impulse = np.zeros((1, 1, 41))
        impulse[0, 0, position] = 1
        y = nc.conv1d(nc.conv1d(nc.conv1d(impulse, one, dilation=1), one, dilation=2), one, dilation=4)
        seen.append(y[0, 0, 10] != 0)
    assert sum(seen) == nc.receptive_field([(3, 1, 1), (3, 1, 2), (3, 1, 4)])


def test_parameters():
    assert layer((1, 16, 8, 8), (32, 16, 3, 3), bias_shape=(32,)).parameters == 4640
    assert layer((1, 64, 8, 8), (64, 64, 3, 3)).parameters == 36864
    assert layer((1, 64, 8, 8), (64, 8, 3, 3), groups=8).parameters == 4608
    assert layer((1, 16, 8, 8), (32, 16, 3, 3)).parameters == 4608
    assert layer((1, 16, 8, 8), (16, 1, 3, 3), groups=16).parameters == 144
    assert layer((1, 16, 8, 8), (32, 16, 1, 1)).parameters == 512
    transposed = layer((1, 6, 8, 8), (6, 4, 2, 2), "conv_transpose2d", bias_shape=(4,))
    assert transposed.parameters == 6 * 4 * 4 + 4


def test_multiplications():
    assert layer((1, 3, 7, 7), (128, 3, 3, 3)).multiply_adds == 86400
    depthwise, pointwise = layer((1, 3, 7, 7), (3, 1, 3, 3), groups=3), layer((1, 3, 5, 5), (128, 3, 1, 1))
    assert (depthwise.multiply_adds, pointwise.multiply_adds) == (675, 9600)
    assert layer((1, 1, 5, 5), (1, 1, 3, 3)).multiply_adds == 81
    assert layer((1, 1, 5, 5), (1, 1, 3, 1)).multiply_adds + layer((1, 1, 3, 5), (1, 1, 1, 3)).multiply_adds == 45 + 27
    difference = layer((1, 1, 280, 320), (1, 1, 1, 2))
    assert difference.out_spatial == (280, 319)
    # Two multiplications and an addition for each result (Goodfellow, Bengio and Courville, 2016, chapter 9).
    assert difference.flops - 280 * 319 == 267_960
    assert 320 * 280 * 319 * 280 == 8_003_072_000
    for problem in (depthwise, difference):
        assert problem.flops == 2 * problem.multiply_adds


def test_bytes():
    problem = layer((2, 3, 5, 7), (4, 3, 3, 3), dtype=np.float64, bias_shape=(4,))
    assert problem.bytes == 8 * (2 * 3 * 5 * 7 + 4 * 3 * 9 + 4 + 2 * 4 * 3 * 5)
    assert dataclasses.replace(problem, residual=True).bytes == problem.bytes + 8 * 2 * 4 * 3 * 5
    assert layer((2, 3, 5, 7), (4, 3, 3, 3), dtype=np.float16).bytes == 2 * (210 + 108 + 120)


# problems as values


def test_problems_are_values():
    one = layer((2, 6, 9, 9), (4, 3, 3, 3), stride=2, padding="same", groups=2, activation="relu", bias_shape=(4,))
    same = layer([2, 6, 9, 9], [4, 3, 3, 3], stride=[2, 2], padding=((1, 1), (1, 1)), groups=np.int64(2),
                 activation=("relu", None), bias_shape=[4])  # fmt: skip
    assert one == same and hash(one) == hash(same) and len({one, same}) == 1
    select(one)  # what is remembered of a problem is no part of it
    assert one == same and hash(one) == hash(same)
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    for change in (
        {"stride": 1}, {"padding": 2}, {"dilation": 2}, {"groups": 1, "weight": (4, 6, 3, 3)}, {"activation": "tanh"},
        {"bias_shape": None}, {"residual": True}, {"precision": "strict"}, {"dtype": np.float64},
        {"data_format": "NHWC", "x": (2, 9, 9, 6)}, {"x": (3, 6, 9, 9)}, {"activation": ("leaky_relu", 0.1)},
    ):  # fmt: skip
        options = {"stride": 2, "padding": "same", "groups": 2, "activation": "relu", "bias_shape": (4,)} | change
        other = layer(options.pop("x", (2, 6, 9, 9)), options.pop("weight", (4, 3, 3, 3)), **options)
        assert other != one, change
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.n = 3


def test_a_pickled_problem_is_found_in_another_process():
    """Hashes of strings differ from process to process."""
    problem = layer((2, 6, 9, 9), (4, 3, 3, 3), groups=2)
    code = (
        "import pickle, sys, numconv as nc\n"
        "came = pickle.load(sys.stdin.buffer)\n"
        "made = nc.ConvProblem.make('conv2d', (2, 6, 9, 9), (4, 3, 3, 3), groups=2)\n"
        "assert came == made and came in {made: 1}"
    )
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
        subprocess.run([sys.executable, "-c", code], input=pickle.dumps(problem), env=environment, check=True)


def test_shapes_of_every_pass():
    for operation in ("conv2d", "conv2d_input", "conv2d_weight", "conv_transpose2d", "conv1d", "conv3d_input"):
        for case in cases_of(operation):
            problem = problem_of(case, operation, "float32", "first")
            assert problem.result_shape == question(case, operation, "float32").expected.shape, case.name
            last = problem_of(case, operation, "float32", "last")
            if problem.direction != "weight":
                n, c, *spatial = problem.result_shape
                assert last.result_shape == (n, *spatial, c)


def test_a_gradient_has_no_epilogue():
    problem = layer((1, 3, 5, 5), (4, 3, 3, 3), bias_shape=(4,), activation="relu", residual=True)
    assert problem.direction == "forward"
    for operation, direction in (("conv2d_input", "input"), ("conv2d_weight", "weight")):
        gradient = problem.with_operation(operation)
        assert gradient.direction == direction
        assert (gradient.bias, gradient.residual, gradient.activation) == (False, False, None)
    assert problem.with_operation("conv2d_input").result_shape == (1, 3, 5, 5)
    assert problem.with_operation("conv2d_weight").result_shape == (4, 3, 3, 3)


def test_depthwise():
    assert layer((1, 6, 5, 5), (12, 1, 3, 3), groups=6).depthwise
    assert layer((1, 1, 5, 5), (12, 1, 3, 3)).depthwise
    assert not layer((1, 6, 5, 5), (12, 2, 3, 3), groups=3).depthwise


# arguments


def test_padding_forms():
    size, kernel, one = (8, 9), (3, 4), (1, 1)

    def pads(padding, stride=one, dilation=one):
        return problems.conv_padding(padding, size, kernel, stride, dilation)

    assert pads(2) == pads((2,)) == pads(np.int8(2)) == pads([[2, 2]]) == ((2, 2), (2, 2))
    assert pads((1, 2)) == pads([1, 2]) == pads(np.array([1, 2])) == ((1, 1), (2, 2))
    assert pads(((1, 2), (3, 4))) == pads(np.array([[1, 2], [3, 4]])) == ((1, 2), (3, 4))
    assert pads("valid") == ((0, 0), (0, 0))
    assert pads("full") == ((2, 2), (3, 3))
    assert pads("full", dilation=(2, 3)) == ((4, 4), (9, 9))
    assert pads("same") == ((1, 1), (1, 2))
    assert pads("same_lower") == ((1, 1), (2, 1))
    assert pads("same", stride=(2, 2)) == ((0, 1), (1, 2))
    assert pads("same_lower", stride=(2, 2)) == ((1, 0), (2, 1))
    assert pads("same", stride=(5, 5)) == ((0, 0), (0, 0))
    assert problems.conv_padding(((1, 2),), (8,), (3,), (1,), (1,)) == ((1, 2),)


@pytest.mark.parametrize(
    "padding, error",
    [
        (-1, ValueError), ((1, -1), ValueError), (((0, 0), (0, -1)), ValueError), ((1, 2, 3), ValueError),
        ((), ValueError), (((1, 2), (3, 4), (5, 6)), ValueError), (((1, 2, 3), (1, 2, 3)), ValueError),
        ("SAME", ValueError), ("", ValueError), (1.0, TypeError), (None, TypeError), (True, TypeError),
        ({1: 2}, TypeError), ((1, 2.0), TypeError), (((1, 2), 3), TypeError),
    ],
)  # fmt: skip
def test_padding_that_has_no_meaning(padding, error):
    with pytest.raises(error, match="padding"):
        nc.conv_output_shape((8, 9), 3, padding=padding)


@pytest.mark.parametrize("name", ["stride", "dilation", "kernel_size"])
def test_numbers_an_axis(name):
    for value in (2, (2,), [2, 2], np.array([2, 2]), np.uint8(2)):
        assert nc.conv_output_shape((8, 9), **{"kernel_size": 3} | {name: value})
    for wrong in (0, -1, (1, 0), (1, 2, 3), ()):
        with pytest.raises(ValueError, match=name):
            nc.conv_output_shape((8, 9), **{"kernel_size": 3} | {name: wrong})
    for wrong in (1.0, "1", None, True, (1, 2.5), np.float32(1)):
        with pytest.raises(TypeError, match=name):
            nc.conv_output_shape((8, 9), **{"kernel_size": 3} | {name: wrong})


def test_shapes_that_cannot_be():
    with pytest.raises(ValueError, match="kernel_size"):
        nc.conv_output_shape((2, 9), 3)
    with pytest.raises(ValueError, match="input_size"):
        nc.conv_output_shape((-2, 9), 3)
    with pytest.raises(ValueError, match="input_size"):
        nc.conv_transpose_output_shape((-2, 9), 3)
    with pytest.raises(ValueError, match="padding"):
        nc.conv_transpose_output_shape((2, 2), 2, padding=2)
    with pytest.raises(ValueError, match="output_padding"):
        nc.conv_transpose_output_shape((2, 2), 2, stride=2, output_padding=2)
    with pytest.raises(ValueError, match="padding"):
        nc.conv_transpose_output_shape((2, 2), 2, padding="full")


def test_activations_are_parsed():
    assert problems.parse_activation(None) is None
    assert problems.parse_activation("relu") == ("relu", 0.0)
    assert problems.parse_activation("leaky_relu") == ("leaky_relu", 0.01)
    assert problems.parse_activation(["elu", 2]) == ("elu", 2.0)
    for wrong in ("swish", 3, ("relu", 1.0), ("elu",), ("elu", 1, 2), lambda v: v):
        with pytest.raises(ValueError, match="activation"):
            problems.parse_activation(wrong)


def test_dtypes_are_those_of_numpys_arrays():
    """So that `is` finds the usual ones: `newbyteorder` makes dtypes that are equal and not the same."""
    for name in ("float32", "float64", "int64", "complex64"):
        for order in "<>=":
            assert problems.supported_dtype("x", np.dtype(name).newbyteorder(order)) is np.dtype(name)
    with pytest.raises(TypeError, match="x must be of a float, integer or complex dtype"):
        problems.supported_dtype("x", np.dtype(bool))
