"""Module: what is in it, what is done to it, hooks, weights, how it is shown."""

import copy
import gc
import itertools
import pickle
import weakref

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from processes import run

import numconv as nc
from numconv import nn
from numconv.autograd import Tensor
from numconv.autograd import functional as F

RNG = np.random.default_rng(0)


class Scale(nn.Module):
    """factor * x, and a count of its calls."""

    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = nn.Parameter([factor])
        self.register_buffer("calls", np.array(0))
        self.register_buffer("last", None)
        self.register_buffer("cache", np.zeros(2), persistent=False)

    def forward(self, x):
        self.calls.copy_(self.calls + 1)
        return self.factor * x


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Scale(3.0)
        self.second = self.first
        self.head = nn.Parameter(np.ones(2))

    def forward(self, x):
        return self.second(self.first(x)) + self.head


def net():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 4, 1, bias=False)))


# --- attributes


def test_parameters_buffers_and_modules_are_found_by_assignment():
    m = Twice()
    assert [n for n, _ in m.named_parameters()] == ["head", "first.factor"]
    assert [n for n, _ in m.named_parameters(remove_duplicate=False)] == ["head", "first.factor", "second.factor"]
    assert [n for n, _ in m.named_modules()] == ["", "first"]
    assert [n for n, _ in m.named_children()] == ["first"]
    assert [n for n, _ in m.named_buffers()] == ["first.calls", "first.cache"]
    assert len([*m.parameters(recurse=False)]) == 1
    assert {"head", "first", "second"} <= set(dir(m))
    del m.second
    assert not hasattr(m, "second")
    m.first = None
    assert [n for n, _ in m.named_modules()] == [""]


def test_a_name_moves_when_another_kind_is_assigned():
    m = nn.Module()
    m.thing = 3
    m.thing = nn.Parameter(np.ones(2))
    assert "thing" not in vars(m) and len([*m.parameters()]) == 1
    m.thing = Scale()
    assert [n for n, _ in m.named_parameters()] == ["thing.factor"]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda m: setattr(m.first, "factor", np.ones(1)), TypeError, "factor is a parameter"),
        (lambda m: setattr(m, "first", 3), TypeError, "first is a module"),
        (lambda m: setattr(m.first, "calls", 3), TypeError, "calls is a buffer"),
        (lambda m: m.register_parameter("w", Tensor(np.ones(1))), TypeError, "param"),
        (lambda m: m.register_module("w", 3), TypeError, "module"),
        (lambda m: m.register_buffer("forward", None), KeyError, "forward"),
        (lambda m: m.register_buffer("a.b", None), ValueError, "dot"),
        (lambda m: m.unknown, AttributeError, "'Twice' object has no attribute 'unknown'"),
        (lambda m: m.get_submodule("first.deep"), AttributeError, "deep"),
        (lambda m: m.get_parameter("first.calls"), AttributeError, "parameter 'calls'"),
        (lambda m: m.train("yes"), ValueError, "mode"),
        (lambda m: m.to(device="tpu"), ValueError, "device"),
        (lambda m: m.to(np.int32), TypeError, "dtype"),
        (lambda m: m.register_forward_hook(3), TypeError, "hook"),
        (lambda m: m.load_state_dict([1]), TypeError, "state_dict"),
        (lambda m: m.load_state_dict({"head": "a"}), TypeError, "head"),
        (lambda m: nn.Module()(1), NotImplementedError, "forward"),
    ],
)
def test_errors(change, error, said):
    with pytest.raises(error, match=said):
        change(Twice())


def test_attributes_before_init_are_refused():
    class Early(nn.Module):
        def __init__(self):
            self.w = nn.Parameter([1.0])

    with pytest.raises(AttributeError, match="__init__"):
        Early()


def test_dotted_names():
    m = net()
    assert m.get_submodule("1.1") is m[1][1]
    assert m.get_submodule("") is m
    assert m.get_parameter("0.weight") is m[0].weight
    assert Twice().get_buffer("first.calls").shape == ()


