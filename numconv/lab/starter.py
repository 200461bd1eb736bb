"""Starter files: a commented kernel of an operation that is right, to be made fast."""

from __future__ import annotations

import keyword
from pathlib import Path

from numconv.algorithm import algorithms
from numconv.problem import spatial_axes

_HEAD = '''"""{title}

Is it right?       numconv lab check {file}
Is it fast?        numconv lab race {file}
What is it then?   numconv lab inspect {file}
"""

{imports}

from numconv import lab


{kernel}

if __name__ == "__main__":
    print(lab.check({name}))
'''

_CPU = """# {what}
# `prange` shares its turns among the threads: no two of them may write one element, or one write what another reads.
@lab.kernel("{operation}")
@njit(parallel=True, fastmath={{"reassoc", "contract", "nsz"}}, error_model="numpy", nogil=True)
def {name}({parameters}):
{body}
"""

_CUDA = """# {what}
# A thread computes one element of out. `grid` and `block` may be numbers, tuples or functions of the problem; left out,
# there are as many blocks of 128 threads as out has elements.
@lab.kernel("{operation}", device="cuda", block=128)
@cuda.jit
def {name}({parameters}):
    i = cuda.grid(1)
    if i >= out.size:
        return
{body}
"""

_CONVOLUTION = "x, w, out, stride, padding, dilation, groups"
_POOLING = "x, out, kernel, stride, padding, dilation"
_WHAT = {
    "conv": "x (n, ci, *size) holds its padding already; w (co, ci / groups, *taps); out (n, co, *size) holds zeros.",
    "input": "x (n, co, *size), w (co, ci / groups, *taps); out (n, ci, *size) holds zeros, with room for the padding.",
    "weight": "x (n, ci, *size) with its padding, w (n, co, *size) the output's gradient; out the weight's.",
    "max": "x (n, c, *size) holds its padding, which never wins; out (n, c, *size).",
    "avg": "x (n, c, *size) holds its padding, zeros; out (n, c, *size) is to hold means of all taps of a window.",
}


