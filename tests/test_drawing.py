"""Pictures of operations: the windows that they show make the result, and files hold every step."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

import numconv as nc
from numconv import nn
from numconv.drawing import convolutions, moves, poolings
from numconv.drawing.scene import number
from numconv.drawing.scenes import scene_of
from numconv.lab import reference

CONVOLUTIONS = {
    "plain": ("conv2d", (1, 5, 5), (1, 1, 3, 3), {}),
    "asymmetric": ("conv2d", (2, 4, 5), (3, 2, 2, 3), {"padding": ((1, 0), (2, 1)), "stride": (2, 1)}),
    "dilated": ("conv2d", (1, 6, 6), (1, 1, 2, 3), {"dilation": (3, 2), "padding": "same"}),
    "grouped": ("conv2d", (4, 3, 3), (2, 2, 2, 2), {"groups": 2}),
    "depthwise": ("conv2d", (3, 4, 3), (6, 1, 3, 3), {"groups": 3, "padding": 1}),
    "line": ("conv1d", (2, 7), (2, 2, 3), {"padding": "full", "stride": 2}),
    "volume": ("conv3d", (1, 3, 4, 3), (1, 1, 2, 2, 2), {"padding": (1, 0, 0)}),
    "reflected": ("conv2d", (1, 5, 4), (1, 1, 3, 3), {"padding": 2, "padding_mode": "reflect"}),
    "circular": ("conv1d", (1, 5), (1, 1, 3), {"padding": 1, "padding_mode": "circular"}),
    "transposed": ("conv_transpose2d", (2, 3, 2), (2, 2, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "transposed groups": ("conv_transpose1d", (4, 3), (4, 1, 3), {"stride": 3, "groups": 2, "dilation": 2}),
    "transposed volume": ("conv_transpose3d", (1, 2, 2, 2), (1, 1, 2, 2, 2), {"stride": 2}),
}


def array(*shape):
    return np.random.default_rng(sum(shape)).integers(-3, 4, shape).astype(np.float64)


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_products_add_up_to_the_convolution(case):
    operation, x_shape, w_shape, options = CONVOLUTIONS[case]
    x, w = array(*x_shape), array(*w_shape)
    result = getattr(nc, operation)(x, w, **options)
    scene = scene_of(operation, x, w, None, dict(options))
    np.testing.assert_allclose(scene.result, result, atol=1e-12)
    np.testing.assert_array_equal(scene.source[scene.inside], x)
    assert {step.result for step in scene.steps} == set(np.ndindex(*result.shape))
    for step in scene.steps:
        assert sum(tap.value for tap in step.taps) == pytest.approx(result[step.result], abs=1e-12)
        for tap in step.taps:
            assert tap.terms[0] == scene.source[tap.source]
            assert tap.terms[1] == step.filter[tap.place[0] - step.channels[0], *tap.place[1:]]


def test_bias_and_activation_are_in_the_sentence():
    drawing = nc.draw("conv1d", [1.0, 2.0], [[[-3.0]]], np.array([1.0]), activation="relu")
    assert "relu(sum −3 + bias 1) = 0" in drawing[0]._repr_svg_()


POOLINGS = {
    "max": ("max_pool2d", {"kernel_size": 2, "padding": 1, "stride": 1}),
    "dilated max": ("max_pool2d", {"kernel_size": 2, "dilation": 2, "stride": 1}),
    "ceil": ("avg_pool2d", {"kernel_size": 2, "ceil_mode": True, "padding": 1, "stride": 2}),
    "average": ("avg_pool2d", {"kernel_size": 3, "padding": 1, "stride": 2}),
    "average inside": ("avg_pool2d", {"kernel_size": 3, "padding": 1, "count_include_pad": False}),
    "divisor": ("avg_pool2d", {"kernel_size": 2, "divisor_override": 3}),
    "lp": ("lp_pool2d", {"norm_type": 2, "kernel_size": 2}),
    "lp of odd p": ("lp_pool2d", {"norm_type": 1, "kernel_size": 2, "padding": 1}),
    "lp over the edge": ("lp_pool2d", {"norm_type": 2, "kernel_size": 2, "ceil_mode": True}),
    "gaussian": ("weighted_avg_pool2d", {"kernel_size": (3, 2), "padding": ((1, 1), (0, 1))}),
    "weights": ("weighted_avg_pool2d", {"kernel_size": 2, "weights": [[1, 0], [2, 3]]}),
    "adaptive": ("adaptive_avg_pool2d", {"output_size": (3, 2)}),
    "adaptive max": ("adaptive_max_pool2d", {"output_size": 1}),
    "global": ("global_avg_pool", {}),
    "global max": ("global_max_pool", {}),
}


def pooled(operation, step, options):
    """The result of a step, from what the picture shows of its window and its sentence."""
    values = [tap.value for tap in step.taps]
    if "max" in operation:
        assert [tap.value for tap in step.taps if tap.wins] == [max(values)]
        return max(values)
    if operation.startswith("lp"):
        missing = re.search(r"· (\d+)/(\d+)", step.sentence)
        factor = int(missing[1]) / int(missing[2]) if missing else 1
        return (factor * sum(values)) ** (1 / options["norm_type"])
    divisor = re.search(r"(?:/|inside) ([\d.]+) =", step.sentence)[1]
    return sum(values) / float(divisor)


@pytest.mark.parametrize("case", POOLINGS)
def test_windows_make_the_pooling(case):
    operation, options = POOLINGS[case]
    x = array(2, 5, 4)
    result = getattr(nc, operation)(x[None], **options)[0]
    scene = scene_of(operation, x, None, None, dict(options))
    np.testing.assert_array_equal(scene.result, result)
    assert len(scene.steps) == result.size
    for step in scene.steps:
        tolerance = 5e-3 if operation.startswith("weighted") else 1e-6  # the sentence rounds
        assert pooled(operation, step, options) == pytest.approx(result[step.result], rel=tolerance, abs=1e-9)


def test_unpooling_shows_where_elements_go():
    x = array(2, 4, 4)
    values, indices = reference.max_pool(x[None], (2, 2))
    scene = scene_of("max_unpool2d", values[0], indices[0], None, {"kernel_size": 2})
    np.testing.assert_array_equal(scene.result, nc.max_unpool2d(values, indices, 2)[0])
    assert [scene.result[step.result] for step in scene.steps] == list(values.ravel())


@pytest.mark.parametrize(
    ("operation", "shape", "options"),
    [
        ("pixel_shuffle", (8, 2, 3), {"upscale_factor": 2}),
        ("pixel_unshuffle", (1, 4, 4), {"downscale_factor": 2}),
        ("channel_shuffle", (6, 2, 2), {"groups": 3}),
    ],
)
def test_shuffles_move_elements(operation, shape, options):
    x = array(*shape)
    scene = scene_of(operation, x, None, None, options)
    np.testing.assert_array_equal(scene.result, getattr(nc, operation)(x[None], **options)[0])
    for step in scene.steps:
        (tap,) = step.taps
        assert x[tap.source] == scene.result[step.result]
        assert scene.origins[step.result] == tap.source[0]


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("operation", ["convolve", "correlate"])
def test_a_true_convolution_turns_its_kernel(operation, mode):
    a, v = array(7), np.array([1.0, 2.0, -1.0, 3.0])
    scene = scene_of(operation, a, v, None, {"mode": mode})
    np.testing.assert_allclose(scene.result[0], getattr(np, operation)(a, v, mode))
    for step in scene.steps:
        assert sum(tap.value for tap in step.taps) == pytest.approx(scene.result[step.result])
    assert list(scene.steps[0].filter.ravel()) == list(v[::-1] if operation == "convolve" else v)


def test_a_problem_brings_its_options():
    x, w = array(1, 5, 5, 2), array(2, 2, 3, 3)
    problem = nc.ConvProblem.make("conv2d", x.shape, w.shape, np.float64, stride=2, padding=1, data_format="NHWC")
    by_name = nc.draw("conv2d", np.moveaxis(x, -1, 1), w, stride=2, padding=1)
    assert nc.draw(problem, x, w)._repr_svg_() == by_name._repr_svg_()
    pool = nc.PoolProblem.make("lp_pool2d", (1, 1, 4, 4), kernel_size=2, norm_type=3)
    assert (
        nc.draw(pool, array(4, 4))._repr_svg_()
        == nc.draw("lp_pool2d", array(4, 4), norm_type=3, kernel_size=2)._repr_svg_()
    )


POOLED = {
    "ceil": ("avg_pool2d", {"kernel_size": 2, "ceil_mode": True, "count_include_pad": False}),
    "dilated": ("max_pool2d", {"kernel_size": 2, "dilation": 2, "stride": 1, "padding": 1}),
    "gaussian": ("weighted_avg_pool2d", {"kernel_size": 3, "stride": 2, "padding": ((1, 0), (0, 1))}),
    "adaptive": ("adaptive_max_pool2d", {"output_size": (2, 3)}),
    "global": ("global_avg_pool", {}),
}


@pytest.mark.parametrize("case", POOLED)
def test_a_problem_of_a_pooling_brings_its_options(case):
    operation, options = POOLED[case]
    x = array(1, 5, 5)
    given = {"weights": "gaussian"} if case == "gaussian" else {}
    problem = nc.PoolProblem.make(operation, (1, *x.shape), **options, **given)
    assert nc.draw(problem, x)._repr_svg_() == nc.draw(operation, x, **options)._repr_svg_()


def test_a_problem_of_an_unpooling_brings_its_size():
    x = array(1, 5, 5)
    values, indices = nc.max_pool2d(x, 2, return_indices=True)
    problem = nc.PoolProblem.make("max_unpool2d", (1, 1, 2, 2), kernel_size=2, output_size=(5, 5))
    assert "1×2×2 → 1×5×5" in repr(nc.draw(problem, values, indices))


def test_weights_of_ones_own_are_not_in_a_problem():
    problem = nc.PoolProblem.make("weighted_avg_pool2d", (1, 1, 4, 4), kernel_size=2, weights="array")
    with pytest.raises(TypeError, match="weights are not in the problem"):
        nc.draw(problem, array(4, 4))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.int8(-128), "−128"), (1024, "1024"), (-99999.4, "−99999"), (100_000, "1e5"), (1.5e10, "1.5e10"),
        (12.345, "12.3"), (0.125, "0.12"), (-1e-7, "−1e−7"), (-0.0, "0"), (np.nan, "nan"), (-np.inf, "−∞"),
        (1 - 2000j, "1−2000i"),
    ],
)  # fmt: skip
def test_numbers_are_short(value, shown):
    assert number(value) == shown


def test_integers_that_wrap_are_shown_with_their_sum():
    drawing = nc.draw("conv1d", np.array([200, 100], np.uint8), np.array([1, 2], np.uint8))
    assert "sum of the products 400, as uint8 144" in drawing._repr_svg_()


def test_nan_is_drawn():
    assert "= nan" in nc.draw("lp_pool1d", [-1.0, 2.0], norm_type=2.5, kernel_size=2)._repr_svg_()
    assert "= nan" in nc.draw("conv1d", [np.inf, 2.0], [0.0, 1.0])._repr_svg_()


def test_of_several_nan_the_last_wins():
    _, indices = nc.max_pool1d([[np.nan, 1, np.nan]], 3, return_indices=True)
    (step,) = scene_of("max_pool1d", np.array([np.nan, 1, np.nan]), None, None, {"kernel_size": 3}).steps
    assert [tap.place[1] for tap in step.taps if tap.wins] == [indices.item()] == [2]


def texts(svg):
    return [e.text for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_svg_holds_the_numbers_of_each_step(theme, tmp_path):
    x, w = array(4, 4), array(3, 3)
    drawing = nc.draw("conv2d", x, w, theme=theme)
    svg = drawing.save(tmp_path / "picture.svg").read_text("utf-8")
    root = ET.fromstring(svg)
    assert len(drawing) == len(root.findall("{http://www.w3.org/2000/svg}g")) == 4
    shown = texts(drawing[3]._repr_svg_())
    result = nc.conv2d(x[None], w[None, None])[0]
    assert f"sum of the products = {number(result[1, 1])}" in shown
    for left, right in zip(x[1:, 1:].ravel(), w.ravel()):
        assert f"{number(left)}·{number(right)}" in shown


def test_pictures_on_one_page_move_by_themselves():
    names = [
        re.search(r"@keyframes (\w+)", nc.draw("conv1d", x, [1, 2])._repr_svg_())[1] for x in ([1, 2, 3], [1, 2, 3, 4])
    ]
    assert names[0] != names[1]


def test_a_gif_has_a_frame_for_each_step(tmp_path):
    drawing = nc.draw("max_pool1d", [3, 1, 2, 5, 4, 0], kernel_size=2)
    with Image.open(drawing.save(tmp_path / "picture.gif")) as picture:
        assert picture.n_frames == len(drawing) == 3
    with Image.open(drawing[1].save(tmp_path / "picture.png")) as picture:
        assert picture.width > picture.height


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("conv4d", [1]), {}, "operation must be one of"),
        (("conv1d", [1, 2]), {}, "conv1d takes a weight"),
        (("max_pool1d", [1, 2], [1]), {"kernel_size": 1}, "neither weight nor bias"),
        (("conv2d", np.ones((2, 1, 3, 3)), np.ones((1, 1, 3, 3))), {}, "one image of 2 spatial axes"),
        (("conv1d", np.ones(4), np.ones((3, 3))), {}, "weight must have 3 axes"),
        (("conv1d", np.ones(4), np.ones(3)), {"theme": "blue"}, "theme must be"),
        (("max_unpool1d", np.ones(4)), {"kernel_size": 2}, "needs the indices"),
        (("lp_pool1d", np.ones(4)), {"kernel_size": 2, "norm_type": np.inf}, "as max_pool"),
    ],
)
def test_errors_say_what_was_expected(arguments, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        nc.draw(*arguments, **options)


@pytest.mark.parametrize(
    ("operation", "weight", "options"),
    [
        ("conv2d", np.ones((3, 3)), {}),
        ("conv_transpose2d", np.ones((3, 3)), {}),
        ("correlate", np.ones((3, 3)), {}),
        ("max_pool2d", None, {"kernel_size": 3}),
        ("max_unpool2d", np.arange(1600).reshape(40, 40), {"kernel_size": 2}),
        ("pixel_unshuffle", None, {"downscale_factor": 2}),
    ],
)
def test_a_large_picture_is_refused_before_its_steps_are_made(operation, weight, options, monkeypatch):
    for part in (convolutions, moves, poolings):
        monkeypatch.setattr(part, "positions", lambda shape: pytest.fail("a step was made"))
    with pytest.raises(ValueError, match="at most 600 elements in 150 steps"):
        nc.draw(operation, np.ones((40, 40)), weight, **options)


def test_a_file_name_says_the_format(tmp_path):
    with pytest.raises(ValueError, match=r"end in .svg, .gif or .png"):
        nc.draw("conv1d", [1, 2, 3], [1, 1]).save(tmp_path / "picture.bmp")


def test_channels_of_shuffled_groups_see_all_inputs():
    layers = nn.Sequential(nn.Conv2d(9, 9, 1, groups=3), nn.ReLU(), nn.ChannelShuffle(3), nn.Conv2d(9, 9, 1, groups=3))
    assert "depends on 9 of 9 input channels; 54 weights" in nc.draw_channels(layers)._repr_svg_()
    plain = nc.draw_channels(layers[0], layers[3])
    assert "depends on 3 of 9 input channels" in plain._repr_svg_()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "begin with a convolution"),
        ([nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)], "takes 3 channels, but 4"),
        ([nn.Conv2d(3, 4, 1), nn.ChannelShuffle(3)], "must divide 4"),
        ([nn.Conv2d(3, 4, 1), nn.Flatten()], "got Flatten"),
        ([nn.Conv2d(3, 64, 1)], "at most 48"),
    ],
)
def test_channels_that_cannot_be_drawn(layers, message):
    with pytest.raises((ValueError, TypeError), match=message):
        nc.draw_channels(*layers)