def test_parameters_and_buffers_are_copies():
    given = np.ones(3)
    p, m = nn.Parameter(given), nn.Module()
    p.data[...] = 5
    m.register_buffer("kept", given)
    m.load_state_dict({"kept": np.zeros(3)})
    assert_array_equal(given, 1)
    assert p.requires_grad and p.is_leaf
    assert repr(p) == "Parameter containing:\nTensor([5., 5., 5.], requires_grad=True)"


def test_layers_load_nothing_but_numpy(tmp_path):
    code = """
import json, sys
import numpy
from numconv import nn, optim
nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
loaded = {name.partition(".")[0] for name in sys.modules}
print(json.dumps(sorted(loaded & {"numba", "llvmlite", "scipy", "PIL", "safetensors", "tqdm", "matplotlib"})))
"""
    (tmp_path / "code.py").write_text(code)
    assert run(tmp_path / "code.py") == []


# --- what is done to it


def test_shared_parameters_gradients_add():
    m, x = Twice(), np.array([1.0, 2.0])
    m(x).sum().backward()
    assert_allclose(m.first.factor.grad.numpy(), 2 * 3.0 * x.sum())


def test_train_eval_freeze_zero_grad_apply():
    m = net()
    assert m.training and not m.eval()[1][1].training and m.train()[1][1].training
    m[0].requires_grad_(False)
    m(RNG.standard_normal((1, 2, 8, 8))).sum().backward()
    assert m[0].weight.grad is None and m[1][1].weight.grad is not None
    m.zero_grad(set_to_none=False)
    assert_array_equal(m[1][1].weight.grad.numpy(), 0)
    m.zero_grad()
    assert m[1][1].weight.grad is None
    seen = []
    assert m.apply(seen.append) is m
    assert seen == [m[0], m[1][0], m[1][1], m[1], m]


def test_to_another_dtype():
    m = Twice()
    before = m.first.factor
    m(np.ones(2)).sum().backward()
    assert m.to(np.float64) is m and m.float().double() is m
    assert m.first.factor is before and before.dtype == np.float64 and before.grad.dtype == np.float64
    assert m.first.calls.dtype == np.int64
    assert m.to("cpu", np.float32).first.cache.dtype == np.float32


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent_and_keep_sharing(duplicate):
    m = Twice().eval()
    other = duplicate(m)
    assert other.first is other.second and not other.first.training
    other.head.data[...] = 7
    other.first.factor.requires_grad_(False)
    assert_array_equal(m.head.numpy(), 1)
    assert m.first.factor.requires_grad
    assert isinstance(other.head, nn.Parameter)
    x = np.ones(2)
    assert_array_equal((other(x) - other.head).numpy(), (m(x) - m.head).numpy())


def test_a_module_goes_with_its_last_reference():
    m = net()
    gone = weakref.ref(m[1][1])
    m(np.ones((1, 2, 8, 8), "float32")).sum().backward()
    del m
    gc.collect()
    assert gone() is None


# --- containers


def test_sequential_is_a_list():
    m = nn.Sequential(*(Scale(float(i)) for i in range(1, 5)))
    assert len(m) == 4 and [s.factor.item() for s in m] == [1, 2, 3, 4]
    assert m[-1] is m[3]
    assert [s.factor.item() for s in m[1:3]] == [2, 3] and isinstance(m[1:3], nn.Sequential)
    assert_allclose(m[:3](np.ones(1)).numpy(), 6)
    m[0] = Scale(10.0)
    del m[1]
    assert list(m._modules) == ["0", "1", "2"] and [s.factor.item() for s in m] == [10, 3, 4]
    m.append(Scale(5.0)).insert(1, Scale(6.0))
    assert [s.factor.item() for s in m] == [10, 6, 3, 4, 5]
    assert m.pop(-1).factor.item() == 5 and len(m) == 4
    del m[1:3]
    assert [s.factor.item() for s in m] == [10, 4]
    with pytest.raises(IndexError, match="index"):
        m[2]
    named = nn.Sequential({"a": Scale(), "b": Scale()})
    assert list(named.state_dict()) == ["a.factor", "a.calls", "b.factor", "b.calls"]
    assert named[1] is named.b and isinstance(named[:1].a, Scale)


