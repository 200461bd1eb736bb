"""PyTorch's own samples: what it tests its operations with, given to ours.

Every sample of an operation must give PyTorch's result, and every input that PyTorch refuses must be refused, save
those of `MEANINGS`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import numconv as nc

NEEDED = "install the peers: pip install 'numconv[peers]'"
torch = pytest.importorskip("torch", reason=NEEDED)
pytest.importorskip("expecttest", reason=NEEDED)

from torch.nn import functional as F  # noqa: E402
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:Using padding='same' with even:UserWarning")]

BOUND = {"float32": 5e-6, "complex64": 5e-6, "float64": 1e-12, "complex128": 1e-12}
REAL = (torch.float32, torch.float64)
COMPLEX = (torch.complex64, torch.complex128)

CONVOLUTIONS = {f"{name}{n}d" for name in ("conv", "conv_transpose") for n in (1, 2, 3)}
AVERAGES = {f"{name}{n}d" for name in ("avg_pool", "adaptive_avg_pool") for n in (1, 2, 3)}
MAXIMA = {f"{name}{n}d" for name in ("max_pool", "adaptive_max_pool", "max_unpool") for n in (1, 2, 3)}
MOVES = {"unfold", "pad", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"}
NORMS = {"batch_norm", "group_norm", "layer_norm", "local_response_norm"}
ACTIVATIONS = {"elu", "gelu", "hardswish", "leaky_relu", "relu", "relu6", "silu"}
PLAIN = {"log_softmax", "sigmoid", "softmax", "tanh"}  # torch.sigmoid, not torch.nn.functional.sigmoid
NAMES = CONVOLUTIONS | AVERAGES | MAXIMA | MOVES | NORMS | ACTIVATIONS | PLAIN | {"interpolate", "linear"}
LINEAR = CONVOLUTIONS | AVERAGES | {"linear"}
WITH_COMPLEX = CONVOLUTIONS | MOVES - {"channel_shuffle"} | {"linear"}


def name_of(op):
    return op.name.removeprefix("nn.functional.")


OPS = [
    op
    for op in op_db
    if op.name in PLAIN or (name_of(op) in NAMES and op.name.startswith("nn.functional."))
    if op.variant_test_name != "complex"  # silu of complex numbers, which ours refuses
]


def cases(names, dtypes):
    return [
        pytest.param(op, dtype, id=f"{op.formatted_name}-{str(dtype).removeprefix('torch.')}")
        for op in OPS
        for dtype in dtypes
        if name_of(op) in names and dtype in op.dtypes
    ]


def to_numpy(value):
    """Tensors as arrays that share their memory; dtypes and sizes as NumPy's."""
    if isinstance(value, torch.Tensor):
        return value.detach().resolve_conj().resolve_neg().numpy()
    if isinstance(value, torch.dtype):
        return np.dtype(str(value).removeprefix("torch."))
    if isinstance(value, (tuple, list)):
        return tuple(map(to_numpy, value))
    return value


def ours(op, sample):
    keywords = {name: to_numpy(value) for name, value in sample.kwargs.items()}
    return getattr(nc, name_of(op))(*to_numpy((sample.input, *sample.args)), **keywords)


def theirs(op, sample):
    return to_numpy(op(sample.input, *sample.args, **sample.kwargs))


def tensors(sample):
    return [v for v in (sample.input, *sample.args, *sample.kwargs.values()) if isinstance(v, torch.Tensor)]