def new(name: str, device: str = "cpu", operation: str = "conv2d", path: str | Path | None = None) -> Path:
    """Write a starter file: a kernel in textbook loops, with comments, that passes `check`.

    Parameters
    ----------
    name : str
        Of the kernel: a name of Python.
    device : str
        "cpu" or "cuda".
    operation : str
        A convolution, transposed convolution or gradient of one, or a max or average pooling: such as "conv2d",
        "conv_transpose1d", "conv3d_weight", "max_pool2d".
    path : str or Path, optional
        The file, or the folder that it goes to; `name`.py here where left out.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If the name is none, or there is no starter for the operation or device.
    FileExistsError
        If the file exists: nothing is overwritten.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"name must be a name of Python, got {name!r}")
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu' or 'cuda', got {device!r}")
    algorithms(operation)  # refuses names that are none
    kind = _kind(operation)
    file = Path(f"{name}.py") if path is None else Path(path)
    if file.is_dir():
        file = file / f"{name}.py"
    parameters = _CONVOLUTION if operation.startswith("conv") else _POOLING
    body = (_cpu if device == "cpu" else _cuda)(kind, spatial_axes(operation))
    imports = "from numba import njit, prange" if device == "cpu" else "from numba import cuda"
    kernel = (_CPU if device == "cpu" else _CUDA).format(
        what=_WHAT[kind], operation=operation, name=name, parameters=parameters, body=body
    )
    title = f"{name}: a kernel of {operation} {'on the CPU' if device == 'cpu' else 'on a GPU'}."
    text = _HEAD.format(title=title, file=file.name, imports=imports, kernel=kernel, name=name)
    with file.open("x", encoding="utf-8") as opened:
        opened.write(text)
    return file


def _kind(operation: str) -> str:
    if operation.startswith("conv"):
        return "weight" if operation.endswith("_weight") else "conv" if operation.endswith("d") and (
            "transpose" not in operation
        ) else "input"  # fmt: skip
    kind = operation.partition("_")[0]
    if kind in ("max", "avg") and operation.endswith("d") and "unpool" not in operation:
        return kind
    raise ValueError(
        f"operation must be a convolution, a gradient of one, or a max or average pooling, for which there is a "
        f"starter, got {operation!r}"
    )


class _Lines:
    """Lines of code, and how far they are indented."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1

    def add(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def loop(self, name: str, stop: str) -> None:
        self.add(f"for {name} in range({stop}):")
        self.depth += 1

    def __str__(self) -> str:
        return "\n".join(self.lines)


def _each(name: str, ndim: int) -> str:
    return ", ".join(f"{name}{a}" for a in range(ndim))


def _taps(code: _Lines, ndim: int, of: str) -> None:
    """Loops over the taps of a window, or over windows, and the place in x of each."""
    for a in range(ndim):
        name, stop = {
            "w": (f"k{a}", f"w.shape[{a + 2}]"),
            "kernel": (f"k{a}", f"kernel[{a}]"),
            "o": (f"o{a}", f"w.shape[{a + 2}]"),
        }[of]
        code.loop(name, stop)
        code.add(f"i{a} = o{a} * stride[{a}] + k{a} * dilation[{a}]")


def _sum(code: _Lines, kind: str, ndim: int) -> None:
    """What makes one element: `out[n, o, o0, ...]`."""
    out, taps = f"out[n, o, {_each('o', ndim)}]", _each("k", ndim)
    if kind == "conv":
        code.add("first = o // (out.shape[1] // groups) * w.shape[1]  # the group's first channel of x")
        code.add("total = 0.0")
        depth = code.depth
        code.loop("c", "w.shape[1]")
        _taps(code, ndim, "w")
        code.add(f"total += w[o, c, {taps}] * x[n, first + c, {_each('i', ndim)}]")
    elif kind == "max":
        code.add(f"best = x[n, o, {', '.join(f'o{a} * stride[{a}]' for a in range(ndim))}]")
        depth = code.depth
        _taps(code, ndim, "kernel")
        code.add(f"best = max(best, x[n, o, {_each('i', ndim)}])")
    else:
        code.add("total = 0.0")
        depth = code.depth
        _taps(code, ndim, "kernel")
        code.add(f"total += x[n, o, {_each('i', ndim)}]")
    code.depth = depth
    size = " / (" + " * ".join(f"kernel[{a}]" for a in range(ndim)) + ")" if kind == "avg" else ""
    code.add(f"{out} = {'best' if kind == 'max' else 'total'}{size}")


def _gathered(code: _Lines, kind: str, ndim: int) -> None:
    """What makes one element of an input's or a weight's gradient."""
    code.add("total = 0.0")
    depth = code.depth
    if kind == "input":
        code.add("each = w.shape[0] // groups  # channels of x that a group has")
        code.loop("r", "each")
        code.add("c = o // w.shape[1] * each + r")
        for a in range(ndim):
            code.loop(f"k{a}", f"w.shape[{a + 2}]")
            code.add(f"i{a} = o{a} - k{a} * dilation[{a}]  # i * stride + k * dilation is o")
            code.add(f"if i{a} < 0 or i{a} % stride[{a}] or i{a} // stride[{a}] >= x.shape[{a + 2}]:")
            code.add("    continue")
        at = ", ".join(f"i{a} // stride[{a}]" for a in range(ndim))
        code.add(f"total += w[c, o % w.shape[1], {_each('k', ndim)}] * x[n, c, {at}]")
        code.depth = depth
        code.add(f"out[n, o, {_each('o', ndim)}] = total")
        return
    code.loop("n", "x.shape[0]")
    _taps(code, ndim, "o")
    code.add(f"total += w[n, o, {_each('o', ndim)}] * x[n, first + c, {_each('i', ndim)}]")
    code.depth = depth
    code.add(f"out[o, c, {_each('k', ndim)}] = total")


def _rows(code: _Lines, ndim: int) -> None:
    """A convolution whose innermost loop runs along a row of the result."""
    last = ndim - 1
    code.add("first = o // (out.shape[1] // groups) * w.shape[1]  # the group's first channel of x")
    for a in range(last):
        code.loop(f"o{a}", f"out.shape[{a + 2}]")
    code.loop("c", "w.shape[1]")
    _taps(code, last, "w")
    code.loop(f"k{last}", f"w.shape[{last + 2}]")
    code.add("# The innermost loop runs along the last axis: the compiler makes vectors of it.")
    code.loop(f"o{last}", f"out.shape[{last + 2}]")
    code.add(f"i{last} = o{last} * stride[{last}] + k{last} * dilation[{last}]")
    code.add(f"v = x[n, first + c, {_each('i', ndim)}]")
    code.add(f"out[n, o, {_each('o', ndim)}] += w[o, c, {_each('k', ndim)}] * v")


def _cpu(kind: str, ndim: int) -> str:
    code = _Lines()
    if kind == "weight":
        code.add("for o in prange(out.shape[0]):")
        code.depth += 1
        code.add("first = o // (out.shape[0] // groups) * out.shape[1]  # the group's first channel of x")
        code.loop("c", "out.shape[1]")
        for a in range(ndim):
            code.loop(f"k{a}", f"out.shape[{a + 2}]")
    else:
        code.add("for item in prange(out.shape[0] * out.shape[1]):")
        code.depth += 1
        code.add("n, o = item // out.shape[1], item % out.shape[1]")
        if kind == "conv":
            _rows(code, ndim)
            return str(code)
        for a in range(ndim):
            code.loop(f"o{a}", f"out.shape[{a + 2}]")
    (_gathered if kind in ("input", "weight") else _sum)(code, kind, ndim)
    return str(code)


def _cuda(kind: str, ndim: int) -> str:
    code = _Lines()
    names = [f"{'k' if kind == 'weight' else 'o'}{a}" for a in range(ndim)]
    code.add("# Neighbouring threads compute neighbours in the last axis, so that they read and write side by side.")
    for a in range(ndim - 1, -1, -1):
        code.add(f"{names[a]}, i = i % out.shape[{a + 2}], i // out.shape[{a + 2}]")
    code.add(f"{'o, c' if kind == 'weight' else 'n, o'} = i // out.shape[1], i % out.shape[1]")
    if kind == "weight":
        code.add("first = o // (out.shape[0] // groups) * out.shape[1]  # the group's first channel of x")
    (_gathered if kind in ("input", "weight") else _sum)(code, kind, ndim)
    return str(code)
