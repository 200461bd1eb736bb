"""Races: who takes part, who is right, what the tables, charts and files say."""

import importlib.util
import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import numconv as nc
from numconv import lab, nn
from numconv.cuda import MissingPart
from numconv.extras import MissingExtra
from numconv.lab import cases, peers, reference, roofline
from numconv.lab.layers import Layer, layers
from numconv.lab.operands import TOLERANCES, Operands
from numconv.lab.shapes import FAMILIES, GRADIENTS, POOLINGS, RESNET50
from numconv.ops.custom import parameters
from numconv.problem import FIRST, LAST, ConvProblem, PoolProblem

SMALL = ConvProblem.make("conv2d", (1, 3, 6, 7), (4, 3, 3, 3), padding=1)
CEILINGS = roofline.Ceilings(2, {"float32": 400.0, "float64": 200.0}, memory=50.0, read=60.0, cached=100.0)


@pytest.fixture(autouse=True)
def machine(monkeypatch, registry):
    """A machine whose ceilings need not be measured, and no kernels of other tests."""
    monkeypatch.setattr(roofline, "ceilings", lambda threads: CEILINGS)


def raced(kernels, problem=SMALL, **options):
    return lab.race(kernels, problem, **{"compare": False, "rounds": 1, "seconds": 1e-4, **options})


def right(x, w, out, stride, padding, dilation, groups):
    windows = sliding_window_view(x, w.shape[2:], (2, 3))[:, :, :: stride[0], :: stride[1]]
    out[...] = np.einsum("nchwkl,ockl->nohw", windows, w)


def off_by_one(x, w, out, *options):
    right(x, w, out, *options)
    out[..., -1] = 0


def idle(x, w, out, *options):
    """Leaves the result as it is."""


def raises(x, w, out, *options):
    raise OverflowError("of my own")


def test_the_right_are_timed_and_the_others_named():
    kernels = [nc.register("conv2d", f, name=f.__name__) for f in (right, off_by_one, idle, raises)]
    race = raced([*kernels, "rows"])
    (heat,) = race.heats
    found = {(r.name, r.packed): r for r in heat.results}
    for name in ("auto", "right"):
        for packed in (False, True):
            result = found[name, packed]
            assert result.right and 0 < result.seconds < math.inf and result.error <= 5e-6 and not result.failure
            assert result.gflops == pytest.approx(SMALL.flops / result.seconds / 1e9)
            assert result.attained == pytest.approx(heat.floor / result.seconds)
    for name in ("off_by_one", "idle"):
        assert found[name, False].wrong and found[name, True].wrong
        assert math.isnan(found[name, False].seconds)
    assert found["raises", False].failure.startswith("OverflowError: of my own")
    assert found["rows", False].failure.startswith("rejects: ")
    assert heat.floor == roofline.floor(SMALL, CEILINGS).seconds
    assert race.wrong == [
        f"{name}{plan} on {SMALL.brief}" for name in ("off_by_one", "idle", "raises") for plan in ("", " plan")
    ]
    shown = str(race)
    assert all(text in shown for text in ("of my own", "off_by_one: wrong by", "rows: rejects: ", "roofline"))
    assert max(map(len, shown.splitlines())) <= 100 and "\x1b" not in shown
    assert "\x1b[31moff_by_one" in race.text(colour=True)


def test_a_kernel_is_raced_itself_though_another_took_its_name():
    first = nc.register("conv2d", right, name="mine")
    other = nc.register("conv2d", idle, name="mine")
    assert not raced(first).wrong and raced(other).wrong
    with pytest.raises(ValueError, match="kernels must have different names, got two that are called 'mine'"):
        raced([first, other])


def test_elements_that_were_not_written_are_said_to_be():
    assert "idle: wrong: elements of the result were not written, or are NaN" in str(
        raced(nc.register("conv2d", lambda x, w, out, *options: out.fill(np.nan), name="idle"))
    )


def test_tables_fit_with_long_names():
    kernel = nc.register("conv2d", right, name="a_very_long_name_" * 8)
    for problem in (SMALL, [Layer("of_a_long_layer" * 8, SMALL)] * 2):
        assert max(map(len, str(raced(kernel, problem)).splitlines())) <= 100