def test_module_list_and_dict():
    m = nn.ModuleList([Scale(1.0)])
    m.extend([Scale(2.0), Scale(3.0)])
    assert [n for n, _ in m.named_parameters()] == ["0.factor", "1.factor", "2.factor"]
    assert isinstance(m[1:], nn.ModuleList) and len(m[1:]) == 2
    with pytest.raises(NotImplementedError):
        m(1)
    d = nn.ModuleDict({"a": Scale(1.0), "b": Scale(2.0)})
    d["c"] = Scale(3.0)
    assert list(d) == ["a", "b", "c"] and "b" in d and len(d) == 3
    assert d.pop("b").factor.item() == 2
    del d["a"]
    assert list(d.keys()) == ["c"] and [m.factor.item() for m in d.values()] == [3]
    d.update([("e", Scale(4.0))])
    assert [n for n, _ in d.items()] == ["c", "e"]
    d.clear()
    assert not d


def test_repr():
    assert repr(net()) == (
        "Sequential(\n"
        "  (0): Conv2d(2, 3, kernel_size=(3, 3), stride=(1, 1))\n"
        "  (1): Sequential(\n"
        "    (0): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)\n"
        "    (1): Conv2d(3, 4, kernel_size=(1, 1), stride=(1, 1), bias=False)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.ModuleList([Scale(), Scale(), net()])).startswith("ModuleList(\n  (0-1): 2 x Scale()\n  (2): Seq")
    assert repr(nn.ModuleList()) == "ModuleList()"
    assert repr(nn.Sequential()) == "Sequential()"


# --- hooks


def test_forward_hooks_see_and_change():
    m, seen = Scale(2.0), []
    before = m.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    after = m.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].item(), output.item())))
    changed = m.register_forward_hook(lambda module, inputs, output: output * 10)
    assert m(Tensor([1.0])).item() == 40
    assert seen == [(2.0, 4.0)]
    changed.remove()
    with before:
        assert m(Tensor([1.0])).item() == 4
    after.remove()
    assert m(Tensor([1.0])).item() == 2
    assert len(seen) == 2


def test_backward_hooks_see_the_part_of_their_module():
    m, seen = Scale(3.0), []
    m.register_full_backward_hook(lambda module, into, out: seen.append((into[0].numpy(), out[0].numpy())))
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    (m(x) * 5 + x).sum().backward()  # x is used elsewhere, too
    assert_allclose(seen, [([15, 15], [5, 5])])
    assert_allclose(x.grad.numpy(), [16, 16])
    assert m.factor.grad.item() == 15


def test_backward_hooks_change_the_gradient():
    m = Scale(3.0)
    handle = m.register_full_backward_hook(lambda module, into, out: (into[0] * 100,))
    x = Tensor(np.array([1.0]), requires_grad=True)
    m(x).sum().backward()
    assert x.grad.item() == 300
    handle.remove()
    m(x).sum().backward()
    assert x.grad.item() == 303


def test_backward_hooks_with_several_inputs():
    class Product(nn.Module):
        def forward(self, a, b, c):
            return a * b * c, a + b

    m, seen = Product(), []
    m.register_full_backward_hook(lambda module, into, out: seen.append((into, out)))
    a, b = (Tensor(np.array([v]), requires_grad=True) for v in (2.0, 3.0))
    y, _ = m(a, b, np.array([5.0]))
    y.sum().backward()
    ((into, out),) = seen
    assert [g and g.item() for g in into] == [15, 10, None]
    assert [g and g.item() for g in out] == [1, None]
    m.register_full_backward_hook(lambda module, into, out: into)
    with pytest.raises(RuntimeError, match="one of them"):
        m(a, b, 1.0)[0].sum().backward()


def test_backward_hooks_without_a_gradient_of_the_input():
    m, seen = Scale(3.0), []
    m.register_full_backward_hook(lambda module, into, out: seen.append((into, out[0].item())))
    m(np.array([2.0])).sum().backward()
    assert seen == [((None,), 1.0)]
    assert m.factor.grad.item() == 2


# --- weights