def largest(array):
    """The largest finite absolute value; 1 where there is none or it is 0."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0)) or 1.0


def scale_of(op, sample, expected):
    """What errors are relative to: of a linear operation, its result for the absolute values of its operands."""
    if name_of(op) in LINEAR:
        return largest(theirs(op, sample.transform(lambda t: t.abs() if isinstance(t, torch.Tensor) else t)))
    return largest(to_numpy(sample.input) if name_of(op) == "interpolate" else expected)


def assert_close(got, expected, scale, message):
    """Equal dtype, shape and non-finite values; finite values within the bound of the dtype."""
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), message
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite], err_msg=message)
    error = np.abs(got[finite] - expected[finite]).max(initial=0) / scale
    assert error <= BOUND[expected.dtype.name], f"error {error:.1e} of {message}"


def assert_equal(got, expected, message):
    np.testing.assert_array_equal(got, expected, err_msg=message, strict=True)


@pytest.fixture(autouse=True)
def torch_state():
    """A fixed seed; one thread, since two that wait for each other over tiny samples take ten times as long."""
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_operation_has_samples():
    assert {name_of(op) for op in OPS} == NAMES


@pytest.mark.parametrize("op, dtype", cases(NAMES, REAL) + cases(WITH_COMPLEX, COMPLEX))
def test_samples(op, dtype):
    samples = list(op.sample_inputs("cpu", dtype))
    assert samples
    for i, sample in enumerate(samples):
        message = f"sample {i}: {sample.summary()}"
        given = sample.transform(lambda t: t.clone() if isinstance(t, torch.Tensor) else t)
        got, expected = ours(op, given), theirs(op, sample)
        if isinstance(expected, tuple):
            assert len(got) == 2, message
            assert_equal(got[1], expected[1], message)
            got, expected = got[0], expected[0]
        if name_of(op) in MAXIMA | MOVES:
            assert_equal(got, expected, message)
        else:
            assert_close(got, expected, scale_of(op, sample, expected), message)
        for after, wanted in zip(tensors(given), tensors(sample)):  # as they were, save batch_norm's statistics
            if name_of(op) == "batch_norm":
                assert_close(to_numpy(after), to_numpy(wanted), largest(to_numpy(wanted)), f"operands of {message}")
            else:
                assert_equal(to_numpy(after), to_numpy(wanted), f"operands of {message}")


def promoted(op, sample):
    kind = np.result_type(*map(to_numpy, tensors(sample)))
    dtype = getattr(torch, kind.name)
    return theirs(op, sample.transform(lambda t: t.to(dtype) if isinstance(t, torch.Tensor) else t))


def strided_same(op, sample):
    """ceil(input / stride) windows; the padding that they need is halved, what is odd of it goes after."""
    x, weight, bias = tensors(sample)
    stride, around = sample.kwargs["stride"], []
    for n, k in zip(x.shape[:1:-1], weight.shape[:1:-1]):
        total = max((-(-n // stride) - 1) * stride + k - n, 0)
        around += [total // 2, total - total // 2]
    return to_numpy(op(F.pad(x, around), weight, bias, stride, 0, 1, sample.kwargs["groups"]))


def no_channels(op, sample):
    return to_numpy(sample.input)  # the kernels of these samples have one tap


class Meaning(NamedTuple):
    """An input that PyTorch refuses and numconv gives a meaning."""

    name: str
    given: tuple[str, ...] | tuple[tuple[int, ...], ...]  # dtypes or shapes
    why: str
    result: Callable[[Any, Any], np.ndarray]


PROMOTED = "operands are promoted as NumPy promotes them"
EMPTY = "axes may have size 0: without a batch this is an input of no channels"
MEANINGS = [
    Meaning("conv1d", ("int64", "int64", "float64"), PROMOTED, promoted),
    Meaning("conv1d", ("float64", "float64", "complex128"), PROMOTED, promoted),
    Meaning("conv2d", ("int64", "int64", "float64"), PROMOTED, promoted),
    Meaning("conv2d", ("float64", "float64", "complex128"), PROMOTED, promoted),
    Meaning("conv3d", ("int64", "int64", "float64"), PROMOTED, promoted),
    Meaning("conv3d", ("float64", "float64", "complex128"), PROMOTED, promoted),
    Meaning("conv3d", ((18, 27, 9, 1, 9), (9, 9, 9, 1, 9), (9,)), "'same' has strides, as in TensorFlow", strided_same),
    Meaning("max_pool1d", ((0, 10),), EMPTY, no_channels),
    Meaning("max_pool3d", ((0, 1, 2, 10),), EMPTY, no_channels),
]


def meaning_of(op, sample):
    given = tensors(sample)
    keys = tuple(str(t.dtype).removeprefix("torch.") for t in given), tuple(tuple(t.shape) for t in given)
    return next((m for m in MEANINGS if m.name == name_of(op) and m.given in keys), None)


@pytest.mark.parametrize(
    "op", [pytest.param(op, id=op.formatted_name) for op in OPS if op.error_inputs_func is not None]
)
def test_error_inputs(op):
    inputs, met = [error.sample_input for error in op.error_inputs("cpu")], set()
    assert inputs
    for sample in inputs:
        meaning = meaning_of(op, sample)
        try:
            got = ours(op, sample)
        except (ValueError, TypeError):
            assert meaning is None, f"refused {sample.summary()}, which has a meaning: {meaning.why}"
            continue
        assert meaning is not None, f"accepted {sample.summary()}, with result {got}"
        met.add(meaning)
        expected = meaning.result(op, sample)
        assert_close(got, expected, largest(expected), meaning.why)
    assert met == {m for m in MEANINGS if m.name == name_of(op)}


def vjp(op, sample, grad, count=1):
    """PyTorch's gradients with respect to the first operands."""
    result = op(sample.input, *sample.args, **sample.kwargs)
    result = result[0] if isinstance(result, tuple) else result
    return to_numpy(torch.autograd.grad(result, tensors(sample)[:count], grad))


def positive(sample):
    """The sample with the absolute values of its numbers, to be differentiated."""
    return sample.transform(lambda t: t.detach().abs().requires_grad_() if isinstance(t, torch.Tensor) else t)