@pytest.mark.parametrize("problem", [
    PoolProblem.make("max_pool2d", (0, 2, 6, 6), kernel_size=2), ConvProblem.make("conv2d", (0, 3, 6, 7), (4, 3, 3, 3)),
])  # fmt: skip
def test_nothing_to_compute_can_be_raced(problem, tmp_path):
    race = raced((), problem)
    assert not race.wrong and "roofline" in str(race)
    assert "roofline" in str(raced((), [problem, problem]))
    race.chart(tmp_path / "race.png")


@pytest.mark.parametrize(
    ("operation", "family"),
    [("conv2d", "resnet50"), ("conv2d_weight", "resnet50"), ("conv1d", "1d"), ("max_pool2d", "pooling")],
)
def test_layers_are_those_of_the_kernels_operation(operation, family, registry):
    names = parameters(operation)
    made = {}
    exec(f"def probe({', '.join(names)}):\n    pass", made)
    kernel = lab.kernel(operation, when=lambda problem: False)(made["probe"])
    race = lab.race(kernel, quick=True, compare=False, rounds=1, seconds=1e-4)
    assert {heat.problem.operation for heat in race.heats} == {operation}
    assert {heat.name.partition("/")[0] for heat in race.heats} == {family}


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"rounds": 0}, ValueError, "rounds must be at least 1, got 0"),
    ({"rounds": 1.5}, TypeError, "rounds must be an integer"),
    ({"seconds": 0}, ValueError, "seconds must be above 0, got 0"),
])  # fmt: skip
def test_wrong_options(options, error, words):
    with pytest.raises(error, match=words):
        raced((), **options)


def test_a_kernel_that_raises_as_it_packs_is_no_rejection():
    class Unpackable(nc.Algorithm):
        name = "unpackable"

        def cost(self, problem):
            return 1.0

        def prepare(self, problem, weight):
            raise OverflowError("in prepare")

    (heat,) = raced(nc.register("conv2d", Unpackable())).heats
    failures = {r.failure for r in heat.results if r.name == "unpackable"}
    assert failures == {"OverflowError: in prepare"}


def test_memory_that_holds_a_right_result_helps_nobody(monkeypatch):
    """Results of one contender lie where the next one writes."""
    nc.register("max_pool2d", Lazy())
    problem = PoolProblem.make("max_pool2d", (1, 2, 6, 6), kernel_size=2)
    (heat,) = raced("lazy", problem).heats
    assert [r.right for r in heat.results] == [True, False]


class Lazy(nc.Algorithm):
    name = "lazy"

    def cost(self, problem):
        return 1.0

    def run(self, problem, inputs, outputs):
        """Nothing."""


@pytest.mark.parametrize("layout", [FIRST, LAST])
@pytest.mark.parametrize("operation", ["conv1d", "conv2d", "conv2d_input", "conv2d_weight", "conv_transpose2d"])
def test_operands_are_those_of_the_problem(operation, layout):
    """The call makes the problem again, and its result is the oracle's."""
    ndim = 1 if "1d" in operation else 2
    x, kernel = (2, 4, 6, 5)[: ndim + 2], (3, 2)[:ndim]
    size = (x[0], *x[2:], x[1]) if layout == LAST else x
    options = {"stride": 2, "padding": ((1, 0), (2, 1))[:ndim], "groups": 2, "data_format": layout}
    transposed = "transpose" in operation
    weight = (4, 3, *kernel) if transposed else (6, 2, *kernel)
    more = {} if operation.endswith(("_input", "_weight")) else {"bias_shape": (6,), "residual": True}
    problem = ConvProblem.make(
        operation if transposed else f"conv{ndim}d",
        size,
        weight,
        **options,
        activation="relu" if more else None,
        **more,
    )
    problem = problem.with_operation(operation) if not more else problem
    operands = Operands(problem)
    with nc.trace() as trace:
        results = [operands.call("direct")(), operands.into("direct")()]
    assert [call.problem for call in trace.calls] == [problem] * 2
    assert operands.expected.shape == problem.result_shape == results[0].shape
    np.testing.assert_allclose(operands.expected, oracle(problem, operands.arrays), rtol=0, atol=1e-5 * operands.scale)
    for result in results:
        np.testing.assert_allclose(result, operands.expected, rtol=0, atol=1e-6 * operands.scale)
    plan = operands.plan("direct")
    assert (plan is None) == (not more)
    if plan is not None:
        np.testing.assert_array_equal(operands.planned(plan)(), results[0])


