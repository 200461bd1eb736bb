"""What loads what: the order of layers, and that importing numconv loads nothing but NumPy."""

import ast
import functools
import graphlib
import sys
from pathlib import Path

import pytest
from processes import run

PACKAGE = Path(__file__).parents[1] / "numconv"
# Imports point from lower in this list to higher only. "" is numconv itself: the public functions.
LAYERS = [
    ["problem"],
    ["extras", "forks", "terminal"],
    ["files"],
    ["options", "random"],
    ["measured"],
    ["algorithm"],
    ["kernels"],
    ["plan"],
    ["ops"],
    ["cuda"],
    ["autograd"],
    ["graph"],
    ["nn", "optim", "data"],
    ["models", "train"],
    ["tracing", "drawing"],
    [""],
    ["interop", "njit"],
    ["lab"],
    ["commands.common"],
    ["demo"],
    ["commands"],
    ["cli"],
    ["__main__"],
]


def _name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}

NUMBA = {
    f"kernels.cpu.{name}"
    for name in (
        "simd",
        "dot_tile",
        "narrow_tile",
        "batched_tile",
        "panel_tile",
        "placed_tile",
        "tiles",
        "transforms",
        "jit",
        "launch",
        "lowering",
        "cache",
    )
}
# What is called in functions that Numba compiles.
NUMBA |= {name for name in FILES if name.partition(".")[0] == "njit"} | {"lab.blocks"}
# What looks at users' kernels.
NUMBA |= {
    f"lab.{name}"
    for name in (
        "checking",
        "device_inspection",
        "device_race",
        "examining",
        "host_inspection",
        "inspection",
        "plain_python",
        "user_kernel",
    )
}
# What runs on a GPU is loaded when a GPU is asked for.
CUDA = {name for name in FILES if name.startswith("kernels.cuda.")} | {"cuda"}
OPTIONAL = {
    "numba": NUMBA | CUDA | {"ops.cuda.borders", "ops.cuda.custom"},
    "numba_cuda": {"cuda", "kernels.cuda.cache"},
    "llvmlite": NUMBA | {"commands.info", "kernels.cuda.ptx"},
    "ml_dtypes": {"ops.cuda.borders"},
    "PIL": {"demo.pictures"},
    "matplotlib": {"demo.overview"},
    "tqdm": {"commands.demo"},
    "scipy": {"kernels.cpu.fft", "demo.race", "lab.peers", "nn._graph"},
    "torch": {"lab.peers", "lab.device_peers"},
    "onnx": {"lab.peers"},
    "onnxruntime": {"lab.peers"},
}


def _short(module):
    return "" if module == "numconv" else module.removeprefix("numconv.")


@functools.cache
def imported(name):
    """Modules that a module of ours imports, at its top or in functions; ours without the leading "numconv."."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {member for member in members if _short(member) in FILES}
            found |= modules | ({node.module} if len(modules) < len(members) else set())
    return {_short(module) for module in found}


def ours(name):
    return {module for module in imported(name) if module in FILES}


def layer(name):
    """The layer's place in the order: that of the longest name that it begins with."""
    places = {part: place for place, parts in enumerate(LAYERS) for part in parts}
    while name not in places:
        name = name.rpartition(".")[0]
        assert name, "a new module has no place in LAYERS"
    return places[name]


@pytest.mark.parametrize("name", FILES)
def test_imports_point_upwards(name):
    wrong = {module for module in ours(name) if layer(module) > layer(name)}
    assert not wrong


def test_there_is_no_cycle():
    graph = {name: set(ours(name)) for name in FILES}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(FILES)


@pytest.mark.parametrize("name", ["lab.reference", "lab.cases", "lab.shapes"])
def test_the_oracle_and_its_cases_stand_alone(name):
    assert not ours(name)
    assert {module.partition(".")[0] for module in imported(name)} <= {"numpy", *sys.stdlib_module_names}


@pytest.mark.parametrize("name", FILES)
def test_what_is_not_numpy_is_imported_in_its_place(name):
    others = {module.partition(".")[0] for module in imported(name) - ours(name)}
    for module in others - {"numpy", "", *sys.stdlib_module_names}:
        assert name in OPTIONAL[module], f"{name} imports {module}"


def test_operations_know_no_kernel():
    for name in FILES:
        if name.startswith("ops."):
            allowed = {"memory", "launch", "toolkit"} if name.startswith("ops.cuda") else {"memory"}
            device = "cuda" if name.startswith("ops.cuda") else "cpu"
            modules = {m for m in ours(name) if m.startswith("kernels")}
            assert modules <= {f"kernels.{device}.{module}" for module in allowed}, name


def test_importing_numconv_loads_numpy_only(tmp_path):
    code = """
import json, sys
import numpy
before = set(sys.modules)
import numconv as nc
nc.set_num_threads(2)
assert nc.get_num_threads() == 2
nc.conv_output_shape((6, 6), (3, 3))
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    (tmp_path / "code.py").write_text(code)
    loaded = run(tmp_path / "code.py")
    assert {name.partition(".")[0] for name in loaded} <= {"numconv", "numpy", *sys.stdlib_module_names}
    kernels = {name.rpartition(".")[2] for name in loaded if name.startswith("numconv.kernels.cpu.")}
    assert kernels == {"memory", "replay"}
    assert not {"numconv.cli", "numconv.demo", "numconv.lab", "multiprocessing"} & set(loaded)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_loading_kernels_builds_no_dispatcher(tmp_path, device):
    if device == "cuda":
        pytest.importorskip("numba_cuda", reason="pip install 'numconv[cuda]'")
    names = [n for n in FILES if n.startswith("kernels.") and n.startswith("kernels.cuda.") == (device == "cuda")]
    compiler, made_by = {
        "cpu": ("numba.core.dispatcher", "from numconv.kernels.cpu import jit as compiling"),
        "cuda": ("numba.cuda.dispatcher", "from numconv.kernels.cuda import launch as compiling"),
    }[device]
    code = f"""
import importlib, json
{made_by}
import {compiler} as compiler
kind = getattr(compiler, {"Dispatcher" if device == "cpu" else "CUDADispatcher"!r})
made, build = [], kind.__init__
def record(self, function, *arguments, **options):
    made.append(function.__module__)
    build(self, function, *arguments, **options)
kind.__init__ = record
for name in {names}:
    importlib.import_module("numconv." + name)
loaded = len(made)
compiling.function(lambda: lambda x: x)()
print(json.dumps([loaded, made]))
"""
    (tmp_path / "code.py").write_text(code)
    assert run(tmp_path / "code.py") == [0, ["__main__"]]