@pytest.mark.parametrize("op, dtype", cases({"conv1d", "conv2d", "conv3d"}, REAL + COMPLEX))
def test_convolution_gradients(op, dtype):
    samples = list(op.sample_inputs("cpu", dtype, requires_grad=True))
    assert samples
    for i, sample in enumerate(samples):
        message = f"sample {i}: {sample.summary()}"
        grad = torch.randn(theirs(op, sample).shape, dtype=dtype)
        conjugates = sample.input.conj(), sample.args[0].conj()  # ours are plain transposes
        x, weight, g = map(to_numpy, (*conjugates, grad))
        expected, scales = vjp(op, sample, grad, 2), vjp(op, positive(sample), grad.abs(), 2)
        for_input = getattr(nc, f"{name_of(op)}_input")(x.shape, weight, g, **sample.kwargs)
        for_weight = getattr(nc, f"{name_of(op)}_weight")(x, weight.shape, g, **sample.kwargs)
        assert_close(for_input, expected[0], largest(scales[0]), f"input's gradient of {message}")
        assert_close(for_weight, expected[1], largest(scales[1]), f"weight's gradient of {message}")


def pooling_gradient(op, sample, grad):
    """Ours, for a sample given to PyTorch."""
    name, x, arguments = name_of(op), to_numpy(sample.input), to_numpy(sample.args)
    keywords = {name: to_numpy(value) for name, value in sample.kwargs.items()}
    gradient = getattr(nc, f"{name}_input")
    if name.startswith("avg"):
        return gradient(x.shape, grad, *arguments, **keywords)
    if name.startswith("adaptive_avg"):
        return gradient(x.shape, grad)
    if name.startswith("max_unpool"):
        return gradient(x.shape, arguments[0], grad)
    _, indices = getattr(nc, name)(x, *arguments[:1], **keywords | {"return_indices": True})
    return gradient(x.shape, indices, grad)


@pytest.mark.parametrize("op, dtype", cases(AVERAGES | MAXIMA, REAL))
def test_pooling_gradients(op, dtype):
    samples = list(op.sample_inputs("cpu", dtype, requires_grad=True))
    assert samples
    for i, sample in enumerate(samples):
        message = f"sample {i}: {sample.summary()}"
        result = theirs(op, sample)
        result = result[0] if isinstance(result, tuple) else result
        grad = torch.randn(result.shape, dtype=dtype)
        (expected,), (scale,) = vjp(op, sample, grad), vjp(op, sample, grad.abs())
        assert_close(pooling_gradient(op, sample, to_numpy(grad)), expected, largest(scale), message)


DTYPES = pytest.mark.parametrize("dtype", REAL, ids=lambda dtype: str(dtype).removeprefix("torch."))


def draw(low, high, n):
    return torch.randint(low, high + 1, (n,)).tolist()


@DTYPES
def test_fold(dtype):  # op_db has no samples
    for _ in range(20):
        size, options = draw(5, 9, 2), (draw(1, 3, 2), draw(1, 2, 2), draw(0, 2, 2), draw(1, 3, 2))
        x = torch.randn(F.unfold(torch.empty(2, 3, *size), *options).shape, dtype=dtype)
        options = size, *options
        scale = largest(to_numpy(F.fold(x.abs(), *options)))
        assert_close(nc.fold(to_numpy(x), *options), to_numpy(F.fold(x, *options)), scale, f"fold{options}")


@DTYPES
@pytest.mark.parametrize("norm_type", [1, 2, 2.5, 3])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_lp_pool(n, norm_type, dtype):  # op_db has no samples
    theirs, ours, gradient = getattr(F, f"lp_pool{n}d"), getattr(nc, f"lp_pool{n}d"), getattr(nc, f"lp_pool{n}d_input")
    for ceil_mode in (False, True) * 5:
        x = torch.randn(2, 3, *draw(5, 9, n), dtype=dtype)
        if norm_type not in (1, 2):  # a root of a negative number is NaN
            x = x.abs()
        kernel, stride = draw(1, 4, n), draw(1, 3, n)
        options = norm_type, *((kernel, stride) if n > 1 else (*kernel, *stride)), ceil_mode
        expected, message = theirs(x.requires_grad_(), *options), f"{options} on {x.shape}"
        grad = torch.randn(expected.shape, dtype=dtype)
        of_x = to_numpy(torch.autograd.grad(expected, x, grad)[0])
        scale = largest(to_numpy(theirs(x.abs(), *options)))
        assert_close(ours(to_numpy(x), *options), to_numpy(expected), scale, message)
        assert_close(gradient(to_numpy(x), to_numpy(grad), *options), of_x, largest(of_x), f"gradient of {message}")