def oracle(problem, arrays):
    def first(array):
        return np.moveaxis(array, -1, 1) if problem.layout_out == LAST else array

    options = {
        "stride": problem.stride,
        "padding": problem.padding,
        "dilation": problem.dilation,
        "groups": problem.groups,
    }
    image = (problem.n, problem.ci, *problem.spatial)
    if problem.operation.endswith("_weight"):
        return reference.conv_weight(first(arrays["x"]), problem.weight_shape, first(arrays["grad"]), **options)
    if problem.direction == "input":
        swept = first(arrays["grad" if "grad" in arrays else "x"])
        result = reference.conv_input(image, arrays["weight"], swept, **options)
    else:
        result = reference.conv(first(arrays["x"]), arrays["weight"], **options)
    if "bias" in arrays:
        bias = arrays["bias"].reshape(-1, *(1,) * problem.ndim)
        result = np.maximum(result + bias + first(arrays["residual"]), 0)
    return np.moveaxis(result, 1, -1) if problem.layout_out == LAST else result


@pytest.mark.parametrize(
    "operation",
    [
        "max_pool2d", "avg_pool2d", "avg_pool2d_input", "lp_pool2d", "lp_pool2d_input", "weighted_avg_pool2d",
        "weighted_avg_pool2d_input", "adaptive_avg_pool2d", "adaptive_max_pool2d", "global_avg_pool",
        "global_avg_pool_input", "max_pool2d_input", "max_unpool2d", "max_unpool2d_input",
    ],
)  # fmt: skip
def test_every_pooling_can_be_raced(operation):
    options = {"kernel_size": 2}
    if operation.startswith(("adaptive", "global")):
        options = {"output_size": (3, 2)} if operation.startswith("adaptive") else {}
    if operation in ("max_pool2d_input", "max_unpool2d_input"):
        options = {"output_size": (3, 4) if operation == "max_pool2d_input" else (12, 16)}
    options |= {"norm_type": 2} if operation.startswith("lp") else {}
    options |= {"weights": "array"} if operation.startswith("weighted") else {}
    problem = PoolProblem.make(operation, (2, 3, 6, 8), **options)
    (heat,) = raced((), problem, compare=True).heats
    assert heat.results and all(result.right for result in heat.results)
    ours = Operands(problem)
    assert ours.expected.shape == problem.result_shape
    assert np.isfinite(ours.expected).all() and ours.expected.any()


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", cases.conv_cases()[::7], ids=lambda case: case.name)
def test_peers_agree(case, dtype):
    operation = f"conv{'_transpose' if case.transposed else ''}{len(case.kernel)}d"
    problem = ConvProblem.make(operation, case.x_shape, case.weight_shape, dtype, **case.options)
    problems = [problem, replace(problem, bias=True, activation=("relu", 0.0))]
    if not case.transposed:
        problems += [problem.with_operation(f"{operation}{end}") for end in ("_input", "_weight")]
    for each in problems:
        operands = Operands(each)
        for peer in peers.peers(each, operands.arrays):
            found = peer.read(peer.call())
            assert found.shape == each.result_shape
            bound = TOLERANCES[dtype] * operands.scale
            np.testing.assert_allclose(found, operands.expected, rtol=0, atol=bound, err_msg=peer.name)


@pytest.mark.peers
def test_peers_of_layers_take_part():
    race = lab.race((), "tiny/cifar_3x3", rounds=1, seconds=1e-4)
    assert {r.name for r in race.heats[0].results} == {"auto", "PyTorch", "ONNX Runtime", "SciPy"}
    (heat,) = raced((), "pooling/vgg_halving", compare=True, data_format="NHWC").heats
    assert {r.name for r in heat.results if r.right} == {"auto", "PyTorch"}