def test_state_dict_round_trip():
    m = Twice()
    m(np.ones(2))
    state = m.state_dict()
    assert list(state) == ["head", "first.factor", "first.calls", "second.factor", "second.calls"]
    assert state["first.calls"] == 2 and state["first.calls"].dtype == np.int64
    assert not any(array.flags.writeable for array in state.values())
    assert next(iter(m.state_dict(prefix="model."))) == "model.head"
    other = Twice()
    assert repr(other.load_state_dict(copy.deepcopy(state))) == "<All keys matched successfully>"
    assert_array_equal(other(np.ones(2)).numpy(), m(np.ones(2)).numpy())


def test_weights_that_do_not_fit_are_listed_and_nothing_is_loaded():
    m = net()
    before = copy.deepcopy(m.state_dict())
    given = {"0.weight": np.zeros((3, 2, 3, 3)), "1.1.weight": np.zeros((4, 3, 1)), "extra": np.zeros(1)}
    with pytest.raises(RuntimeError) as caught:
        m.load_state_dict(given)
    message = str(caught.value)
    assert message.startswith("Error(s) in loading state_dict for Sequential:\n\t")
    for part in ("'extra'", "'0.bias'", "size mismatch for 1.1.weight", "(4, 3, 1)", "(4, 3, 1, 1)"):
        assert part in message
    for name, array in m.state_dict().items():
        assert_array_equal(array, before[name])


def test_not_strict():
    m = net()
    found = m.load_state_dict({"0.bias": np.ones(3), "more": np.ones(1)}, strict=False)
    assert found.missing_keys == ["0.weight", "1.1.weight"] and found.unexpected_keys == ["more"]
    assert "0.weight" in repr(found) and "more" in repr(found)
    assert_array_equal(m[0].bias.numpy(), 1)
    with pytest.raises(RuntimeError, match="size mismatch"):
        m.load_state_dict({"0.bias": np.ones(4)}, strict=False)


def test_weights_are_converted_and_copied():
    m, given = Scale(), np.array([0.1], "float64")
    assert m.factor.dtype == np.float64  # as what it was made of
    m.float().load_state_dict({"factor": given, "calls": np.array(3)})
    given[...] = 9
    assert m.factor.item() == np.float32(0.1) and m.calls.item() == 3


# --- summary


def test_summary_counts():
    m = net()
    summary = m.eval().train().summary((5, 2, 16, 12))
    assert all(inner.training for inner in m.modules()) and not m._forward_hooks
    rows = {row.name: row for row in summary.rows}
    assert list(rows) == ["0", "1.0", "1.1"]
    assert rows["0"].shape == (5, 3, 14, 10) and rows["1.1"].shape == (5, 4, 7, 5)
    assert [row.parameters for row in summary.rows] == [57, 0, 12]
    assert rows["0"].multiply_adds == nc.ConvProblem.make("conv2d", (5, 2, 16, 12), (3, 2, 3, 3)).multiply_adds
    assert summary.multiply_adds == rows["0"].multiply_adds + 5 * 4 * 7 * 5 * 3
    assert summary.parameters == summary.trainable == 69
    m[0].requires_grad_(False)
    text = str(m.summary((5, 2, 16, 12)))
    assert "69 parameters, 12 of them learned" in text and "5x3x14x10" in text


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 1, 3, 2, padding=1), nn.Conv2d(1, 1, 1, 2)
        self.c = nn.Conv2d(2, 1, 3, dilation=2, padding=2)
        self.up = nn.ConvTranspose2d(1, 1, 3, 2, padding=1, output_padding=1)

    def forward(self, x):
        a = self.a(x)
        return self.up(self.c(F.cat([a, self.b(x)], 1)) + F.avg_pool2d(a, 3, 1, 1))


def reach_of(module, shape, name):
    """Along each axis, the largest number of input positions that one result of a layer depends on, by gradients."""
    kept = []
    module.get_submodule(name).register_forward_hook(lambda m, i, o: kept.append(o))
    for p in module.parameters():
        p.data[...] = 1
    x = Tensor(np.ones(shape), requires_grad=True)
    module.double()(x)
    most = np.zeros(2, int)
    middle = kept[0].shape[2] // 2
    for h, w in itertools.product(range(middle - 1, middle + 2), repeat=2):
        x.grad = None
        kept[0][0, 0, h, w].backward(retain_graph=True)
        _, _, rows, columns = np.nonzero(x.grad.numpy())
        most = np.maximum(most, [np.ptp(rows) + 1, np.ptp(columns) + 1])
    return tuple(most)