def test_names_mean_layers():
    assert [layer.name for layer in layers("resnet50/")] == [f"resnet50/{shape.name}" for shape in RESNET50]
    (layer,) = layers("pooling/resnet_stem", batch=2, dtype="float64", data_format="NHWC")
    assert layer.problem == PoolProblem.make(
        "max_pool2d", (2, 112, 112, 64), np.float64, kernel_size=3, stride=2, padding=1, data_format="NHWC"
    )
    assert layers([SMALL, Layer("mine", SMALL, 3)]) == [Layer(SMALL.brief, SMALL, 1), Layer("mine", SMALL, 3)]
    assert len(layers("", quick=True)) == len(FAMILIES) + 2  # with resnet50 and poolings
    assert sum(layer.count for layer in layers("resnet50/")) == 53
    assert all(shape in RESNET50 for shape in GRADIENTS["resnet50"]) and POOLINGS


def test_several_layers_are_a_table_with_sums():
    layer = layers("tiny/cifar_1x1")[0]
    race = raced("direct", [replace(layer, count=2), "tiny/squeeze_excite"])
    header, *rows, sums, attained = str(race).splitlines()
    assert header.split()[:3] == ["milliseconds", "vs", "peer"] and header.split()[4:] == [
        "auto", "plan", "direct", "direct", "plan",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows] == ["tiny/cifar_1x1", "tiny/squeeze_excite"]
    seconds = [[r.seconds for r in heat.results] for heat in race.heats]
    assert float(sums.split()[-1]) == pytest.approx(1e3 * (2 * seconds[0][-1] + seconds[1][-1]), rel=0.02)
    assert sums.startswith("sum") and attained.startswith("of roof")
    assert race.details().count("error") == 2


def test_all_means_every_algorithm_that_takes_it():
    (heat,) = raced("all").heats
    names = [r.name for r in heat.results if not r.packed]
    explained = nc.algorithms("conv2d")
    assert names[0] == "auto" and "direct" in names and set(names[1:]) <= set(explained)
    assert [r.name for r in heat.results if r.packed] == ["auto"]
    assert not [r for r in heat.results if r.failure]


def test_a_gradients_kernel_races_the_gradients_of_layers():
    class Mine(nc.Algorithm):
        name, operation = "mine", "conv2d_weight"

        def cost(self, problem):
            return 1.0

        def run(self, problem, packed, x, bias, residual, out, workspace):
            out[...] = reference.conv_weight(
                x, problem.weight_shape, packed, problem.stride, problem.padding, problem.dilation, problem.groups
            )

    mine = nc.register("conv2d_weight", Mine())
    (heat,) = raced(mine, "tiny/digits_3x3").heats
    assert heat.problem.operation == "conv2d_weight"
    assert {(r.name, r.packed) for r in heat.results if r.right} == {("auto", False), ("mine", False)}


def test_layers_of_other_operations_are_left_out():
    nc.register("conv2d", right, name="right")
    pool = PoolProblem.make("max_pool2d", (1, 2, 6, 6), kernel_size=2)
    assert [heat.problem for heat in raced("right", [pool, SMALL]).heats] == [SMALL]


@pytest.mark.parametrize(
    ("kernels", "problem", "error", "words"),
    [
        ("nobody", SMALL, ValueError, "'nobody' for conv2d on cpu; there are .*im2col"),
        (3, SMALL, TypeError, "got 3"),
        ([3], SMALL, TypeError, "got 3"),
        ((), "no_such_layer", ValueError, "no_such_layer"),
        ((), 7, TypeError, "problem must be"),
        ((), replace(SMALL, dtype=np.dtype(np.int32)), TypeError, "int32"),
    ],
)
def test_what_cannot_be_raced(kernels, problem, error, words):
    with pytest.raises(error, match=words):
        raced(kernels, problem)


def test_without_a_gpu_it_says_so(monkeypatch):
    from numconv.kernels.cuda import toolkit

    def need():
        raise MissingPart("there is no GPU")

    monkeypatch.setattr(toolkit, "need", need)
    with pytest.raises(MissingPart, match=r"no GPU|numba-cuda is not installed"):
        raced((), replace(SMALL, device="cuda"))


def test_the_problems_of_a_model():
    nn.init.seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1),
    )  # fmt: skip
    model[1].eval()
    found = lab.problems(model, (1, 2, 8, 8))
    assert [(layer.name, layer.problem.operation, layer.count) for layer in found] == [
        ("0", "conv2d", 1), ("2", "conv2d", 1), ("3", "max_pool2d", 1), ("4", "conv2d", 2),
    ]  # fmt: skip
    assert model.training and not model[1].training
    assert found[1].problem == ConvProblem.make("conv2d", (1, 4, 8, 8), (4, 4, 3, 3), padding=1, bias_shape=(4,))
    race = raced("direct", found)
    assert [heat.name for heat in race.heats] == ["0", "2", "3", "4"] and not race.wrong
    names = [layer.name for layer in lab.problems("lenet5", (1, 1, 32, 32))]
    assert names == ["features.0", "features.2", "features.3", "features.5"]


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [(nn.ReLU(), ValueError, "ReLU"), (len, TypeError, "builtin"), ("lenet7", ValueError, "lenet7")],
)
def test_models_without_problems(model, error, words):
    with pytest.raises(error, match=words):
        lab.problems(model, (1, 3))


def test_the_file_and_the_pictures(tmp_path):
    for race in (raced("direct"), raced("direct", [SMALL, replace(SMALL, n=2)])):
        race.json(tmp_path / "race.json")
        found = json.loads((tmp_path / "race.json").read_text())
        assert found["threads"] == nc.get_num_threads()
        assert [p["problem"]["n"] for p in found["problems"]] == [heat.problem.n for heat in race.heats]
        assert found["problems"][0]["results"][0]["seconds"] == race.heats[0].results[0].seconds
        race.chart(tmp_path / "race.png")
        assert (tmp_path / "race.png").read_bytes().startswith(b"\x89PNG")
        assert "<pre>" in race._repr_html_() and "data:image/png;base64," in race._repr_html_()


def test_without_matplotlib_there_is_no_picture(monkeypatch, tmp_path):
    race = raced(())
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match="matplotlib"):
        race.chart(tmp_path / "race.png")
    assert race._repr_html_().startswith("<pre>") and "image/png" not in race._repr_html_()


def test_no_time_is_null_in_the_file(tmp_path):
    nc.register("conv2d", off_by_one, name="off_by_one")
    raced("off_by_one").json(tmp_path / "race.json")
    results = json.loads((tmp_path / "race.json").read_text())["problems"][0]["results"]
    assert [r["seconds"] for r in results if r["name"] == "off_by_one"] == [None, None]


def test_kept_ceilings_are_used(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(roofline, "cpu_name", lambda: "mine")
    kept = {"threads": 4}
    for value, name in enumerate(("fma", "fma_float64", "bandwidth", "read", "cached"), 1):
        kept |= {f"{name}_1": value, f"{name}_all": 3 * value}
    monkeypatch.setattr(roofline, "entries", lambda name: {"mine": kept})
    roofline.ceilings.cache_clear()
    try:
        one, two, four, many = (roofline.ceilings(n) for n in (1, 2, 4, 9))
    finally:
        roofline.ceilings.cache_clear()
    assert one == roofline.Ceilings(1, {"float32": 1.0, "float64": 2.0}, 3.0, 4.0, 5.0)
    assert (two.threads, two.fma["float32"], two.cached) == (2, 2.0, 10.0)
    assert four == many == roofline.Ceilings(4, {"float32": 3.0, "float64": 6.0}, 9.0, 12.0, 15.0)


def test_peers_are_found_where_they_are_installed():
    found = {peer.name for peer in peers.peers(SMALL, Operands(SMALL).arrays)}
    wanted = {"PyTorch": ["torch"], "ONNX Runtime": ["onnx", "onnxruntime"], "SciPy": ["scipy"]}
    assert found == {name for name, modules in wanted.items() if all(map(importlib.util.find_spec, modules))}