def test_receptive_fields_follow_branches():
    summary = Branches().summary((1, 1, 40, 40))
    fields = {row.name: row.field for row in summary.rows}
    for name in "abc":
        assert fields[name] == reach_of(Branches(), (1, 1, 40, 40), name)
    assert fields["up"] == reach_of(Branches(), (1, 1, 40, 40), "up")


def test_receptive_field_of_a_chain():
    layers = [(3, 1, 1), (3, 2, 2), (5, 3, 1), (2, 2, 1)]
    m = nn.Sequential(*(nn.Conv1d(1, 1, k, s, dilation=d) for k, s, d in layers))
    wanted = [nc.receptive_field(layers[: i + 1]) for i in range(4)]
    assert [row.field for row in m.summary((1, 1, 99)).rows] == [(n,) for n in wanted]


def test_summary_of_lenet5():
    m = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip
    summary = m.summary((1, 1, 32, 32))
    assert summary.parameters == 61_706
    assert summary.multiply_adds == 416_520  # 117,600 + 240,000 + 48,000 + 10,080 + 840
    assert [row.field for row in summary.rows if row.kind == "Conv2d"] == [(5, 5), (14, 14), (32, 32)]
    assert summary.rows[-1].field == (32, 32)  # one position was left: nothing is mixed


def test_summary_of_what_is_flattened():
    m = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3), nn.Linear(3, 2))
    fields = [row.field for row in m.summary((1, 1, 6, 6)).rows]
    assert fields == [(3, 3), (3, 3), (np.inf, np.inf), (np.inf, np.inf)]


def test_a_gate_does_not_see_everything():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.squeeze, self.after = nn.Conv2d(2, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 1, 3)

        def forward(self, x):
            x = self.conv(x)
            return self.after(x * F.sigmoid(self.squeeze(x)))

    fields = {row.name: row.field for row in Gated().summary((1, 2, 8, 8)).rows}
    assert fields == {"conv": (3, 3), "squeeze": (np.inf, np.inf), "after": (5, 5)}


def test_summary_of_a_shared_layer_and_of_what_sees_everything():
    shared = nn.Conv2d(1, 1, 3, padding=1)
    m = nn.Sequential(shared, shared, nn.GlobalAvgPool())
    summary = m.summary((1, 1, 9, 9))
    assert [row.parameters for row in summary.rows] == [10, 0, 0] and summary.parameters == 10
    assert [row.field for row in summary.rows[:2]] == [(3, 3), (5, 5)]
    assert str(summary).count("all") == 1


# --- gradients between backward and step


@pytest.mark.parametrize("order", [1, 2, np.inf])
def test_gradients_are_clipped_to_a_norm(order):
    a, b, c = (nn.Parameter(np.ones(3)) for _ in range(3))
    values = np.array([3.0, -4.0, 0.0]), np.array([0.0, 12.0, 1.0])
    for p, value in zip((a, b), values):
        p.grad = Tensor(value.copy())
    norm = np.linalg.norm(np.concatenate(values), order)
    assert nn.utils.clip_grad_norm_([a, b, c], 1e3, order) == pytest.approx(norm)
    assert_array_equal(a.grad.numpy(), values[0])
    nn.utils.clip_grad_norm_([a, b, c], 2.0, order)
    assert_allclose(b.grad.numpy(), values[1] * 2 / norm, rtol=1e-6)
    assert c.grad is None
    a.grad.data[0] = np.nan
    with pytest.raises(RuntimeError, match="nan"):
        nn.utils.clip_grad_norm_(a, 1.0, order, error_if_nonfinite=True)


def test_gradients_are_clipped_to_a_value():
    p = nn.Parameter(np.zeros(3))
    p.grad = Tensor(np.array([-3.0, 0.1, 2.0]))
    nn.utils.clip_grad_value_(p, 0.5)
    assert_array_equal(p.grad.numpy(), [-0.5, 0.1, 0.5])
